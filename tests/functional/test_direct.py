"""The direct processor, receipts, and the ways to ask for them."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import (
    DeliveryError,
    DeliveryOutcome,
    DeliveryTimeout,
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    NoPipelineError,
    decode,
    emit_audit_event,
    emit_security_event,
)
from otel_kafka_exporter.delivery import receipts
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .apps.children import log
from .pipelines import TOPIC, arrived, exporting

AUDIT_TOPIC = "omninode.logging.audit.v1"


@contextmanager
def direct(kafka: EmbeddedKafka, **settings: Any) -> Iterator[tuple[LoggerProvider, KafkaLogRecordProcessor]]:
    processor = KafkaLogRecordProcessor(bootstrap_servers=kafka.bootstrap_servers, **settings)
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    try:
        yield provider, processor
    finally:
        provider.shutdown()


def test_a_burst_of_four_threads_arrives_whole(embedded_kafka: EmbeddedKafka) -> None:
    """What four threads log back to back arrives whole, and in order for each thread."""
    with direct(embedded_kafka) as (provider, processor):
        logger = provider.get_logger("shop")

        def burst(thread: int) -> None:
            for n in range(1_000):
                logger.emit(LogRecord(body=f"{thread} {n}", severity_number=SeverityNumber.INFO))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(burst, range(4)))
        assert provider.force_flush(30_000)
        found = arrived(embedded_kafka)
        assert len(found) == len(set(found)) == 4_000
        for thread in range(4):
            assert [text for text in found if text[0] == str(thread)] == [f"{thread} {n}" for n in range(1_000)]
        stats = processor.stats()
        assert (stats.accepted, stats.delivered, stats.dropped) == (4_000, 4_000, {})


def test_a_full_local_queue_delays_a_log_call_no_longer_than_its_bound(embedded_kafka: EmbeddedKafka) -> None:
    """With the queue full and the broker away, a call waits `full_queue_wait` at most; the outbox takes the record."""
    with direct(embedded_kafka, queue_max_records=2, delivery_wait=30, full_queue_wait=0.05) as (provider, processor):
        logger = provider.get_logger("shop")
        logger.emit(body="before")
        assert provider.force_flush()
        embedded_kafka.down()
        for n in range(20):
            logger.emit(body=str(n))
        stats = processor.stats()
        assert (stats.spooled, stats.in_flight) == (18, 2)
        embedded_kafka.up()
        until(lambda: processor.stats().delivered == 21)
        assert arrived(embedded_kafka) == ["before", *map(str, range(20))]


def test_force_flush_tells_the_truth(embedded_kafka: EmbeddedKafka) -> None:
    """False while a record is on its way at the end of the time, True when each has its outcome."""
    with direct(embedded_kafka, delivery_wait=1) as (provider, processor):
        provider.get_logger("shop").emit(body="before")
        assert processor.force_flush() is True
        assert arrived(embedded_kafka) == ["before"]
        embedded_kafka.down()
        provider.get_logger("shop").emit(body="held up")
        assert processor.force_flush(50) is False
        assert processor.force_flush(10_000) is True
        assert processor.stats().spooled == 1
        embedded_kafka.up()


def test_shutdown_keeps_what_is_not_delivered(embedded_kafka: EmbeddedKafka) -> None:
    """With the broker away, a shutdown stays within its budget, and what is left is delivered by the next process."""
    with direct(embedded_kafka, delivery_wait=30, shutdown_timeout=0.2) as (provider, processor):
        provider.get_logger("shop").emit(body="before")
        assert provider.force_flush()
        embedded_kafka.down()
        for n in range(10):
            provider.get_logger("shop").emit(body=str(n))
        started = time.monotonic()
        processor.shutdown()
        processor.shutdown()
        assert time.monotonic() - started < 3
        assert processor.stats()[:5] == (11, 1, 10, 0, 0)
    embedded_kafka.up()
    with direct(embedded_kafka) as (provider, processor):
        provider.get_logger("shop").emit(body="after")
        until(lambda: processor.stats().delivered == 11)
        assert sorted(arrived(embedded_kafka)) == sorted(["before", *map(str, range(10)), "after"])


def test_an_exporter_and_settings_contradict_each_other() -> None:
    """An exporter has its settings; others beside it are an error."""
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(ValueError, match="got both"):
        KafkaLogRecordProcessor(exporter, outbox=False)
    exporter.shutdown()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_lose_nothing(method: str, embedded_kafka: EmbeddedKafka) -> None:
    """They end without atexit, and without waiting for anybody; what they have logged arrives all the same, once."""
    context = multiprocessing.get_context(method)
    children = [context.Process(target=log, args=(embedded_kafka.bootstrap_servers, n)) for n in range(3)]  # type: ignore[attr-defined]  # every context has it
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert sorted(arrived(embedded_kafka)) == sorted(f"{child}-{n}" for child in range(3) for n in range(20))


# Receipts


@pytest.mark.parametrize("way", ["direct", "batch"])
def test_a_receipt_names_where_the_event_is(way: str, embedded_kafka: EmbeddedKafka) -> None:
    """Through either processor, who waits for an event learns its topic, partition and offset."""
    provider = LoggerProvider(shutdown_on_exit=False)
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    provider.add_log_record_processor(
        KafkaLogRecordProcessor(exporter)
        if way == "direct"
        else BatchLogRecordProcessor(exporter, schedule_delay_millis=20)
    )
    logger = provider.get_logger("shop")
    try:
        found = [
            emit_security_event("login", "bob", "ledger", "deny", logger=logger, wait=10),
            emit_audit_event("order.delete", "bob", "order/17", "success", logger=logger, wait=10),
        ]
        for receipt in found:
            assert receipt is not None
            [message] = embedded_kafka.messages(receipt.topic)
            assert (message.partition(), message.offset()) == (receipt.partition, receipt.offset)
            assert decode(message.value()).event_id == receipt.event_id
    finally:
        provider.shutdown()


def test_no_receipt_in_time(embedded_kafka: EmbeddedKafka) -> None:
    """Who waits in vain is told so; the event is spooled, and delivered afterwards."""
    with direct(embedded_kafka, delivery_wait=0.1) as (provider, processor):
        embedded_kafka.down()
        with pytest.raises(DeliveryTimeout, match="none yet"):
            emit_audit_event("a", "b", "c", "success", logger=provider.get_logger("shop"), wait=0.5)
        until(lambda: processor.stats().spooled == 1)
        embedded_kafka.up()
        until(lambda: len(embedded_kafka.messages(AUDIT_TOPIC)) == 1)


def test_no_receipt_for_what_is_a_dead_letter(embedded_kafka: EmbeddedKafka) -> None:
    """Who waits for an event that cannot be converted is told why."""
    with direct(embedded_kafka) as (provider, processor):
        with pytest.raises(DeliveryError, match=r"conversion:omni\.audit\.actor") as raised:
            emit_audit_event("a", " ", "c", "success", logger=provider.get_logger("shop"), wait=10)
        assert raised.value.outcome is DeliveryOutcome.DEAD_LETTERED
        assert processor.stats().dead_lettered == 1


def test_a_wrong_word_is_a_dead_letter(embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]) -> None:
    """Another word for the outcome or the decision is kept with a line that names it; who waits is told."""
    bad: Any = "perhaps"
    with direct(embedded_kafka) as (provider, processor):
        logger = provider.get_logger("shop")
        emit_audit_event("a", "b", "c", bad, logger=logger)
        with pytest.raises(DeliveryError, match=r"dead_lettered, because of conversion:omni\.audit\.outcome"):
            emit_audit_event("a", "b", "c", bad, logger=logger, wait=10)
        with pytest.raises(DeliveryError, match=r"conversion:omni\.security\.decision"):
            emit_security_event("a", "b", "c", bad, logger=logger, wait=10)
        assert processor.stats().dead_lettered == 3
        assert "omni.audit.outcome: expected success or failure, got another text" in capfd.readouterr().err


class Broken(LogRecordProcessor):
    """A processor of somebody's that raises."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Raise."""
        raise RuntimeError(f"no {log_record.log_record.event_name}")

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing to do."""
        return timeout_millis > 0


@pytest.mark.parametrize("first", [True, False])
def test_a_broken_processor_beside_ours(embedded_kafka: EmbeddedKafka, first: bool) -> None:  # noqa: FBT001 - a case
    """Who waits for an event gets its receipt although a processor behind ours raises; for one before it, an error."""
    provider = LoggerProvider(shutdown_on_exit=False)
    ours = KafkaLogRecordProcessor(bootstrap_servers=embedded_kafka.bootstrap_servers)
    for processor in (Broken(), ours) if first else (ours, Broken()):
        provider.add_log_record_processor(processor)
    logger = provider.get_logger("shop")
    if first:
        with pytest.raises(DeliveryError, match="emit_failed"):
            emit_audit_event("a", "b", "c", "success", logger=logger, wait=0.1)
        emit_audit_event("a", "b", "c", "success", logger=logger)
    else:
        assert emit_audit_event("a", "b", "c", "success", logger=logger, wait=20) is not None
    ours.shutdown()
    assert len(embedded_kafka.messages(AUDIT_TOPIC)) == (0 if first else 1)


def test_what_changes_after_the_call(embedded_kafka: EmbeddedKafka) -> None:
    """A record has what its body and attributes held at the call, whatever becomes of them before it is sent."""
    body: Any = {"items": [0]}
    attributes: Any = {"list": [0], "map": {"inner": [0]}}
    with direct(embedded_kafka) as (provider, _):
        embedded_kafka.down()
        for number in (1, 2, 3):
            provider.get_logger("shop").emit(LogRecord(body=body, attributes=attributes))
            for changed in (body["items"], attributes["list"], attributes["map"]["inner"]):
                changed.append(number)
        body["items"] = attributes["list"] = []
        embedded_kafka.up()
        until(lambda: len(arrived(embedded_kafka)) == 3)
    payloads = [decode(message.value()).payload for message in embedded_kafka.messages(TOPIC)]
    for payload, items in zip(payloads, ([0], [0, 1], [0, 1, 2]), strict=True):
        assert json.loads(payload["message"]) == {"items": items}
        assert payload["context"] == {"list": items, "map": {"inner": items}}


def test_what_changes_after_the_call_of_an_event(embedded_kafka: EmbeddedKafka) -> None:
    """An audit event's context is that of the call, behind the batch processor too."""
    with exporting(embedded_kafka) as exporter:
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        context: Any = {"items": [0], "map": {"inner": [0]}}
        emit_audit_event("a", "b", "c", "success", context=context, logger=provider.get_logger("shop"))
        context["items"].append(1)
        context["map"]["inner"].append(1)
        provider.shutdown()
    (message,) = embedded_kafka.messages(AUDIT_TOPIC)
    assert decode(message.value()).payload["context"] == {"items": [0], "map": {"inner": [0]}}


def test_a_receipt_needs_a_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting in a process that delivers nothing is an error that says what is missing."""
    monkeypatch.setattr(receipts, "_pipelines", set())
    monkeypatch.setattr(receipts, "_was_open", False)
    with pytest.raises(NoPipelineError, match="Start it by opentelemetry-instrument"):
        emit_audit_event("a", "b", "c", "success", wait=1)
