"""With `durability=power`, what each way in returned is on the disk, here a disk that has nothing else."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import (
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    emit_audit_event,
    emit_security_event,
)
from otel_kafka_exporter.outbox import disk
from otel_kafka_exporter.outbox.files import stored_outboxes
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.power import RecordedDisk
from tests.waiting import until

from .pipelines import audit_records, delivery_of, exporting, records

NO_SERVERS = "127.0.0.1:1"
SETTINGS: dict[str, Any] = {"durability": "power", "delivery_wait": 0.1, "shutdown_timeout": 0.1}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox_dir: Path) -> Iterator[RecordedDisk]:
    assert outbox_dir.is_relative_to(tmp_path)
    found = RecordedDisk(tmp_path, monkeypatch, 0, lambda _: False)
    yield found
    found.close()


def is_on_the_disk(recorded: RecordedDisk, text: str) -> bool:
    return any(content is not None and text.encode() in content for content in recorded.leave().values())


@pytest.fixture
def exporter(recorded: RecordedDisk) -> Iterator[KafkaLogExporter]:  # noqa: ARG001 - the disk is below it
    exporter = KafkaLogExporter(bootstrap_servers=NO_SERVERS, **SETTINGS)
    yield exporter
    exporter.shutdown()


def test_a_batch_of_several_categories(exporter: KafkaLogExporter, recorded: RecordedDisk) -> None:
    """Each record of a batch that was exported is on the disk, in whichever file, kept late or at once."""
    exporter.export([*audit_records(["first"]), *records(["second"]), *audit_records(["third"]), *records(["fourth"])])
    assert all(is_on_the_disk(recorded, text) for text in ("first", "second", "third", "fourth"))


def test_events_that_were_emitted(recorded: RecordedDisk) -> None:
    """So is each event whose emit has returned, and a dead letter of one that lacks a field."""
    processor = KafkaLogRecordProcessor(bootstrap_servers=NO_SERVERS, **SETTINGS)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("x")
    emit_audit_event("an.audit", "bob", "order", "success", logger=logger)
    assert is_on_the_disk(recorded, "an.audit")
    emit_security_event("a.security", "bob", "order", "deny", logger=logger)
    assert is_on_the_disk(recorded, "a.security")
    emit_audit_event("a.letter", "bob", "order", "no outcome", logger=logger)  # type: ignore[call-overload]
    assert is_on_the_disk(recorded, "a.letter")
    provider.shutdown()


def test_what_is_kept_in_the_background(exporter: KafkaLogExporter, recorded: RecordedDisk) -> None:
    """What turns out to be late after its call has returned is on the disk soon after."""
    exporter.hand_over(records(["late"])[0])
    until(lambda: is_on_the_disk(recorded, "late"))


def test_what_a_shutdown_keeps(recorded: RecordedDisk) -> None:
    """What is kept by a shutdown is on the disk when that returns."""
    exporter = KafkaLogExporter(bootstrap_servers=NO_SERVERS, **{**SETTINGS, "delivery_wait": 30})
    exporter.hand_over(records(["undelivered"])[0])
    exporter.shutdown()
    assert is_on_the_disk(recorded, "undelivered")
    assert delivery_of(exporter).sync()


def test_what_a_shutdown_keeps_on_a_disk_that_does_not_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has put something there, and asks for the disk after the shutdown, is told that it is not there."""
    exporter = KafkaLogExporter(bootstrap_servers=NO_SERVERS, **{**SETTINGS, "delivery_wait": 30})
    exporter.hand_over(records(["undelivered"])[0])

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "flush", fail)
        exporter.shutdown()
        assert not delivery_of(exporter).sync()


@pytest.mark.parametrize("wait", [True, False])
def test_what_was_published(recorded: RecordedDisk, monkeypatch: pytest.MonkeyPatch, wait: bool) -> None:  # noqa: FBT001 - a parameter
    """What an `await` says is published is on the disk, and the event loop's thread never waits for that."""
    flushing: list[threading.Thread] = []
    flush = disk.flush

    def watched(descriptor: int) -> None:
        flushing.append(threading.current_thread())
        flush(descriptor)

    monkeypatch.setattr(disk, "flush", watched)

    async def publish() -> None:
        publisher = LoggingEventPublisher(NO_SERVERS, outbox=True, start_timeout=0.1, **SETTINGS)
        await publisher.start()
        for text in ("first", "once.it.is.away"):
            published = [
                publisher.publish_audit_log("t-1", f"{text}.{n}", "bob", "order", "success", wait=wait)
                for n in range(9)
            ]
            assert await asyncio.gather(*published) == [True] * 9
            assert all(is_on_the_disk(recorded, f"{text}.{n}") for n in range(9))
        assert flushing
        assert threading.current_thread() not in flushing
        await publisher.stop()

    asyncio.run(publish())


def test_an_event_that_a_broker_refuses(
    embedded_kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox_dir: Path
) -> None:
    """An event whose emit has returned is there at every moment: as itself, or as the dead letter in its place."""
    # Of what was not flushed, no name is there, and every change within a file is.
    recorded = RecordedDisk(tmp_path, monkeypatch, 0, lambda change: change is None)
    with exporting(embedded_kafka, durability="power") as exporter:
        exporter.export(audit_records(["warms up"]))
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)
        exporter.hand_over(audit_records(["refused"])[0])
        until(lambda: exporter.stats().dead_lettered == 1)
        recorded.fail()
    after = tmp_path / "after"
    after.mkdir()
    assert recorded.left is not None
    recorded.restore(recorded.left, after)
    recorded.close()
    rows = [row for stored in stored_outboxes(after / outbox_dir.relative_to(tmp_path)) for row in stored.rows()]
    assert any(b"refused" in row.row.record.value for row in rows)
