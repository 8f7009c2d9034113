"""Finalizers, which run wherever the collector does: in our threads, and while a thread has what others wait for."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, FrameType

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from otel_kafka_exporter import DeliveryTimeout, KafkaLogExporter, emit_audit_event
from otel_kafka_exporter.delivery.accounting import Ledger
from otel_kafka_exporter.delivery.delivery import Delivery
from otel_kafka_exporter.delivery.flight import FlightState
from otel_kafka_exporter.kafka.client import Client
from otel_kafka_exporter.otel.exporter import EntryPointKafkaLogExporter
from otel_kafka_exporter.outbox.group_commit import GroupCommit
from otel_kafka_exporter.process import OsThread
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.interrupting import finalize_within, strike_at_signal_point
from tests.waiting import exit_code, until

from .pipelines import TOPIC, arrived, audit_records, delivery_of, exporting, records
from .test_direct import direct

AUDIT_TOPIC = "omninode.logging.audit.v1"
#: More than a thread waits for any lock of ours, and less than nobody would go on.
LONG = 15.0


def at_once(_frame: FrameType) -> bool:
    """For `finalize_within`."""
    return True


def goes_on(code: CodeType, call: Callable[[], object], beside: Callable[[], object]) -> bool:
    """Whether a finalizer gets a lock of the application's, within a function of ours that a call runs, although its
    holder calls us beside that: as where it logs by `logging`, whose handlers have locks.
    """
    lock, struck, held = threading.Lock(), threading.Event(), threading.Event()
    got: list[bool] = []

    def finalizer() -> None:
        struck.set()
        held.wait(LONG)
        got.append(lock.acquire(timeout=LONG))
        if got[0]:
            lock.release()

    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(finalize_within, code, call, finalizer, at_once)
        assert struck.wait(LONG)
        with lock:
            held.set()
            beside()
        future.result(2 * LONG)
    return got == [True]


@pytest.mark.parametrize("what", ["hand_over", "stats", "usage", "force_flush", "shutdown"])
def test_who_has_the_states_is_not_waited_for_for_ever(what: str, embedded_kafka: EmbeddedKafka) -> None:
    """A finalizer in the middle of a log call waits for a thread that calls the exporter: both go on."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["before"]))
        beside: dict[str, Callable[[], object]] = {
            "hand_over": lambda: exporter.hand_over(records(["beside"])[0]),
            "stats": exporter.stats,
            "usage": delivery_of(exporter).outbox_usage,
            "force_flush": lambda: exporter.force_flush(2_000),
            "shutdown": lambda: exporter.shutdown(1_000),
        }
        [event] = audit_records(["event"])
        assert goes_on(FlightState.write_ahead.__code__, lambda: exporter.hand_over(event), beside[what])
        until(lambda: exporter.stats().delivered + exporter.stats().spooled >= 2)
        exporter.shutdown()
        stats = exporter.stats()
        assert (stats.accepted, stats.in_flight, stats.dropped) == (2 + (what == "hand_over"), 0, {})


def test_who_flushes_is_not_waited_for_for_ever(embedded_kafka: EmbeddedKafka) -> None:
    """A finalizer within a flush waits for a thread that logs, and waits for the disk: that flushes by itself."""
    with exporting(embedded_kafka, durability="power") as exporter:
        exporter.export([*records(["before"]), *audit_records(["before"])])
        [event], [line] = audit_records(["event"]), records(["beside"])
        flushes = GroupCommit._flush_file.__code__
        assert goes_on(flushes, lambda: exporter.hand_over(event), lambda: exporter.hand_over(line))
        assert exporter.force_flush(10_000)
        assert exporter.stats()[:5] == (4, 4, 0, 0, 0)


def test_who_makes_the_client_is_not_waited_for_for_ever(embedded_kafka: EmbeddedKafka) -> None:
    """A finalizer where the client is made waits for a thread that logs its first line: that is kept."""
    with exporting(embedded_kafka) as exporter:
        producer = delivery_of(exporter)._producer
        [line] = records(["beside"])
        makes = Client.__init__.__code__
        assert goes_on(makes, lambda: producer.reachable("", 5.0), lambda: exporter.hand_over(line))
        until(lambda: exporter.stats().delivered == 1)


def test_who_counts_what_goes_nowhere_is_not_waited_for_for_ever() -> None:
    """An exporter whose settings are wrong holds nobody up either, and counts all."""
    exporter = EntryPointKafkaLogExporter(bootstrap_servers="nonsense")
    batch = records(["a", "b"])
    assert goes_on(Ledger.lose.__code__, lambda: exporter.export(batch), lambda: exporter.export(batch))
    assert exporter.stats()[0] == 4
    finalize_within(Ledger.lose.__code__, lambda: exporter.export(batch), lambda: exporter.export(batch), at_once)
    assert exporter.stats().dropped == {"misconfigured": 8}


def in_own_thread(call: Callable[[], object]) -> float:
    """How long a call takes in a thread of ours, where a finalizer makes it."""
    took: list[float] = []

    def run() -> None:
        started = time.monotonic()
        call()
        took.append(time.monotonic() - started)

    thread = OsThread(run)
    thread.start()
    thread.join(2 * LONG)
    return took[0]


def test_a_finalizer_in_a_thread_of_ours_waits_for_no_receipt(embedded_kafka: EmbeddedKafka) -> None:
    """That thread may be the one that brings it: nothing would be delivered meanwhile. The event is."""
    with direct(embedded_kafka) as (provider, processor):

        def emit() -> None:
            with pytest.raises(DeliveryTimeout, match="or a delivery"):
                emit_audit_event("a", "b", "r", "success", logger=provider.get_logger("shop"), wait=LONG)

        assert in_own_thread(emit) < LONG / 3
        until(lambda: processor.stats().delivered == 1)


def test_a_finalizer_in_a_thread_of_ours_does_not_wait_until_nothing_is_in_flight(
    embedded_kafka: EmbeddedKafka,
) -> None:
    """It says that something is."""
    with direct(embedded_kafka, delivery_wait=60) as (provider, processor):
        provider.get_logger("shop").emit(body="before")
        assert processor.force_flush()
        embedded_kafka.down()
        provider.get_logger("shop").emit(body="held up")
        assert in_own_thread(lambda: processor.force_flush(int(1000 * LONG))) < LONG / 3
        assert processor.stats().in_flight == 1
        embedded_kafka.up()


def test_a_finalizer_within_an_export_waits_for_no_receipt(embedded_kafka: EmbeddedKafka) -> None:
    """OpenTelemetry's batch processor exports an event when its thread goes on, not before."""
    with exporting(embedded_kafka) as exporter:
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        took: list[float] = []

        def emit() -> None:
            started = time.monotonic()
            with pytest.raises(DeliveryTimeout, match="or a delivery"):
                emit_audit_event("a", "b", "r", "success", logger=provider.get_logger("shop"), wait=LONG)
            took.append(time.monotonic() - started)

        batch = records(["line"])
        finalize_within(Delivery.deliver.__code__, lambda: exporter.export(batch), emit, at_once)
        assert took[0] < LONG / 3
        assert provider.force_flush()
        assert len(embedded_kafka.messages(AUDIT_TOPIC)) == 1


def test_what_finds_no_room_and_no_lock_is_kept_when_that_is_free(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that its caller gave up while others had the lock waits for no further log call."""
    monkeypatch.setattr("otel_kafka_exporter.process.locking.LOCK_SECONDS", 0.05)
    with exporting(embedded_kafka, queue_max_records=1, full_queue_wait=0.5, delivery_wait=60) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        with ThreadPoolExecutor(1) as threads:
            exporter.hand_over(records(["fills the queue"])[0])
            future = threads.submit(exporter.hand_over, records(["no room"])[0])
            until(lambda: exporter.stats().in_flight == 2)
            with delivery_of(exporter)._state.lock:
                future.result(LONG)
        until(lambda: exporter.stats().spooled == 1)
        embedded_kafka.up()


@pytest.mark.parametrize("kind", ["application", "audit"])
def test_a_handler_that_forks_within_a_log_call(kind: str, embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The child goes on with that call, too, and sends nothing of it: its parent does."""
    topic, make = (AUDIT_TOPIC, audit_records) if kind == "audit" else (TOPIC, records)
    with exporting(embedded_kafka, outbox_dir=tmp_path) as exporter:
        exporter.export(records(["before"]))
        number, struck, sent = 60, True, 0  # before that it has not come to delivery
        while struck:
            children: list[int] = []
            [record] = make([str(number)])
            struck = strike_at_signal_point(
                number,
                lambda: exporter.hand_over(record),  # noqa: B023 - called at once
                lambda: children.append(os.fork()),  # noqa: B023 - as above
            )
            if children == [0]:
                gc.disable()
                exporter.export(records(["child"]))  # behind what it has sent by then
                os._exit(0)
            assert all(exit_code(child) == 0 for child in children)
            sent += 1
            number += 31
        assert exporter.force_flush(10_000)
        texts = [text for text in arrived(embedded_kafka, topic) if text.isdigit()]
        assert len(texts) == len(set(texts)) == sent > 2


def test_a_shutdown_beside_a_thread_that_never_goes_on(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """It ends within its time and a second, and is done by another thread as soon as that can be."""
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, outbox_dir=tmp_path)
    exporter.export(records(["before"]))
    with ThreadPoolExecutor(1) as threads, delivery_of(exporter)._state.lock:
        started = time.monotonic()
        threads.submit(exporter.shutdown, 500).result(LONG)
        assert time.monotonic() - started < 3
    until(delivery_of(exporter)._closing._ended.is_set)
    assert exporter.stats()[:5] == (1, 1, 0, 0, 0)
