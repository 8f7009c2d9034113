"""The pure core: log records and arguments to envelopes, envelopes to Kafka records and back. Values in, values out.

Everything above may import it. Protobuf's modules are imported by name: who writes JSON need not load them.
Held here: whatever comes in, strict JSON comes out, redacted; no thread, socket, file or clock.
"""

from . import attributes
from .codes import AuditAction, Decision, LogCode, LogLevel, Outcome, SecurityEventType
from .conversion import Converter
from .decoding import decode, view
from .description import describe, logger_of, printable, size_of
from .encoding import CONTENT_TYPE_FRAMED, JSON, Encoding, encode_json
from .envelope import CATEGORIES, PAYLOAD_KEYS, Category, OnexEnvelopeV1, category_of
from .fields import MAX_SERVICE_NAME_LENGTH, identifier, unwrapped
from .ids import uuid7
from .kafka_record import MAY_LACK_FRAME, Header, KafkaRecord, KafkaRecordBuilder, lacks_frame
from .log_records import LogRecordBuilder, SdkLogRecord
from .otlp import to_otlp
from .publications import Publication, PublicationBuilder
from .redaction import REDACTED, KeyRedaction
from .resources import UNKNOWN_SERVICE
from .scalars import ALL_INTEGERS, EXACT_INTEGERS, unused_name
from .sdk_limits import COUNT_SETTING, LENGTH_SETTING, WholeLogRecord
from .secret_texts import hide_userinfo, redact_patterns, without_userinfo
from .statements import Converted, event_type
from .values import Cleaner

__all__ = [
    "ALL_INTEGERS",
    "CATEGORIES",
    "CONTENT_TYPE_FRAMED",
    "COUNT_SETTING",
    "EXACT_INTEGERS",
    "JSON",
    "LENGTH_SETTING",
    "MAX_SERVICE_NAME_LENGTH",
    "MAY_LACK_FRAME",
    "PAYLOAD_KEYS",
    "REDACTED",
    "UNKNOWN_SERVICE",
    "AuditAction",
    "Category",
    "Cleaner",
    "Converted",
    "Converter",
    "Decision",
    "Encoding",
    "Header",
    "KafkaRecord",
    "KafkaRecordBuilder",
    "KeyRedaction",
    "LogCode",
    "LogLevel",
    "LogRecordBuilder",
    "OnexEnvelopeV1",
    "Outcome",
    "Publication",
    "PublicationBuilder",
    "SdkLogRecord",
    "SecurityEventType",
    "WholeLogRecord",
    "attributes",
    "category_of",
    "decode",
    "describe",
    "encode_json",
    "event_type",
    "hide_userinfo",
    "identifier",
    "lacks_frame",
    "logger_of",
    "printable",
    "redact_patterns",
    "size_of",
    "to_otlp",
    "unused_name",
    "unwrapped",
    "uuid7",
    "view",
    "without_userinfo",
]
