"""What becomes of records that were refused, adopted, damaged, or lost: the way back to Kafka, and what is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter.process import log_lines
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, delivery_of, exporting, records, settled

SUCCESS, FAILURE = LogRecordExportResult.SUCCESS, LogRecordExportResult.FAILURE


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the exporter says, from the first of each kind on."""
    log_lines.log.addHandler(caplog.handler)
    yield caplog
    log_lines.log.removeHandler(caplog.handler)


def test_what_is_adopted_after_the_outbox_was_drained_is_delivered_too(embedded_kafka: EmbeddedKafka) -> None:
    """A process that has drained its own outbox goes back to its beginning for what a dead one has left."""
    with exporting(embedded_kafka, delivery_wait=0.3) as living:
        living.export(records(["before"]))
        embedded_kafka.down()
        living.export(records(["its own"]))
        assert living.stats().spooled == 1
        # The other's producer is never answered; it spools, and leaves that.
        with exporting(embedded_kafka, delivery_wait=0.3) as dead:
            dead.export(records([f"left {n}" for n in range(10)]))
        embedded_kafka.up()
        until(lambda: settled(living))
        delivery_of(living)._maintenance.adopt()  # what the background does every 10 s
        until(lambda: living.stats().delivered == 12)
        assert set(arrived(embedded_kafka)) == {"before", "its own", *(f"left {n}" for n in range(10))}


def test_a_busy_key_leaves_the_outbox_while_threads_log_without_a_pause(embedded_kafka: EmbeddedKafka) -> None:
    """After an outage what waits grows less, although new records of the same key come as fast as threads can."""
    stop = threading.Event()
    [record] = records(["busy"])
    with exporting(embedded_kafka, delivery_wait=0.5) as exporter, ThreadPoolExecutor() as pool:
        exporter.export(records(["before"]))

        def load() -> None:
            while not stop.is_set():
                exporter.hand_over(record)

        embedded_kafka.down()
        running = [pool.submit(load) for _ in range(3)]
        try:
            until(lambda: exporter.stats().spooled > 20_000, 60)
            embedded_kafka.up()
            until(lambda: exporter.stats().spooled < 2_000, 60, "the end of the outbox")
        finally:
            stop.set()
        for each in running:
            each.result()
        until(lambda: settled(exporter), 30)
        stats = exporter.stats()
        assert (stats.delivered, stats.dropped) == (stats.accepted, {})


def test_a_refused_record_costs_its_company_few_round_trips(embedded_kafka: EmbeddedKafka) -> None:
    """Of 1,000 records that are refused together, the one at fault is found by halving, and none is lost."""
    bodies = [f"{n}" for n in range(1_000)]
    with exporting(embedded_kafka, producer_config={"linger.ms": 20, "batch.num.messages": 10_000}) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE, 3)
        assert exporter.export(records(bodies)) is SUCCESS
        until(lambda: settled(exporter))  # what was handed over while it was not clear waits in the outbox
        assert sorted(arrived(embedded_kafka)) == sorted(["before", *bodies])
        assert exporter.stats()[:5] == (1_001, 1_001, 0, 0, 0)


def test_refusals_are_sorted_out_without_an_outbox_too(embedded_kafka: EmbeddedKafka) -> None:
    """A cluster that answers is not away: an export waits beyond `delivery_wait` until it is clear who is at fault."""
    bodies = [f"{n}" for n in range(200)]
    with exporting(embedded_kafka, outbox=False, delivery_wait=0.5) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.slow(150)
        embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE, 5)
        assert exporter.export(records(bodies)) is SUCCESS
        assert sorted(arrived(embedded_kafka)) == sorted(["before", *bodies])
        assert exporter.stats()[:5] == (201, 201, 0, 0, 0)


def test_a_damaged_record_holds_its_key_back_no_longer_than_its_neighbours(embedded_kafka: EmbeddedKafka) -> None:
    """It is dropped with its reason; newer records of its key go straight to Kafka again."""
    with exporting(embedded_kafka, delivery_wait=0.3) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        exporter.export(records(["late"]))  # librdkafka keeps that one
        exporter.export(records([f"{n}" for n in range(5)]))
        state = delivery_of(exporter)._state
        lane = state.lanes["application"]
        with state.lock:
            assert state.outbox is not None
            place = state.outbox.next_waiting(lane.stream)
            assert place is not None
            place.segment._memory[place.offset + 60] ^= 0b100  # a bit flips
        embedded_kafka.up()
        until(lambda: settled(exporter))
        assert arrived(embedded_kafka) == ["before", "late", "1", "2", "3", "4"]
        assert exporter.stats().dropped == {"outbox_damaged": 1}
        assert not lane.diverts(b"shop")


def test_drops_are_warned_of_without_an_export(embedded_kafka: EmbeddedKafka, lines: pytest.LogCaptureFixture) -> None:
    """What the direct processor loses is said, with its number and reason, though nobody waits for an export."""
    with exporting(embedded_kafka, delivery_wait=0.2, outbox=False) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        for record in records([f"{n}" for n in range(5)]):
            exporter.hand_over(record)
        until(lambda: "log records dropped: 5" in lines.text)
        embedded_kafka.up()


def test_the_return_of_a_cluster_is_said(embedded_kafka: EmbeddedKafka, lines: pytest.LogCaptureFixture) -> None:
    """An outage has a line at its beginning, which says where records are, and one at its end."""
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        exporter.export(records(["held up"]))
        until(lambda: "connection_refused; they wait in the outbox" in lines.text)
        embedded_kafka.up()
        until(lambda: "takes records again" in lines.text)


def test_a_fault_of_ours_costs_its_own_record_and_is_counted(embedded_kafka: EmbeddedKafka) -> None:
    """What raises where nobody foresaw it is dropped as `exporter_fault`; the records beside it are delivered."""

    class Builder:
        """As the real one, but for one record."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def build(self, source: Any) -> Any:
            if source is hostile:
                raise RuntimeError("hostile")
            return self._real.build(source)

        def letter(self, source: Any) -> Any:
            return self._real.letter(source)

    first, hostile, last = records(["first", "hostile", "last"])
    with exporting(embedded_kafka) as exporter:
        exporter._builder = Builder(exporter._builder)
        assert exporter.export([first, hostile, last]) is FAILURE
        assert arrived(embedded_kafka) == ["first", "last"]
        assert exporter.stats().dropped == {"exporter_fault": 1}
