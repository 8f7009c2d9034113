"""Calls that are interrupted, that come at an impossible moment, or that wait for one that never ends."""

from __future__ import annotations

import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter import DeliveryTimeout, KafkaLogExporter, emit_audit_event
from otel_kafka_exporter.process.log_lines import log
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.interrupting import interrupt_at_signal_point, strike_at_signal_point
from tests.waiting import until

from .pipelines import arrived, audit_records, delivery_of, exporting, records
from .test_direct import direct

AUDIT_TOPIC = "omninode.logging.audit.v1"
SUCCESS = LogRecordExportResult.SUCCESS


class TimeLimit(Exception):  # noqa: N818 - as Celery's
    """What an application's own signal handler raises."""


@contextmanager
def on_signal(call: Callable[[], Any]) -> Iterator[None]:
    """Have something called by the handler of SIGUSR1."""
    before = signal.signal(signal.SIGUSR1, lambda *_: call())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_a_signal_handler_emits_within_a_log_call_counts_at_once_and_is_delivered(
    embedded_kafka: EmbeddedKafka,
) -> None:
    """It waits for no further log call, be it an event or one that cannot be converted, and no count is wrong."""
    broken = records(["broken"], **{"omni.category": "audit"})
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["before"]))

        def emit() -> None:
            for record in (*audit_records(["from the handler"]), *broken):
                exporter.hand_over(record)

        with on_signal(emit), delivery_of(exporter)._state.lock:
            signal.raise_signal(signal.SIGUSR1)
            stats = exporter.stats()
            assert (stats.accepted, stats.in_flight) == (3, 2)
        assert exporter.force_flush(10_000)
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ["from the handler"]
        assert exporter.stats()[:5] == (3, 2, 0, 1, 0)


def test_an_event_within_a_log_call_is_not_waited_for(embedded_kafka: EmbeddedKafka) -> None:
    """Its receipt could only come when the interrupted call goes on: the wait ends at once."""
    with direct(embedded_kafka) as (provider, processor):

        def emit() -> None:
            started = time.monotonic()
            with pytest.raises(DeliveryTimeout, match="within a log call"):
                emit_audit_event("a", "b", "r", "success", logger=provider.get_logger("shop"), wait=30)
            assert time.monotonic() - started < 5

        with on_signal(emit), delivery_of(processor._exporter)._state.lock:
            signal.raise_signal(signal.SIGUSR1)
        assert provider.force_flush()
        assert len(embedded_kafka.messages(AUDIT_TOPIC)) == 1


@pytest.mark.parametrize("kind", ["application", "audit", "broken"])
@pytest.mark.parametrize("way", ["hand_over", "export"])
def test_ctrl_c_at_any_moment_of_a_call_leaves_no_record_unaccounted(
    way: str, kind: str, embedded_kafka: EmbeddedKafka
) -> None:
    """Wherever Python raises it, each record of the call has an outcome in the end, and the locks are free."""
    [record] = {
        "application": lambda: records(["text"]),
        "audit": lambda: audit_records(["event"]),
        "broken": lambda: records(["broken"], **{"omni.category": "audit"}),
    }[kind]()
    number, interrupted = 0, True
    while (
        interrupted
    ):  # with exporters in turn: each file that a call leaves which is interrupted makes the next longer
        with exporting(embedded_kafka, delivery_wait=0.5) as exporter:
            exporter.export([*records(["first"]), *audit_records(["first"])])
            lock = delivery_of(exporter)._state.lock
            call: Callable[[], object] = partial(exporter.hand_over, record)
            if way == "export":
                call = partial(exporter.export, [record, record])
            last = number + 200
            while interrupted and number < last:
                number += 1
                interrupted = interrupt_at_signal_point(number, call)
                assert not lock._is_owned()  # type: ignore[attr-defined]  # the threading module's own way to ask
            until(lambda: not exporter.stats().in_flight, 30)
            stats = exporter.stats()
        assert stats.accepted == stats.delivered + stats.dead_lettered + stats.spooled + sum(stats.dropped.values())
        assert set(stats.dropped) <= {"interrupted"}
    assert number > 20
    assert (stats.dead_lettered if kind == "broken" else stats.delivered - 2) > 0


def test_ctrl_c_while_the_thread_for_delivery_is_started(embedded_kafka: EmbeddedKafka) -> None:
    """Wherever Python raises it, the next record has it started, if it was not, and is delivered."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        with exporting(embedded_kafka) as exporter:
            interrupted = interrupt_at_signal_point(number, delivery_of(exporter)._background._start)
            exporter.hand_over(records([str(number)])[0])
            until(lambda: exporter.stats().delivered == 1, 10)
    assert number > 5


def test_a_shutdown_keeps_what_it_has_although_a_decision_hangs(embedded_kafka: EmbeddedKafka) -> None:
    """A thread that hangs in the client while it decides over records holds up no shutdown, and costs no record."""
    with exporting(embedded_kafka, producer_config={"linger.ms": 5000}) as exporter:
        exporter.export(records(["before"]))
        for record in records([str(n) for n in range(10)]):
            exporter.hand_over(record)
        embedded_kafka.down()
        turn = delivery_of(exporter)._recovery._turn
        with turn:
            started = time.monotonic()
            exporter.shutdown(500)
            assert time.monotonic() - started < 3
        assert exporter.stats()[:5] == (11, 1, 10, 0, 0)
        embedded_kafka.up()
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["next process"]))
        until(lambda: exporter.stats().delivered == 11)
        assert set(arrived(embedded_kafka)) == {"before", *map(str, range(10)), "next process"}


def test_an_export_waits_for_no_decision_over_other_records(embedded_kafka: EmbeddedKafka) -> None:
    """What is late is written down though another thread hangs while it decides over what came back."""
    with exporting(embedded_kafka, delivery_wait=0.3) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        with delivery_of(exporter)._recovery._turn:
            exporter.hand_over(records(["beside it"])[0])
            assert exporter.export(records(["held up"])) is SUCCESS
            assert exporter.stats()[:5] == (3, 1, 2, 0, 0)
        embedded_kafka.up()
        until(lambda: exporter.stats().delivered == 3, 30)


def test_an_export_waits_for_the_decision_over_its_own_record(embedded_kafka: EmbeddedKafka) -> None:
    """A record that came back at the last moment is waited for until it has its place, and the export succeeds."""
    with exporting(embedded_kafka, delivery_wait=0.3) as exporter, ThreadPoolExecutor() as threads:
        exporter.export(records(["before"]))
        embedded_kafka.fail_next(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        recovery = delivery_of(exporter)._recovery
        with recovery._turn:
            export = threads.submit(exporter.export, records(["refused"]))
            lanes = delivery_of(exporter)._state.lanes.values()
            until(lambda: any(found.failed for lane in lanes for found in lane.partitions.values()))
            # The other thread is at it for longer than the batch may wait.
            assert not wait([export], timeout=0.6).done
        assert export.result(10) is SUCCESS
        until(lambda: exporter.stats().delivered == 2, 30)


@pytest.mark.parametrize("kind", ["application", "audit"])
def test_a_handler_that_shuts_down_costs_not_the_record_that_it_interrupts(
    kind: str, embedded_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Wherever SIGTERM's handler strikes within a log call, the record is delivered or kept, and counted once."""
    number, struck = 2, True  # before the first step of a call nothing was handed over yet
    while struck:
        exporter = KafkaLogExporter(
            bootstrap_servers=embedded_kafka.bootstrap_servers, outbox_dir=tmp_path / str(number), delivery_wait=1
        )
        exporter.export(records(["before"]))
        [record] = audit_records(["it"]) if kind == "audit" else records(["it"])
        struck = strike_at_signal_point(number, lambda: exporter.hand_over(record), lambda: exporter.shutdown(1000))  # noqa: B023 - called at once
        exporter.shutdown()
        stats = exporter.stats()
        assert stats.accepted == stats.delivered + stats.spooled == 2
        number += 23
    assert number > 50


@pytest.mark.parametrize(
    ("way", "durability", "kind"),
    [
        ("hand_over", "process", "audit"),
        ("hand_over", "process", "broken"),
        ("hand_over", "power", "audit"),
        ("export", "process", "audit"),
        ("export", "power", "broken"),
    ],
)
def test_a_handler_that_waits_for_a_lock_of_another_thread_that_logs_goes_on(
    way: str, durability: str, kind: str, embedded_kafka: EmbeddedKafka
) -> None:
    """As one that logs by `logging` does, within a call of ours: the other thread does not wait for that for ever."""
    [record] = audit_records(["it"]) if kind == "audit" else records(["broken"], **{"omni.category": "audit"})
    with exporting(embedded_kafka, durability=durability) as exporter, ThreadPoolExecutor() as threads:
        exporter.export(records(["before"]))
        of_a_log_handler, held = threading.Lock(), threading.Event()

        def log() -> None:
            with of_a_log_handler:
                held.set()
                if way == "export":  # as the SDK's `SimpleLogRecordProcessor`
                    exporter.export([record])
                else:
                    exporter.hand_over(record)

        with delivery_of(exporter)._state.lock:
            logs = threads.submit(log)
            assert held.wait(10)
            got = of_a_log_handler.acquire(timeout=20)
        assert got
        logs.result(10)
        until(lambda: exporter.stats().delivered + exporter.stats().dead_lettered == 2, 30)
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ([] if kind == "broken" else ["it"])


def test_a_handler_that_waits_for_a_lock_of_another_thread_that_awaits_outcomes_goes_on(
    embedded_kafka: EmbeddedKafka,
) -> None:
    """The other thread's call returns though it can decide over nothing, and the record is delivered later."""
    with exporting(embedded_kafka, delivery_wait=1) as exporter, ThreadPoolExecutor() as threads:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        of_a_log_handler = threading.Lock()

        def log() -> None:
            with of_a_log_handler:
                exporter.export(records(["it"]))

        logs = threads.submit(log)
        until(lambda: exporter.stats().accepted == 2, 10)
        with delivery_of(exporter)._state.lock:
            got = of_a_log_handler.acquire(timeout=20)
        assert got
        logs.result(10)
        embedded_kafka.up()
        until(lambda: exporter.stats().delivered == 2, 30)


def test_what_a_handler_logs_within_a_report_goes_before_what_its_thread_logs_next(
    embedded_kafka: EmbeddedKafka,
) -> None:
    """It is put off until that call is over, and no longer."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["before"]))
        first, then = records(["in the handler", "behind it"])
        client = delivery_of(exporter)._producer._client
        assert client is not None
        with on_signal(lambda: exporter.hand_over(first)), client.used():
            signal.raise_signal(signal.SIGUSR1)
        exporter.hand_over(then)
        assert exporter.force_flush(10_000)
        assert arrived(embedded_kafka) == ["before", "in the handler", "behind it"]


def test_two_threads_shut_down_at_once(embedded_kafka: EmbeddedKafka) -> None:
    """Whoever comes second returns when the first one is done, with everything in its place."""
    with exporting(embedded_kafka, delivery_wait=30) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        for record in records([str(n) for n in range(10)]):
            exporter.hand_over(record)
        first = threading.Thread(target=exporter.shutdown, args=(1000,))
        first.start()
        until(lambda: delivery_of(exporter)._state.closed)
        exporter.shutdown(10_000)
        assert exporter.stats()[:5] == (11, 1, 10, 0, 0)
        first.join()
        exporter.hand_over(audit_records(["too late"])[0])
        assert exporter.stats().dropped == {"shutdown": 1}
        embedded_kafka.up()


def test_a_warning_waits_for_no_lock_of_the_applications(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler for our log lines may take a lock that another thread holds while it logs: neither waits for ever."""
    lock = threading.Lock()
    seen = threading.Event()

    class Locking(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            with lock:
                seen.set()

    unusable = tmp_path / "file"
    unusable.write_text("no directory")
    monkeypatch.setattr("otel_kafka_exporter.process.log_lines.QUIET_SECONDS", 0)
    handler = Locking()
    log.addHandler(handler)
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox_dir=str(unusable), delivery_wait=0.1)
    try:
        exporter.export(records(["away from here on"]))
        done = threading.Event()

        def application() -> None:
            for record in records([str(n) for n in range(300)]):
                with lock:
                    exporter.hand_over(record)
            done.set()

        threads = [threading.Thread(target=application, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert seen.wait(10)
    finally:
        log.removeHandler(handler)
        exporter.shutdown(100)


@pytest.mark.parametrize("kind", ["sys.exit()", "sys.exit(3)", "Ctrl-C"])
def test_what_a_handler_raises_within_a_delivery_report_reaches_the_application(
    kind: str, embedded_kafka: EmbeddedKafka
) -> None:
    """A process that was told to end does, though confluent-kafka loses such an exception under some Pythons."""
    handlers: dict[str, Any] = {
        "sys.exit()": lambda *_: sys.exit(),
        "sys.exit(3)": lambda *_: sys.exit(3),
        "Ctrl-C": signal.default_int_handler,
    }
    with exporting(embedded_kafka, producer_config={"linger.ms": 300}) as exporter:
        exporter.export(records(["before"]))
        producer = delivery_of(exporter)._producer
        number = producer.client_number
        delivery_of(exporter)._background.stop(5)  # it would serve the report
        before = signal.signal(signal.SIGUSR1, handlers[kind])
        try:
            producer.produce(
                exporter._builder.build(records(["it"])[0]), lambda *_: signal.raise_signal(signal.SIGUSR1)
            )
            with pytest.raises(KeyboardInterrupt if kind == "Ctrl-C" else SystemExit):
                producer.flush(10)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert producer.client_number == number


@pytest.mark.parametrize("kind", [KeyboardInterrupt, TimeLimit])
def test_what_a_handler_raises_again_and_again_holds_nothing_up(
    kind: type[BaseException], embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reaches the application each time, wherever it strikes; no record is lost unseen, nor waits for ever."""
    raised = caught = 0
    swallowed: list[object] = []  # by Python itself, within a finalizer or a weak reference's callback

    def strike(_number: int, _frame: FrameType | None) -> None:
        nonlocal raised
        raised += 1
        raise kind

    monkeypatch.setattr(sys, "unraisablehook", lambda found: swallowed.append(found.err_msg))
    batch = records(["it"] * 5)
    with exporting(embedded_kafka, delivery_wait=1) as exporter:
        exporter.export(records(["warm"]))
        before = signal.signal(signal.SIGALRM, strike)

        def export_until_struck(times: int) -> None:
            nonlocal caught
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.006))
                while raised == times:
                    exporter.export(batch)
            except kind:
                caught += 1

        try:
            deadline = time.monotonic() + 20
            while raised < 300 and time.monotonic() < deadline:
                export_until_struck(raised)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert raised >= 100
        # confluent-kafka takes one that comes while it reads a header for an error in that header.
        assert caught + len(swallowed) > 0.95 * raised
        until(lambda: not exporter.stats().in_flight + exporter.stats().spooled, 30)
        until(lambda: not delivery_of(exporter)._state.lanes["application"].partitions)
        stats = exporter.stats()
        assert stats.accepted == stats.delivered + stats.dropped["interrupted"]
        assert set(stats.dropped) == {"interrupted"}


def test_a_shutdown_that_is_interrupted_keeps_what_it_has(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """After Ctrl-C wherever it strikes, and the shutdown at the process's exit, all is in the outbox."""
    number, interrupted = 1, True
    while interrupted:
        exporter = KafkaLogExporter(
            bootstrap_servers=embedded_kafka.bootstrap_servers,
            outbox_dir=tmp_path / str(number),
            delivery_wait=30,
            shutdown_timeout=0.05,
        )
        exporter.export(records(["before"]))
        embedded_kafka.down()
        for record in records(["a", "b", "c"]):
            exporter.hand_over(record)
        interrupted = interrupt_at_signal_point(number, exporter.shutdown)
        exporter.shutdown()
        assert exporter.stats()[:5] == (4, 1, 3, 0, 0)
        embedded_kafka.up()
        number += 7 if number < 60 else 41
    assert number > 100
