"""OpenTelemetry as a service sets it up, once, when it is imported: for the records of `logging` and for events.

The environment says by which way in (`WAY_IN`), and where Kafka is. No application has a hook for forks; two flush at
the end of a child, for the batch processor only, and say why.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from opentelemetry._logs import set_logger_provider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor, emit_audit_event


def batch() -> LogRecordProcessor:
    # The queue is larger than what is said here: a batch processor whose queue is full drops the oldest.
    return BatchLogRecordProcessor(KafkaLogExporter(), max_queue_size=20_000)


WAYS_IN: dict[str, Callable[[], LogRecordProcessor]] = {"batch": batch, "direct": KafkaLogRecordProcessor}

provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
provider.add_log_record_processor(WAYS_IN[os.environ["WAY_IN"]]())
set_logger_provider(provider)
log = logging.getLogger("shop")
log.setLevel(logging.INFO)
# Not the root logger: a Celery worker takes away whatever handlers that has.
log.addHandler(LoggingHandler(logger_provider=provider))


def say(text: str) -> None:
    """An application record and an audit event."""
    log.info(text)
    emit_audit_event("say", "bob", text, "success")


def meet(at: int) -> None:
    """Two processes wait for each other here, if there are two, one with 0 and one with 1.

    A pipe with a name opens when both its ends do.
    """
    if at in (0, 1) and "MEETING" in os.environ:
        Path(os.environ["MEETING"]).open("rw"[at]).close()
