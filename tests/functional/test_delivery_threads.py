"""Without an outbox each record arrives once and is counted once, whatever threads, forks and interrupts do."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import exit_code, until

from .pipelines import arrived, records
from .without_outbox import FAILURE, SUCCESS, exporting


def test_many_threads_export_at_once(embedded_kafka: EmbeddedKafka) -> None:
    """The simple processor exports on whichever thread logs; each record arrives once."""
    with exporting(embedded_kafka) as exporter:
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        logger = provider.get_logger("shop")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: logger.emit(body=str(n)), range(200)))
        assert sorted(map(int, arrived(embedded_kafka))) == list(range(200))
        assert exporter.stats()[:5] == (200, 200, 0, 0, 0)


# From Python 3.12 on, a fork beside threads is warned of: that it works all the same is what these tests are for.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@forks
def test_a_forked_child_delivers_on_its_own(embedded_kafka: EmbeddedKafka) -> None:
    """A child that inherits an exporter in use makes its own producer, counts from zero, and ends."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["parent before"]))
        pid = os.fork()
        if pid == 0:
            fine = exporter.export(records(["child"])) is SUCCESS and exporter.stats().accepted == 1
            exporter.shutdown()
            os._exit(0 if fine else 1)
        assert exit_code(pid) == 0
        assert exporter.export(records(["parent after"])) is SUCCESS
        assert sorted(arrived(embedded_kafka)) == ["child", "parent after", "parent before"]


@forks
def test_a_fork_in_the_middle_of_traffic_neither_hangs_nor_repeats(embedded_kafka: EmbeddedKafka) -> None:
    """Children forked while other threads export deliver what they log, and nothing of the parent's."""
    stop = threading.Event()
    with exporting(embedded_kafka) as exporter:

        def traffic(name: str) -> None:
            n = 0
            while not stop.is_set():
                exporter.export(records([f"{name}-{n}"]))
                n += 1

        with ThreadPoolExecutor(3) as pool:
            for name in ("a", "b", "c"):
                pool.submit(traffic, name)
            try:
                until(lambda: exporter.stats().delivered > 20)
                for child in range(5):
                    pid = os.fork()
                    if pid == 0:
                        fine = exporter.export(records([f"child-{child}"])) is SUCCESS
                        os._exit(0 if fine else 1)
                    assert exit_code(pid) == 0
            finally:
                stop.set()
        found = arrived(embedded_kafka)
        assert len(found) == len(set(found)) == exporter.stats().delivered + 5


def test_ctrl_c_during_an_export_reaches_the_application_and_is_accounted(embedded_kafka: EmbeddedKafka) -> None:
    """An interrupt in the thread that exports is the application's; records on their way stay so."""
    with exporting(embedded_kafka, delivery_wait=10, shutdown_timeout=0.1) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        main = threading.main_thread().ident
        assert main is not None
        interrupt = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            exporter.export(records(["on its way"]))
        stats = exporter.stats()
        assert (stats.accepted, stats.in_flight, stats.dropped) == (2, 1, {})
        embedded_kafka.up()
        until(lambda: exporter.stats().in_flight == 0)
        assert len(arrived(embedded_kafka)) == exporter.stats().delivered


def test_a_refusal_that_another_thread_hears_of_is_counted(embedded_kafka: EmbeddedKafka) -> None:
    """Reports of failures arrive in whichever thread waits; none is taken for a delivery."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.fail_next(KafkaError.TOPIC_AUTHORIZATION_FAILED, 1000)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(4) as pool:
                results = list(pool.map(lambda _: exporter.export(records(["refused"] * 2)), range(400)))
        finally:
            sys.setswitchinterval(interval)
        assert set(results) == {FAILURE}
        assert exporter.stats().delivered == len(arrived(embedded_kafka)) == 1
