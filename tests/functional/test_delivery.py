"""What becomes of records without an outbox when something goes wrong, seen from the consumer's side."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.delivery.delivery import Delivery
from otel_kafka_exporter.kafka.producer import KafkaProducer
from otel_kafka_exporter.process import telemetry
from otel_kafka_exporter.process.telemetry import Metrics
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import exit_code, until

from .pipelines import TOPIC, arrived, records
from .pipelines import exporting as exporting_with

exporting = partial(exporting_with, outbox=False)

SUCCESS, FAILURE = LogRecordExportResult.SUCCESS, LogRecordExportResult.FAILURE
INIT_PRODUCER_ID = 22  # Kafka's number of that request


def test_what_is_delivered_is_there_in_order_when_export_returns(embedded_kafka: EmbeddedKafka) -> None:
    """SUCCESS means that each record is in the topic, in the order of hand-over, and counted as delivered."""
    bodies = [f"message {n}" for n in range(600)]
    with exporting(embedded_kafka) as exporter:
        assert exporter.export(records(bodies)) is SUCCESS
        assert arrived(embedded_kafka) == bodies
        assert exporter.stats()[:5] == (600, 600, 0, 0, 0)


def test_nothing_is_started_or_waited_for_at_construction() -> None:
    """An exporter whose broker does not exist is made at once, starts no thread, and ends at once."""
    threads = threading.active_count()
    started = time.monotonic()
    exporter = KafkaLogExporter(bootstrap_servers="192.0.2.1:9092")
    exporter.shutdown()
    assert time.monotonic() - started < 1
    assert threading.active_count() == threads


# The three channels of failure


def test_what_produce_refuses_costs_only_itself(embedded_kafka: EmbeddedKafka) -> None:
    """A record that librdkafka refuses at once is dropped with its reason; its neighbours arrive."""
    # The settings do not allow such a limit, because a record that is too large for it could have been cut.
    servers = embedded_kafka.bootstrap_servers
    delivery = Delivery(KafkaProducer({"bootstrap.servers": servers, "message.max.bytes": 2000}), Metrics(servers))
    with exporting(embedded_kafka) as exporter:
        assert delivery.deliver(records(["small", "large" * 1000, "smaller"]), exporter._builder) is False
    assert arrived(embedded_kafka) == ["small", "smaller"]
    assert delivery.stats().dropped == {"record_too_large": 1}
    delivery.close(1)


def test_a_full_local_queue_is_waited_for(embedded_kafka: EmbeddedKafka) -> None:
    """More records than the local queue holds all arrive: the exporter waits for room."""
    bodies = [f"message {n}" for n in range(50)]
    with exporting(embedded_kafka, queue_max_records=3) as exporter:
        assert exporter.export(records(bodies)) is SUCCESS
        assert arrived(embedded_kafka) == bodies


def test_a_queue_that_stays_full_drops_with_its_reason(embedded_kafka: EmbeddedKafka) -> None:
    """When no room comes within `delivery_wait`, what found none is dropped as `queue_full`, the rest by its own."""
    with exporting(embedded_kafka, queue_max_records=2, delivery_wait=0.5) as exporter:
        assert exporter.export(records(["first"])) is SUCCESS
        embedded_kafka.down()
        assert exporter.export(records(["a", "b", "c", "d"])) is FAILURE
        dropped = exporter.stats().dropped
        assert sum(dropped.values()) == 4
        assert set(dropped) <= {"queue_full", "delivery_timeout", "broker_unavailable"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "not_authorized"),
        (KafkaError.INVALID_RECORD, "invalid_record"),
        (KafkaError.POLICY_VIOLATION, "broker_configuration"),
    ],
)
def test_what_a_delivery_report_refuses_is_dropped_with_its_reason(
    code: int, reason: str, embedded_kafka: EmbeddedKafka
) -> None:
    """A broker's refusal arrives in the delivery report, and its reason in the accounting; the next record flows."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(code, 2)  # in company, and alone
        assert exporter.export(records(["refused"])) is FAILURE
        # A topic that was refused stays so for librdkafka until it asks the cluster anew.
        until(lambda: exporter.export(records(["next"])) is SUCCESS)
        assert arrived(embedded_kafka) == ["first", "next"]
        assert set(exporter.stats().dropped) == {reason}


# What is tried once more


def test_a_batch_refused_for_its_size_goes_again_record_by_record(embedded_kafka: EmbeddedKafka) -> None:
    """A broker refuses a whole batch for its size; each record then goes alone, and none is lost."""
    bodies = [f"message {n}" for n in range(20)]
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
        assert exporter.export(records(bodies)) is SUCCESS
        assert arrived(embedded_kafka) == ["first", *bodies]


def test_a_refused_timestamp_goes_again_without(embedded_kafka: EmbeddedKafka) -> None:
    """A record whose time the broker does not take is sent once more with the time of sending; its own time stays."""
    [record] = records(["from the past"])
    record.log_record.timestamp = 1_000_000_000_000_000_000
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.INVALID_TIMESTAMP, 2)  # in company, and alone
        assert exporter.export([record]) is SUCCESS
        message = embedded_kafka.messages(TOPIC)[-1]
        assert message.timestamp()[1] > 1_700_000_000_000
        assert b'"timestamp":"2001-09-09T01:46:40.000000Z"' in (message.value() or b"")


def test_a_record_that_is_always_refused_for_its_size_is_given_up(embedded_kafka: EmbeddedKafka) -> None:
    """Alone as in company too large: dropped, after a bounded number of tries."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE, 10)
        assert exporter.export(records(["too large"])) is FAILURE
        assert exporter.stats().dropped == {"record_too_large": 1}


def test_a_fatal_error_of_the_producer_costs_no_record(embedded_kafka: EmbeddedKafka) -> None:
    """An idempotent producer that may not be one any more is replaced, and what it had is sent by the new one."""
    with exporting(embedded_kafka, delivery_wait=5) as exporter:
        refusals = (ctypes.c_int * 1)(KafkaError.CLUSTER_AUTHORIZATION_FAILED)
        embedded_kafka._running().command("push_request_errors_array", INIT_PRODUCER_ID, 1, refusals)
        bodies = ["one", "two", "three"]
        assert exporter.export(records(bodies)) is SUCCESS
        assert arrived(embedded_kafka) == bodies


# Outages


def test_an_outage_is_waited_for_once(embedded_kafka: EmbeddedKafka) -> None:
    """The first batch of an outage waits `delivery_wait`, the next ones only ask; when it is over, records flow."""
    with exporting(embedded_kafka, delivery_wait=1) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        started = time.monotonic()
        assert exporter.export(records(["lost 1"])) is FAILURE
        first = time.monotonic() - started
        assert exporter.export(records(["lost 2"])) is FAILURE
        second = time.monotonic() - started - first
        assert first >= 1
        assert second < first
        embedded_kafka.up()
        until(lambda: exporter.export(records(["after"])) is SUCCESS)
        assert arrived(embedded_kafka)[0] == "before"
        assert arrived(embedded_kafka)[-1] == "after"
        stats = exporter.stats()
        assert stats.dropped["delivery_timeout"] >= 1
        assert stats.accepted == stats.delivered + sum(stats.dropped.values())


def test_a_broker_that_was_never_there_costs_its_records_only(capfd: pytest.CaptureFixture[str]) -> None:
    """Records for a cluster that does not answer are dropped with the cause, in one line, and the call returns."""
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:1", delivery_wait=0.5, outbox=False)
    for _ in range(3):
        assert exporter.export(records(["lost"] * 10)) is FAILURE
    exporter.shutdown()
    assert sum(exporter.stats().dropped.values()) == 30
    lines = [line for line in capfd.readouterr().err.splitlines() if "log records dropped" in line]
    assert len(lines) <= 1  # once a minute and reason, whatever ran before this test


def test_shutdown_keeps_its_time_with_the_broker_away(embedded_kafka: EmbeddedKafka) -> None:
    """Within its budget, twice, and what comes afterwards is dropped as `shutdown`."""
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, delivery_wait=30, outbox=False)
    exporter.export(records(["before"]))
    embedded_kafka.down()
    with ThreadPoolExecutor(1) as pool:
        export = pool.submit(exporter.export, records(["on its way"]))
        until(lambda: exporter.stats().in_flight == 1)
        started = time.monotonic()
        exporter.shutdown(timeout_millis=300)
        exporter.shutdown(timeout_millis=300)
        assert time.monotonic() - started < 2
        assert export.result(timeout=5) is FAILURE
    assert exporter.export(records(["late"])) is FAILURE
    stats = exporter.stats()
    assert stats.dropped == {"shutdown": 2}
    assert (stats.accepted, stats.delivered, stats.in_flight) == (3, 1, 0)


def test_what_a_shutdown_still_delivers_is_counted_as_delivered(embedded_kafka: EmbeddedKafka) -> None:
    """Records on their way at a shutdown that arrive within its time are delivered, for the accounting too."""
    with exporting(embedded_kafka, delivery_wait=5) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.fail_next(KafkaError.REQUEST_TIMED_OUT, 3)  # librdkafka tries again, which takes a while
        with ThreadPoolExecutor(1) as pool:
            export = pool.submit(exporter.export, records(["one", "two"]))
            until(lambda: exporter.stats().in_flight == 2)
            exporter.shutdown()
            result = export.result(timeout=5)
        stats = exporter.stats()
        assert len(arrived(embedded_kafka)) == stats.delivered == 3
        assert (result, stats.dropped) == (SUCCESS, {})


def test_a_client_that_cannot_be_made_any_more_is_named_as_the_cause(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A certificate that is gone at the first record costs the records, and the warning says why."""
    certificate = tmp_path / "ca.pem"
    certificate.write_bytes(trustme.CA().cert_pem.bytes())
    config = {"security.protocol": "SSL", "ssl.ca.location": str(certificate)}
    exporter = KafkaLogExporter(
        bootstrap_servers="127.0.0.1:1", producer_config=config, delivery_wait=0.5, outbox=False
    )
    certificate.unlink()
    telemetry._once_per_minute._seen.clear()
    assert exporter.export(records(["lost"])) is FAILURE
    assert exporter.stats().dropped == {"broker_unavailable": 1}
    assert "ssl.ca.location failed" in capfd.readouterr().err


def test_secrets_are_not_in_what_librdkafka_says(capfd: pytest.CaptureFixture[str]) -> None:
    """librdkafka's own words about a wrong token come without the configured value."""
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": "topsecret",
    }
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:1", producer_config=properties, delivery_wait=0.5)
    telemetry._once_per_minute._seen.clear()
    exporter.export(records(["lost"]))
    exporter.shutdown()
    said = capfd.readouterr().err
    assert "OAUTHBEARER" in said
    assert "topsecret" not in said


# Threads, forks, interrupts


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


# Accounting


def test_a_record_that_cannot_be_converted_costs_only_itself(embedded_kafka: EmbeddedKafka) -> None:
    """A conversion error is dropped with the field's name; the records around it arrive."""
    [bad] = records(["bad"], **{"omni.category": "audit"})
    with exporting(embedded_kafka) as exporter:
        assert exporter.export([*records(["one"]), bad, *records(["two"])]) is FAILURE
        assert arrived(embedded_kafka) == ["one", "two"]
        assert exporter.stats().dropped == {"conversion:omni.audit.action": 1}


def test_the_exporters_own_log_lines_are_not_exported(embedded_kafka: EmbeddedKafka) -> None:
    """Even when the application routes our logger into OpenTelemetry, its lines do not come back for ever."""
    with exporting(embedded_kafka) as exporter:
        assert exporter.export(records(["own"], scope="otel_kafka_exporter")) is FAILURE
        assert exporter.stats().dropped == {"own_log_line": 1}


def test_force_flush_tells_the_truth(embedded_kafka: EmbeddedKafka) -> None:
    """True when nothing is in flight, False when something still is at the end of its time."""
    with exporting(embedded_kafka, delivery_wait=1) as exporter:
        exporter.export(records(["before"]))
        assert exporter.force_flush() is True
        embedded_kafka.down()
        with ThreadPoolExecutor(1) as pool:
            export = pool.submit(exporter.export, records(["on its way"]))
            until(lambda: exporter.stats().in_flight == 1)
            assert exporter.force_flush(timeout_millis=50) is False
            assert exporter.force_flush(timeout_millis=5000) is True
            assert export.result(timeout=1) is FAILURE


def test_truncated_values_are_counted(embedded_kafka: EmbeddedKafka) -> None:
    """What was cut arrives cut, and says so in the accounting."""
    with exporting(embedded_kafka) as exporter:
        assert exporter.export(records(["x"], blob="y" * 100_000)) is SUCCESS
        assert exporter.stats().truncated == 1


def test_metrics_follow_the_conventions(embedded_kafka: EmbeddedKafka) -> None:
    """Exported records, those in flight and the duration are metrics, with the reason of each loss as error.type."""
    reader = InMemoryMetricReader()
    metrics = Metrics(embedded_kafka.bootstrap_servers, MeterProvider([reader]))
    producer = KafkaProducer({"bootstrap.servers": embedded_kafka.bootstrap_servers})
    delivery = Delivery(producer, metrics)
    with exporting(embedded_kafka) as exporter:
        [bad] = records(["bad"], **{"omni.category": "nonsense"})
        delivery.deliver([*records(["one", "two"]), bad], exporter._builder)
    delivery.close(1)
    found = _points(reader)
    assert found[("otel.sdk.exporter.log.exported", None)] == 2
    assert found[("otel.sdk.exporter.log.exported", "conversion:omni.category")] == 1
    assert found[("otel.sdk.exporter.log.inflight", None)] == 0
    assert found[("otel.sdk.exporter.operation.duration", None)] == 1


def _points(reader: InMemoryMetricReader) -> dict[tuple[str, Any], Any]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, (point.attributes or {}).get("error.type")): getattr(
            point, "value", getattr(point, "count", None)
        )
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
