"""Events of our own reach Kafka whole, however narrow the SDK's limits, through either processor and the publisher."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import (
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    decode,
    emit_audit_event,
)
from otel_kafka_exporter.process import log_lines
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC

AUDIT_TOPIC = "omninode.logging.audit.v1"
PROCESSORS = pytest.mark.parametrize("processor", ["direct", "batch"])

pytestmark = pytest.mark.filterwarnings("ignore:Log record attributes were dropped")


@contextmanager
def narrow(
    kafka: EmbeddedKafka, processor: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[LoggerProvider, KafkaLogExporter]]:
    """A pipeline whose SDK keeps three attributes of five characters."""
    monkeypatch.setenv("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "3")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5")
    exporter = KafkaLogExporter(bootstrap_servers=kafka.bootstrap_servers)
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(
        KafkaLogRecordProcessor(exporter)
        if processor == "direct"
        else BatchLogRecordProcessor(exporter, schedule_delay_millis=20)
    )
    try:
        yield provider, exporter
    finally:
        provider.shutdown()


@PROCESSORS
def test_an_event_is_known_by_its_own_id(
    embedded_kafka: EmbeddedKafka, processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for an event gets its receipt, and the event is its tenant's, whatever the SDK has cut."""
    with narrow(embedded_kafka, processor, monkeypatch) as (provider, _):
        receipt = emit_audit_event(
            "order.cancel",
            "user-1000",
            "order/42",
            "success",
            tenant_id="tenant-1000",
            context={f"key{number}": number for number in range(10)},
            logger=provider.get_logger("shop"),
            wait=20,
        )
    assert receipt is not None
    (message,) = embedded_kafka.consume(AUDIT_TOPIC, 1, 10)
    envelope = decode(message.value())
    assert (envelope.event_id, envelope.tenant_id) == (receipt.event_id, "tenant-1000")
    assert message.key() == b"tenant-1000"
    assert envelope.payload["actor"] == "user-1000"
    assert envelope.payload["context"] == {"otel.dropped_attributes_count": 10}


@PROCESSORS
def test_a_publishers_event_is_known_by_its_own_id(
    embedded_kafka: EmbeddedKafka, processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that goes through OpenTelemetry hears of its events, and they arrive as they were given."""
    with narrow(embedded_kafka, processor, monkeypatch) as (provider, _):

        async def main() -> bool:
            publisher = LoggingEventPublisher(logger_provider=provider, publish_timeout=20)
            await publisher.start()
            return await publisher.publish_audit_log("tenant-1000", "order.cancel", "user-1000", "order/42", "success")

        assert asyncio.run(main())
    (message,) = embedded_kafka.consume(AUDIT_TOPIC, 1, 10)
    assert decode(message.value()).tenant_id == "tenant-1000"


@PROCESSORS
def test_a_cut_tenant_is_a_dead_letter(
    embedded_kafka: EmbeddedKafka, processor: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Somebody else's record whose tenant was cut reaches no tenant; what was lost is said and counted."""
    monkeypatch.setattr(log_lines, "QUIET_SECONDS", 0.0)
    with narrow(embedded_kafka, processor, monkeypatch) as (provider, exporter):
        logger = provider.get_logger("shop")
        logger.emit(LogRecord(body="theirs", attributes={"omni.tenant_id": "tenant-1000"}))
        logger.emit(LogRecord(body="wide", attributes={f"key{number}": number for number in range(10)}))
        provider.force_flush()
        exporter.force_flush()
        (message,) = embedded_kafka.consume(TOPIC, 1, 10)
        stats = exporter.stats()
    assert decode(message.value()).payload["context"] == {
        "key7": 7,
        "key8": 8,
        "key9": 9,
        "otel.dropped_attributes_count": 7,
    }
    assert (stats.delivered, stats.dead_lettered, stats.truncated) == (1, 1, 7)
    said = capfd.readouterr().err
    assert "omni.tenant_id: expected the whole value, got one of 5 characters" in said
    assert said.count("has cut or dropped 7 values of a log record") == 1
    assert "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT" in said
