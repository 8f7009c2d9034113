"""What services do to their processes: signals, freezes, shutdowns under load, records that nobody would write."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter

from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor, NoPipelineError, emit_audit_event
from otel_kafka_exporter.publisher import LoggingEventPublisherContext
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .greenlets import needs_gevent
from .pipelines import arrived, audit_records, delivery_of, exporting, records

AUDIT_TOPIC = "omninode.logging.audit.v1"
APPS = Path(__file__).with_name("apps")


def storm(kafka: EmbeddedKafka, durability: str, until: str, runs: Sequence[str] = ()) -> dict[str, Any]:
    """A process in which handlers and finalizers audit, through an outage and its end; what it says it counted."""
    with subprocess.Popen(
        [sys.executable, *runs, str(APPS / "storm.py"), kafka.bootstrap_servers, durability, until],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            kafka.down()
            process.stdin.write("away\n")
            process.stdin.flush()
            assert process.stdout.readline() == "logged\n"
            kafka.up()
            process.stdin.write("back\n")
            process.stdin.flush()
            output = process.stdout.read()
            assert process.wait(60) == 0
        finally:
            process.kill()
    said: dict[str, Any] = json.loads(output)
    return said


def audited(kafka: EmbeddedKafka) -> set[str]:
    """What the handlers and finalizers have audited, as a consumer sees it."""
    found = kafka.messages(AUDIT_TOPIC)
    return {json.loads(message.value() or b"")["payload"]["resource"] for message in found}


@pytest.mark.parametrize(
    ("runs", "durability"),
    [
        ((), "process"),
        ((), "power"),
        pytest.param(("-m", "gevent.monkey"), "power", marks=needs_gevent),
    ],
    ids=["process", "power", "power under gevent"],
)
def test_a_storm_of_signals_neither_aborts_nor_hangs_nor_loses(
    runs: tuple[str, ...], durability: str, embedded_kafka: EmbeddedKafka
) -> None:
    """Handlers and finalizers that audit, within reports, flushes and log calls, while an outage ends: all arrive."""
    said = storm(embedded_kafka, durability, "drained", runs)
    assert said["dropped"] == {}
    assert said["spooled"] == 0
    assert said["delivered"] == said["accepted"] > 5_000
    assert said["audited"] > 20
    assert len(audited(embedded_kafka)) == said["audited"]


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_storm_of_signals_through_a_shutdown_loses_nothing_unseen(
    durability: str, embedded_kafka: EmbeddedKafka
) -> None:
    """What is audited while a shutdown is under way is delivered or kept; what comes after it is counted as dropped."""
    said = storm(embedded_kafka, durability, "shutdown")
    assert said["accepted"] == said["delivered"] + said["spooled"] + sum(said["dropped"].values())
    assert set(said["dropped"]) <= {"shutdown"}
    assert said["audited"] > 20
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["the next process"]))
        until(lambda: exporter.stats().delivered == said["spooled"] + 1, 30)
    assert len(audited(embedded_kafka)) == said["audited"] - sum(said["dropped"].values())


def test_a_frozen_process_takes_nothing_for_lost(embedded_kafka: EmbeddedKafka) -> None:
    """Stopped for longer than `delivery_wait`, it goes on without a word and without a duplicate."""
    program = (
        "import sys, time\n"
        "from opentelemetry._logs import LogRecord\n"
        "from opentelemetry.sdk._logs import LoggerProvider\n"
        "from otel_kafka_exporter import KafkaLogRecordProcessor\n"
        "processor = KafkaLogRecordProcessor(bootstrap_servers=sys.argv[1], delivery_wait=1)\n"
        "provider = LoggerProvider(shutdown_on_exit=False)\n"
        "provider.add_log_record_processor(processor)\n"
        "logger = provider.get_logger('x')\n"
        "until, n = time.monotonic() + 8, 0\n"
        "while time.monotonic() < until:\n"
        "    logger.emit(LogRecord(timestamp=time.time_ns(), body=str(n)))\n"
        "    n += 1\n"
        "    if n == 200: print('running', flush=True)\n"
        "    time.sleep(0.002)  # the pace of the load\n"
        "provider.shutdown()\n"
        "print(n, processor.stats().delivered)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, embedded_kafka.bootstrap_servers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(3)  # the fault itself
            os.kill(process.pid, signal.SIGCONT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    emitted, delivered = map(int, output.split())
    assert (delivered, errors) == (emitted, "")
    assert arrived(embedded_kafka) == [str(n) for n in range(emitted)]


def test_a_record_that_breaks_the_exporter_costs_only_itself(embedded_kafka: EmbeddedKafka) -> None:
    """An event that cannot be converted, with an ID that cannot be written, is a dead letter; the others arrive."""
    attributes = {"omni.category": "audit", "omni.audit.outcome": "maybe", "log.record.uid": json.loads('"\\ud800"')}
    [poison] = records(["poison"], **attributes)
    with exporting(embedded_kafka) as exporter:
        exporter.export([*audit_records(["one"]), poison, *audit_records(["two"]), *records(["three"])])
        assert exporter.stats()[:5] == (4, 3, 0, 1, 0)
    assert arrived(embedded_kafka, AUDIT_TOPIC) == ["one", "two"]


def test_what_is_logged_during_a_shutdown_is_kept(embedded_kafka: EmbeddedKafka) -> None:
    """While another thread shuts down, an event goes to the outbox, which is open; after it, it is dropped and said."""
    with exporting(embedded_kafka, delivery_wait=30) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        exporter.hand_over(records(["on its way"])[0])
        closing = threading.Thread(target=exporter.shutdown, args=(2_000,))
        closing.start()
        until(lambda: delivery_of(exporter)._state.closed)
        for record in audit_records([f"during {n}" for n in range(5)]):
            exporter.hand_over(record)
        assert exporter.stats().spooled >= 5
        closing.join()
        assert exporter.stats()[:5] == (7, 1, 6, 0, 0)
    embedded_kafka.up()
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["next process"]))
        until(lambda: exporter.stats().delivered == 7)
    assert arrived(embedded_kafka, AUDIT_TOPIC) == [f"during {n}" for n in range(5)]


def test_a_receipt_is_not_refused_by_another_clusters_exporter(embedded_kafka: EmbeddedKafka) -> None:
    """With two exporters, an event that one of them drops and the other one delivers has its receipt."""
    dropping = KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", outbox=False, delivery_wait=0.1)
    delivering = KafkaLogRecordProcessor(KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers))
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(dropping)
    provider.add_log_record_processor(delivering)
    logger = provider.get_logger("x")
    try:
        emit_audit_event("a", actor="b", resource="warm", outcome="success", logger=logger)
        until(lambda: dropping.stats().dropped and delivering.stats().delivered)
        embedded_kafka.slow(500)  # so that the other one is done with it first
        receipt = emit_audit_event("a", actor="b", resource="c", outcome="success", logger=logger, wait=20)
        assert receipt is not None
        assert receipt.topic == AUDIT_TOPIC
        embedded_kafka.slow(0)
    finally:
        provider.shutdown()


def test_nobody_waits_for_a_receipt_that_cannot_come(embedded_kafka: EmbeddedKafka) -> None:
    """A provider without an exporter of ours, beside one with: a publisher answers at once, `wait=` says why not."""
    ours, other = LoggerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    ours.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=embedded_kafka.bootstrap_servers))
    memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's omission
    other.add_log_record_processor(BatchLogRecordProcessor(memory))

    async def publish() -> bool:
        async with LoggingEventPublisherContext(logger_provider=other, publish_timeout=600) as publisher:
            return await publisher.publish_audit_log("t", "a", "b", "r", "success")

    try:
        assert asyncio.run(asyncio.wait_for(publish(), 60))
        with pytest.raises(NoPipelineError, match="other exporters only"):
            emit_audit_event("a", actor="b", resource="c", outcome="success", logger=other.get_logger("x"), wait=600)
        logger = ours.get_logger("x")
        assert emit_audit_event("a", actor="b", resource="c", outcome="success", logger=logger, wait=20)
    finally:
        ours.shutdown()
        other.shutdown()
    assert len(memory.get_finished_logs()) == 1
