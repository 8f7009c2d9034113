"""Pipelines for tests: a provider, an exporter, and what came of the records at the consumer's side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogExporter, decode
from otel_kafka_exporter.delivery.delivery import Delivery
from otel_kafka_exporter.testing import EmbeddedKafka

TOPIC = "omninode.logging.application.v1"


def records(bodies: list[Any], scope: str = "shop.orders", **attributes: Any) -> list[ReadableLogRecord]:
    """Log records as the SDK makes them."""
    memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's omission
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    for body in bodies:
        record = LogRecord(body=body, severity_number=SeverityNumber.INFO, attributes=attributes)
        provider.get_logger(scope).emit(record)
    return list(memory.get_finished_logs())


def audit_records(messages: list[str]) -> list[ReadableLogRecord]:
    """Audit events as the SDK makes them."""
    fields = {"action": "order.delete", "actor": "bob", "resource": "order/17", "outcome": "success"}
    attributes = {f"omni.audit.{name}": value for name, value in fields.items()}
    return records(list(messages), **attributes, **{"omni.category": "audit"})


@contextmanager
def exporting(kafka: EmbeddedKafka, **settings: Any) -> Iterator[KafkaLogExporter]:
    exporter = KafkaLogExporter(bootstrap_servers=kafka.bootstrap_servers, **settings)
    try:
        yield exporter
    finally:
        exporter.shutdown()


def delivery_of(exporter: KafkaLogExporter) -> Delivery:
    """What delivers for an exporter whose settings are right."""
    assert isinstance(exporter._delivery, Delivery)
    return exporter._delivery


def settled(exporter: KafkaLogExporter) -> bool:
    """Whether nothing is on its way, and nothing waits."""
    stats = exporter.stats()
    return not (stats.in_flight or stats.spooled)


def arrived(kafka: EmbeddedKafka, topic: str = TOPIC) -> list[str]:
    """The messages that are in a topic, in the order in which they were sent to a partition."""
    return [_message(decode(message.value()).payload) for message in kafka.messages(topic)]


def first_of_each(kafka: EmbeddedKafka, topic: str = TOPIC) -> list[str]:
    """The same for a reader that keeps the first of each event_id."""
    envelopes = [decode(message.value()) for message in kafka.messages(topic)]
    first = {envelope.event_id: envelope for envelope in reversed(envelopes)}
    return [_message(envelope.payload) for envelope in envelopes if first.pop(envelope.event_id, None) is not None]


def _message(payload: Mapping[str, Any]) -> str:
    message: str = payload["message"] if "message" in payload else payload["context"]["message"]
    return message
