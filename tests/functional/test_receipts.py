"""Who awaits a receipt holds up no event loop; who gets none in time is told whether the event is on disk."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import Logger
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from typing_extensions import assert_type

from otel_kafka_exporter import (
    DeliveryError,
    DeliveryTimeout,
    KafkaLogExporter,
    NoPipelineError,
    Receipt,
    aemit_audit_event,
    aemit_security_event,
    decode,
    emit_audit_event,
)
from otel_kafka_exporter.delivery import receipts
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.records import SPAN_ID, TRACE_ID, TRACE_UUID
from tests.unit.test_docs import ROOT
from tests.waiting import until
from tests.ways_in.running import INSTRUMENT, run

from .pasting import blocks_in_order, section
from .test_direct import AUDIT_TOPIC, direct


def late(logger: Logger, wait: float) -> DeliveryTimeout:
    """What is said of an event whose acknowledgement does not come."""
    with pytest.raises(DeliveryTimeout) as raised:
        emit_audit_event("a", "b", "c", "success", logger=logger, wait=wait)
    return raised.value


@pytest.mark.parametrize(
    ("settings", "spooled"),
    [
        ({}, True),
        ({"durability": "power"}, True),
        ({"durable": "none", "delivery_wait": 0.05}, True),  # written down when it is late
        ({"durable": "none", "delivery_wait": 60}, False),
        ({"outbox": False, "delivery_wait": 60}, False),
    ],
)
def test_who_gets_no_receipt_is_told_whether_the_event_is_on_disk(
    embedded_kafka: EmbeddedKafka,
    settings: dict[str, Any],
    spooled: bool,  # noqa: FBT001 - a case
) -> None:
    """While Kafka is away, `spooled` is whether the outbox has the event, and the text says so."""
    with direct(embedded_kafka, shutdown_timeout=0.5, **settings) as (provider, processor):
        embedded_kafka.down()
        error = late(provider.get_logger("shop"), 1.0)
        assert error.spooled is spooled
        assert ("It is in the outbox" in str(error)) is spooled
        assert error.event_id in str(error)
        # By now the cluster is known to be away, where there is an outbox that something is late for.
        assert late(provider.get_logger("shop"), 0.2).spooled is spooled
        assert processor.stats().accepted == 2


def test_no_room_on_disk_is_told(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Where the outbox cannot be used, the event is not said to be on disk."""
    (tmp_path / "file").write_text("no directory")
    settings = {"outbox_dir": str(tmp_path / "file"), "delivery_wait": 0.1, "shutdown_timeout": 0.5}
    with direct(embedded_kafka, **settings) as (provider, _):
        embedded_kafka.down()
        assert late(provider.get_logger("shop"), 0.5).spooled is False


def test_what_the_batch_processor_holds_is_not_on_disk(embedded_kafka: EmbeddedKafka) -> None:
    """An event in OpenTelemetry's queue is not ours to keep yet."""
    provider = LoggerProvider(shutdown_on_exit=False)
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=60_000))
    assert late(provider.get_logger("shop"), 0.1).spooled is False
    provider.shutdown()
    assert len(embedded_kafka.messages(AUDIT_TOPIC)) == 1


def test_what_is_said_to_be_on_disk_survives(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """A process that dies by SIGKILL where `spooled` is true leaves the event to the next one."""
    program = """
import os, signal, sys
from opentelemetry.sdk._logs import LoggerProvider
from otel_kafka_exporter import DeliveryTimeout, KafkaLogRecordProcessor, emit_audit_event
provider = LoggerProvider()
provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=sys.argv[1]))
try:
    emit_audit_event("a", "b", "c", "success", logger=provider.get_logger("shop"), wait=0.2)
except DeliveryTimeout as error:
    print(error.event_id, error.spooled, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    embedded_kafka.down()
    done = run(sys.executable, "-c", program, embedded_kafka.bootstrap_servers)
    event_id, spooled = done.stdout.split()
    assert spooled == "True", done.stderr
    embedded_kafka.up()
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    otel_kafka = str(Path(sys.executable).with_name("otel-kafka"))
    drained = run(otel_kafka, "outbox", "drain", OTEL_EXPORTER_KAFKA_OUTBOX_DIR=str(outbox_dir), **servers)
    assert drained.returncode == 0, drained.stderr
    assert [decode(each.value()).event_id for each in embedded_kafka.messages(AUDIT_TOPIC)] == [event_id]


def test_the_pages_programs_print_their_receipts(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Both of the page on delivery run as they stand under `opentelemetry-instrument`."""
    page = section(ROOT / "docs" / "delivery.md", "Receipts")
    (tmp_path / "app.py").write_text("".join(block.text for block in blocks_in_order(page)))
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    done = run(INSTRUMENT, sys.executable, str(tmp_path / "app.py"), OTEL_LOGS_EXPORTER="onex_kafka", **servers)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [AUDIT_TOPIC] * 2, done.stderr


def awaiting(kafka: EmbeddedKafka, task: Callable[[Logger], Awaitable[None]], **settings: Any) -> None:
    """Run a task beside the direct processor."""
    with direct(kafka, **settings) as (provider, _):
        asyncio.run(asyncio.wait_for(task(provider.get_logger("shop")), 60))


def test_an_event_loop_goes_on_meanwhile(embedded_kafka: EmbeddedKafka) -> None:
    """While one task awaits its receipt, another brings back the broker that it waits for."""

    async def main(logger: Logger) -> None:
        embedded_kafka.down()
        task = asyncio.create_task(aemit_audit_event("a", "b", "c", "success", logger=logger, wait=30))
        while not receipts.waiting:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        embedded_kafka.up()
        receipt = assert_type(await task, Receipt)
        [message] = embedded_kafka.messages(AUDIT_TOPIC)
        assert receipt.event_id == decode(message.value()).event_id
        assert (message.partition(), message.offset()) == (receipt.partition, receipt.offset)

    awaiting(embedded_kafka, main)
    assert not receipts.waiting


def test_each_of_many_tasks_gets_its_own(embedded_kafka: EmbeddedKafka) -> None:
    """Receipts of events that are awaited at once are each their own, in the trace of their task."""
    span = NonRecordingSpan(SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(1)))

    async def main(logger: Logger) -> None:
        with trace.use_span(span):
            found = await asyncio.gather(
                *[aemit_security_event("a", str(n), "c", "deny", logger=logger, wait=30) for n in range(50)]
            )
        messages = {each.offset(): decode(each.value()) for each in embedded_kafka.messages(found[0].topic)}
        for n, receipt in enumerate(found):
            assert isinstance(receipt, Receipt)
            assert messages[receipt.offset].payload["user_id"] == str(n)
            assert messages[receipt.offset].correlation_id == TRACE_UUID

    awaiting(embedded_kafka, main)


def test_a_task_is_told_what_a_thread_is_told(embedded_kafka: EmbeddedKafka) -> None:
    """A dead letter, an acknowledgement that does not come, and a logger that leads elsewhere are the same errors."""

    async def main(logger: Logger) -> None:
        with pytest.raises(DeliveryError, match=r"conversion:omni\.audit\.actor"):
            await aemit_audit_event("a", " ", "c", "success", logger=logger, wait=10)
        with pytest.raises(NoPipelineError, match="whose provider has other exporters only"):
            await aemit_audit_event("a", "b", "c", "success", logger=LoggerProvider().get_logger("other"), wait=10)
        embedded_kafka.down()
        with pytest.raises(DeliveryTimeout) as raised:
            await aemit_audit_event("a", "b", "c", "success", logger=logger, wait=0.2)
        assert raised.value.spooled

    awaiting(embedded_kafka, main, shutdown_timeout=0.5)


def test_a_task_that_is_cancelled_takes_nothing_back(embedded_kafka: EmbeddedKafka) -> None:
    """Its event is delivered, and nobody waits for it any more."""

    async def main(logger: Logger) -> None:
        embedded_kafka.down()
        task = asyncio.create_task(aemit_audit_event("a", "b", "c", "success", logger=logger, wait=30))
        while not receipts.waiting:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not receipts.waiting
        embedded_kafka.up()

    with direct(embedded_kafka) as (provider, processor):
        asyncio.run(main(provider.get_logger("shop")))
        until(lambda: processor.stats().delivered == 1)


def test_a_receipt_for_a_loop_that_is_gone_costs_nothing(
    embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """An acknowledgement after the end of the event loop is counted like any other."""
    with direct(embedded_kafka) as (provider, processor):
        embedded_kafka.down()
        loop = asyncio.new_event_loop()
        logger = provider.get_logger("shop")
        task = loop.create_task(aemit_audit_event("a", "b", "c", "success", logger=logger, wait=30))
        while not receipts.waiting:
            loop.run_until_complete(asyncio.sleep(0))
        loop.stop()
        loop.close()
        embedded_kafka.up()
        until(lambda: processor.stats().delivered == 1)
        assert "Traceback" not in capfd.readouterr().err
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would complain of this test's own doing
        receipts.waiting.clear()
