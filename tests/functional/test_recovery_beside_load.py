"""What comes back from brokers while others log, while the local queue is full, and while something else is wrong."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs import ReadableLogRecord

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.delivery.lane import Lane
from otel_kafka_exporter.kafka.client import purge
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.interrupting import interrupt_at_signal_point
from tests.waiting import until

from .pipelines import TOPIC, arrived, audit_records, delivery_of, exporting, records, settled

AUDIT_TOPIC = "omninode.logging.audit.v1"


def lane_of(exporter: KafkaLogExporter, category: str = "application") -> Lane:
    lanes = delivery_of(exporter)._state.lanes
    return next(lane for name, lane in lanes.items() if name == category)


def warmed(exporter: KafkaLogExporter) -> None:
    """Both topics are known, with their partitions."""
    exporter.export([*records(["warm"]), *audit_records(["warm"])])
    until(lambda: lane_of(exporter).count and lane_of(exporter, "audit").count)


@contextmanager
def partitioned(brokers: int) -> Iterator[EmbeddedKafka]:
    """A cluster whose brokers have a partition each of the topic of application records; broker n has partition n-1."""
    with EmbeddedKafka(brokers=brokers) as kafka:
        kafka.create_topic(TOPIC, brokers)
        for number in range(brokers):
            kafka._running().command("partition_set_leader", TOPIC.encode(), number, number + 1)
        yield kafka


def hang(kafka: EmbeddedKafka, broker: int) -> None:
    kafka._running().command("broker_set_rtt", broker, 60_000)


def go_on(kafka: EmbeddedKafka, broker: int) -> None:
    kafka._running().command("broker_set_rtt", broker, 0)


def test_a_blocked_topic_is_tried_again_after_a_trial_for_which_there_was_no_room(
    embedded_kafka: EmbeddedKafka,
) -> None:
    """The local queue is full of another topic's records when it is tried; later it is tried again, and opens."""
    settings = {"queue_max_records": 20, "delivery_wait": 5, "full_queue_wait": 0.01}
    with exporting(embedded_kafka, **settings) as exporter:
        warmed(exporter)
        embedded_kafka.fail_next(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        exporter.hand_over(audit_records(["the event"])[0])
        until(lambda: lane_of(exporter, "audit").blocked)
        embedded_kafka.slow(1500)
        for record in records([f"fills {n}" for n in range(20)]):
            exporter.hand_over(record)
        first = lane_of(exporter, "audit").probe_at
        until(lambda: lane_of(exporter, "audit").probe_at > first)  # it was tried, in vain
        embedded_kafka.slow(0)
        until(lambda: settled(exporter))
        assert not exporter.stats().dropped
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ["warm", "the event"]


def test_what_is_sent_again_into_a_full_queue_is_sent_once(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused events that had waited in the outbox find no room for another try: they stay at hand, counted once."""
    settings = {"queue_max_records": 20, "delivery_wait": 1, "full_queue_wait": 0.01}
    with exporting(embedded_kafka, **settings, producer_config={"linger.ms": 50}) as exporter:
        warmed(exporter)
        embedded_kafka.down()
        exporter.export(audit_records(["waits 0", "waits 1"]))
        assert exporter.stats().spooled == 2
        halve, filled = delivery_of(exporter)._recovery._halve, threading.Event()
        filling = records([f"fills {n}" for n in range(25)])  # here: what our own thread logs is no record

        def full_by_then(*arguments: Any) -> None:
            if not filled.is_set():  # what other threads log at this very moment
                filled.set()
                embedded_kafka.slow(1000)
                for record in filling:
                    exporter.hand_over(record)
            halve(*arguments)

        monkeypatch.setattr(delivery_of(exporter)._recovery, "_halve", full_by_then)
        embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE, 10)
        embedded_kafka.up()
        assert filled.wait(20)
        embedded_kafka.fail_next(KafkaError.NO_ERROR)  # in the place of those that are left
        embedded_kafka.slow(0)
        until(lambda: settled(exporter), 30)
        stats = exporter.stats()
        assert stats.accepted == stats.delivered + stats.dead_lettered == 29
        assert not any(lane_of(exporter, "audit").backlog._counts)
        assert max(Counter(arrived(embedded_kafka, AUDIT_TOPIC)).values()) == 1


def test_a_partition_is_held_back_until_what_was_sent_again_is_reported_on(embedded_kafka: EmbeddedKafka) -> None:
    """A record that goes alone travels with no other one, which might be refused and take it along."""
    with exporting(embedded_kafka, delivery_wait=5, producer_config={"linger.ms": 100}) as exporter:
        warmed(exporter)
        opened: list[int] = []
        state = delivery_of(exporter)._state
        open_ = state.open

        def noting(lane: Lane, number: int) -> None:
            opened.append(lane.partitions[number].open)
            open_(lane, number)

        state.open = noting  # type: ignore[method-assign]
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD)
        exporter.export(records(["one", "two"]))
        until(lambda: opened)
        assert opened == [0]
        assert arrived(embedded_kafka) == ["warm", "one", "two"]


@pytest.mark.parametrize("key", ["none", "service_name"])
def test_what_came_back_is_decided_over_while_the_application_logs_on(key: str, embedded_kafka: EmbeddedKafka) -> None:
    """A topic of one partition, and new records without a pause: those with and those without a key wait behind it."""
    embedded_kafka.create_topic(TOPIC, 1)
    stop = threading.Event()
    with exporting(embedded_kafka, delivery_wait=1, application_key=key) as exporter:
        exporter.export(records(["warm"]))
        until(lambda: lane_of(exporter).count)
        [record] = records(["more"])

        def load() -> None:
            while not stop.wait(0.002):
                exporter.hand_over(record)

        embedded_kafka.slow(30)
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD)
        thread = threading.Thread(target=load)
        thread.start()
        try:
            until(lambda: lane_of(exporter).partitions)
            until(lambda: not any(each.failed for each in lane_of(exporter).partitions.values()))
        finally:
            stop.set()
            thread.join()
        embedded_kafka.slow(0)
        until(lambda: settled(exporter))
        assert exporter.stats().dropped == {}


def test_a_silent_partition_is_used_again_by_records_without_a_key() -> None:
    """Without an outbox one of them now and then tells whether it is back; then it takes its share again."""
    with (
        partitioned(2) as kafka,
        exporting(kafka, delivery_wait=0.3, outbox=False, application_key="none") as exporter,
    ):
        exporter.export(records(["warm"]))
        until(lambda: lane_of(exporter).count)
        hang(kafka, 1)
        [record] = records(["more"])

        def logging_until(condition: Callable[[], object]) -> None:
            def log_and_look() -> object:
                exporter.hand_over(record)
                return condition()

            until(log_and_look, 30)

        logging_until(lambda: lane_of(exporter).partitions and exporter.stats().dropped)
        go_on(kafka, 1)
        logging_until(lambda: not lane_of(exporter).partitions)
        exporter.force_flush(10_000)
        before = Counter(message.partition() for message in kafka.messages(TOPIC))
        for _ in range(1_000):
            exporter.hand_over(record)
        assert exporter.force_flush(10_000)
        after = Counter(message.partition() for message in kafka.messages(TOPIC))
        assert {number for number in after if after[number] > before[number]} == {0, 1}


def test_brokers_that_answer_are_not_held_up_when_the_cluster_was_away_for_one_report() -> None:
    """After a partial outage a report says the cluster is unwilling, and then one broker hangs: the others flow."""
    with partitioned(3) as kafka:
        by_key = {"application_key": "correlation_id"}
        with exporting(kafka, delivery_wait=0.5, **by_key) as exporter:
            exporter.export(records(["warm"]))
            until(lambda: lane_of(exporter).count)
            keyed = one_record_for_each(exporter, 3)
            hung, healthy = 1, (1, 2)
            hang(kafka, hung)
            exporter.hand_over(keyed[0])
            until(lambda: lane_of(exporter).partitions or delivery_of(exporter)._state.away)
            for number in healthy:
                exporter.hand_over(keyed[number])
            go_on(kafka, hung)
            until(lambda: settled(exporter))
            kafka.fail_next(KafkaError.CLUSTER_AUTHORIZATION_FAILED)
            exporter.hand_over(keyed[0])
            until(lambda: delivery_of(exporter)._state.away)
            hang(kafka, hung)
            before = exporter.stats().delivered
            for number in healthy:
                exporter.hand_over(keyed[number])
            until(lambda: exporter.stats().delivered >= before + len(healthy))
            go_on(kafka, hung)
            until(lambda: settled(exporter), 30)


def one_record_for_each(exporter: KafkaLogExporter, partitions: int) -> dict[int, ReadableLogRecord]:
    """A record whose key goes to it, for each partition."""
    found: dict[int, ReadableLogRecord] = {}
    for n in range(1_000):
        [record] = records([f"key {n}"], **{"omni.correlation_id": f"c{n}"})
        number = lane_of(exporter).partition_of(f"c{n}".encode())
        found.setdefault(number, record)
        if len(found) == partitions:
            break
    return found


def test_what_came_back_is_kept_beside_a_late_record_of_its_partition(embedded_kafka: EmbeddedKafka) -> None:
    """A record that is refused for now does not wait in memory for one that librdkafka tries for minutes."""
    embedded_kafka.create_topic(TOPIC, 1)
    with exporting(embedded_kafka, delivery_wait=0.5, producer_config={"linger.ms": 0}) as exporter:
        exporter.export(records(["warm"]))
        embedded_kafka.slow(300)
        embedded_kafka.fail_next(KafkaError.THROTTLING_QUOTA_EXCEEDED)
        exporter.hand_over(records(["refused for now"])[0])
        embedded_kafka.fail_next(KafkaError.NOT_ENOUGH_REPLICAS, 100_000)
        exporter.hand_over(records(["late"])[0])
        until(lambda: exporter.stats().spooled == 2)
        assert exporter.force_flush(5_000)


def test_a_blocked_topic_is_tried_while_its_first_trial_hangs() -> None:
    """The oldest record goes to a broker that hangs: when it is late, that of another broker is tried, and all flow."""
    with partitioned(2) as kafka, exporting(kafka, delivery_wait=0.5, application_key="correlation_id") as exporter:
        exporter.export(records(["warm"]))
        until(lambda: lane_of(exporter).count)
        keyed = one_record_for_each(exporter, 2)
        lane_of(exporter).block("not_authorized")  # before the way to tell librdkafka so, which would remember it
        hang(kafka, 1)
        for number in (0, 1):
            exporter.hand_over(keyed[number])
        until(lambda: exporter.stats().delivered == 2 and not lane_of(exporter).blocked)
        go_on(kafka, 1)
        until(lambda: settled(exporter), 30)


def test_reports_of_a_client_that_was_given_up_are_not_taken_for_its_successors(embedded_kafka: EmbeddedKafka) -> None:
    """Without an outbox its records go to the next client; that it purged them says nothing of the next one."""
    with exporting(embedded_kafka, outbox=False, delivery_wait=5) as exporter:
        exporter.export(records(["warm"]))
        embedded_kafka.slow(300)
        for record in records([f"record {n}" for n in range(1_000)]):
            exporter.hand_over(record)
        producer = delivery_of(exporter)._producer
        first = producer.client_number
        producer.renew(first)
        embedded_kafka.slow(0)
        assert exporter.force_flush(20_000)
        assert producer.client_number == first + 1
        assert exporter.stats()[:2] == (1_001, 1_001)
        assert len(set(arrived(embedded_kafka))) == 1_001


def test_late_records_whose_rows_gave_way_are_in_flight(embedded_kafka: EmbeddedKafka) -> None:
    """What counts as spooled is on the disk: not what was late, and was evicted from a full outbox."""
    with exporting(embedded_kafka, delivery_wait=0.5, outbox_max_bytes=1 << 20) as exporter:
        exporter.export(records(["warm"]))
        embedded_kafka.down()
        for record in records([f"{n} " + 1_000 * "x" for n in range(3_000)]):
            exporter.hand_over(record)
        until(lambda: exporter.stats().spooled)
        until(lambda: not lane_of(exporter).recent)
        state = delivery_of(exporter)._state
        with state.lock:
            assert state.outbox is not None
            rows = sum(each.waiting + each.sent for queue in state.outbox._queues.values() for each in queue.segments)
            assert exporter.stats().spooled == rows < 3_000
        assert not exporter.force_flush(100)
        embedded_kafka.up()
        until(lambda: settled(exporter), 30)
        stats = exporter.stats()
        assert stats.accepted == stats.delivered + sum(stats.dropped.values())


def test_what_is_logged_by_a_signal_handler_at_the_end_of_a_shutdown_is_accounted(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the lock under which the outbox is closed it is dropped, and counted as such; before, it is kept."""
    [event] = audit_records(["from the handler"])
    for moment in ("the client is closed", "the outbox is closed"):
        exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
        exporter.export(audit_records(["before"]))
        delivery = delivery_of(exporter)
        before = signal.signal(signal.SIGUSR1, lambda *_: exporter.hand_over(event))  # noqa: B023
        try:
            if moment == "the client is closed":
                taken_back: list[bool] = []

                def interrupted_purge(producer: Any) -> None:
                    purge(producer)
                    if threading.current_thread() is threading.main_thread() and not taken_back:  # noqa: B023
                        taken_back.append(True)  # noqa: B023
                        signal.raise_signal(signal.SIGUSR1)

                monkeypatch.setattr("otel_kafka_exporter.kafka.client.purge", interrupted_purge)
                exporter.shutdown()
                assert exporter.stats()[:5] == (2, 1, 1, 0, 0)
            else:
                assert delivery._state.outbox is not None
                close = delivery._state.outbox.close

                def interrupted() -> None:
                    signal.raise_signal(signal.SIGUSR1)
                    close()  # noqa: B023

                delivery._state.outbox.close = interrupted  # type: ignore[method-assign]
                exporter.shutdown()
                assert exporter.stats().dropped == {"shutdown": 1}
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert exporter.stats().in_flight == 0


@pytest.mark.parametrize("way", ["a log call takes along what waits", "a flush drains"])
def test_ctrl_c_while_waiting_records_are_sent_loses_none(way: str, embedded_kafka: EmbeddedKafka) -> None:
    """At each moment at which Python looks for signals: what waited is delivered, once, and the counts are right."""
    with exporting(embedded_kafka, delivery_wait=0.5) as exporter:
        exporter.export(records(["warm"]))
        until(lambda: lane_of(exporter).count)
        delivery = delivery_of(exporter)
        state, background = delivery._state, delivery._background
        number, is_hit = 0, True
        points: list[int] = []
        while is_hit:
            number += 1 if number < 20 else 41  # each of the first ones, then a part of them
            points.append(number)
            # What this thread does it does alone, and something waits, as after an outage.
            background.stop(5)
            state.away = "delivery_timeout"
            waiting = records([f"{number} waits {n}" for n in range(3)])
            for record in waiting:
                exporter.hand_over(record)
            state.away = ""
            lane_of(exporter).cursor = None
            if way == "a flush drains":
                is_hit = interrupt_at_signal_point(number, delivery._recovery.step)
            else:
                [new] = records([f"{number} is new"])
                is_hit = interrupt_at_signal_point(number, lambda: exporter.hand_over(new))  # noqa: B023
            background._stopped, background._thread, background._start_at = False, None, 0.0
            background.notice()
            until(lambda: settled(exporter))
            stats = exporter.stats()
            assert stats.accepted == stats.delivered + sum(stats.dropped.values()), number
            assert set(stats.dropped) <= {"interrupted"}
        assert number > 30
        texts = set(arrived(embedded_kafka))
        assert {f"{each} waits {n}" for each in points for n in range(3)} <= texts
