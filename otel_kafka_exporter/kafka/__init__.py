"""The client: configuration, the producer of one process, what an error code asks for, the Schema Registry's frames.

Delivery and the ways in import it; `schema_registry` is imported by its name, since it loads Protobuf.
Held here: the client is made and renewed per process, never called in a forked child, and its secrets are masked.
"""

from .early import OnReport
from .errors import END_OF_A_CLIENT, NO_SCHEMA_ID, verdict
from .partitions import partitioner
from .producer import KafkaProducer, NoSchemaIdError
from .producer_config import check_with_librdkafka, librdkafka_config
from .reports import EnoughServedError, Reports

__all__ = [
    "END_OF_A_CLIENT",
    "NO_SCHEMA_ID",
    "EnoughServedError",
    "KafkaProducer",
    "NoSchemaIdError",
    "OnReport",
    "Reports",
    "check_with_librdkafka",
    "librdkafka_config",
    "partitioner",
    "verdict",
]
