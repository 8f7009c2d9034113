"""Without an outbox a record is in its topic when export returns, or dropped with its reason, and costs only itself."""

from __future__ import annotations

import ctypes
import sys
import time

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter import KafkaLogExporter, decode
from otel_kafka_exporter.delivery.delivery import Delivery
from otel_kafka_exporter.kafka.producer import KafkaProducer
from otel_kafka_exporter.process.metrics import Metrics
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import TOPIC, arrived, records
from .without_outbox import FAILURE, SUCCESS, exporting

INIT_PRODUCER_ID = 22  # Kafka's number of that request


def test_what_is_delivered_is_there_in_order_when_export_returns(embedded_kafka: EmbeddedKafka) -> None:
    """SUCCESS means that each record is in the topic, in the order of hand-over, and counted as delivered."""
    bodies = [f"message {n}" for n in range(600)]
    with exporting(embedded_kafka) as exporter:
        assert exporter.export(records(bodies)) is SUCCESS
        assert arrived(embedded_kafka) == bodies
        assert exporter.stats()[:5] == (600, 600, 0, 0, 0)


@pytest.mark.parametrize("unit", [10**9, 10**6, 10**3])
def test_a_time_in_another_unit_is_no_reason_to_delete_a_record(embedded_kafka: EmbeddedKafka, unit: int) -> None:
    """A record whose time is in seconds, milliseconds or microseconds has the present as Kafka's time, too."""
    before = time.time_ns()
    (record,) = records(["in milliseconds"])
    record.log_record.timestamp = before // unit
    with exporting(embedded_kafka) as exporter:
        assert exporter.export([record]) is SUCCESS
    (message,) = embedded_kafka.messages(TOPIC)
    assert message.timestamp()[1] >= before // 10**6 - 60_000
    assert decode(message.value()).payload["context"] == {"otel.timestamp": before // unit}


def test_nothing_is_started_or_waited_for_at_construction() -> None:
    """An exporter whose broker does not exist is made at once, starts no thread, and ends at once."""
    threads = len(sys._current_frames())
    started = time.monotonic()
    exporter = KafkaLogExporter(bootstrap_servers="192.0.2.1:9092")
    exporter.shutdown()
    assert time.monotonic() - started < 1
    assert len(sys._current_frames()) == threads


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
        assert set(dropped) <= {"queue_full", "connection_refused"}


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


# What does not get as far as the broker


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
        own = records(["own"], scope="otel_kafka_exporter")
        assert exporter.export(own) is SUCCESS  # there was nothing to deliver
        assert (exporter.stats().accepted, exporter.stats().dropped) == (0, {})
        assert exporter.export([*own, *records(["one"]), *own]) is SUCCESS
        assert (exporter.stats().accepted, exporter.stats().delivered) == (1, 1)
        assert arrived(embedded_kafka) == ["one"]
