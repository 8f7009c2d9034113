"""What becomes of records while Kafka does not take them, and afterwards, at the embedded broker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, audit_records, exporting, first_of_each, records, settled
from .test_direct import direct

SUCCESS, FAILURE = LogRecordExportResult.SUCCESS, LogRecordExportResult.FAILURE
AUDIT_TOPIC = "omninode.logging.audit.v1"
ATTRIBUTES = {
    "application": {},
    "audit": {
        "omni.category": "audit",
        "omni.audit.action": "order.delete",
        "omni.audit.actor": "bob",
        "omni.audit.resource": "order/17",
        "omni.audit.outcome": "success",
    },
    "security": {
        "omni.category": "security",
        "omni.security.event_type": "permission_check",
        "omni.security.user_id": "bob",
        "omni.security.resource": "ledger",
        "omni.security.decision": "deny",
    },
}


def grown(count: Callable[[], int], before: int, by: int) -> bool:
    return count() > before + by


def test_what_an_outage_holds_up_arrives_afterwards_in_order(embedded_kafka: EmbeddedKafka) -> None:
    """Records exported during an outage are spooled, at once from the second batch on, and arrive in order."""
    with exporting(embedded_kafka, delivery_wait=0.3) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        for n in range(20):
            assert exporter.export(records([f"{n}-{at}" for at in range(10)])) is SUCCESS
        assert exporter.stats()[:5] == (201, 1, 200, 0, 0)
        embedded_kafka.up()
        until(lambda: settled(exporter))
        assert exporter.export(records(["after"])) is SUCCESS
        assert first_of_each(embedded_kafka) == [
            "before",
            *(f"{n}-{at}" for n in range(20) for at in range(10)),
            "after",
        ]
        assert exporter.stats()[:5] == (202, 202, 0, 0, 0)


def test_nothing_overtakes_under_load(embedded_kafka: EmbeddedKafka) -> None:
    """With a key under load through an outage longer than message.timeout.ms, none is lost, and the order is kept."""
    stop = threading.Event()
    config = {"message.timeout.ms": 1500}
    with exporting(embedded_kafka, delivery_wait=0.5, producer_config=config) as exporter, ThreadPoolExecutor() as pool:
        emitted: list[str] = []

        def load() -> None:
            while not stop.is_set():
                emitted.append(str(len(emitted)))
                exporter.hand_over(records([emitted[-1]])[0])
                stop.wait(0.003)

        running = pool.submit(load)
        try:
            for _ in range(2):
                until(partial(grown, emitted.__len__, len(emitted), 300))
                embedded_kafka.down()
                until(lambda: exporter.stats().spooled > 500, 30)
                threading.Event().wait(2)  # the outage has to outlast message.timeout.ms
                embedded_kafka.up()
                until(lambda: exporter.stats().spooled == 0, 30, "the end of the outbox")
        finally:
            stop.set()
        running.result()
        until(lambda: settled(exporter))
        assert first_of_each(embedded_kafka) == emitted
        assert exporter.stats()[:2] == (len(emitted), len(emitted))


def test_a_broker_that_comes_late_gets_everything(embedded_kafka: EmbeddedKafka) -> None:
    """Records of a process that starts while the cluster is away arrive once it is there."""
    embedded_kafka.down()
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        assert exporter.export(records(["early"])) is SUCCESS
        assert exporter.stats().spooled == 1
        embedded_kafka.up()
        until(lambda: exporter.stats().delivered == 1)
        assert arrived(embedded_kafka) == ["early"]


def test_an_outage_is_noticed_however_many_topics_wait(
    embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """Records for three topics of a process that starts during an outage are soon on disk, as those for one are."""
    embedded_kafka.down()
    with direct(embedded_kafka) as (provider, processor):
        for category in ("application", "audit", "security"):
            provider.get_logger("shop").emit(LogRecord(body="here", attributes=ATTRIBUTES[category]))
        until(lambda: processor.stats().spooled == 3, what="three records on disk")
    assert "Kafka takes no records at present" in capfd.readouterr().err


def test_another_process_delivers_what_a_shutdown_has_left(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """What cannot be delivered at shutdown is on disk; the next process of the same configuration delivers it."""
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        embedded_kafka.down()
        exporter.export(records(["left 1", "left 2"]))
        exporter.export(audit_records(["left 3"]))
    assert list(outbox_dir.rglob("*.segment"))
    embedded_kafka.up()
    with exporting(embedded_kafka, topic_prefix="other.") as stranger, exporting(embedded_kafka) as exporter:
        stranger.export(records(["mine"]))
        exporter.export(records(["new"]))
        until(lambda: exporter.stats().delivered == 4)
        assert exporter.stats()[:5] == (4, 4, 0, 0, 0)
        assert stranger.stats().accepted == 1
        assert sorted(arrived(embedded_kafka)) == ["left 1", "left 2", "new"]
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ["left 3"]
    assert not list(outbox_dir.rglob("*.segment"))


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.POLICY_VIOLATION])
def test_a_blocked_topic_holds_up_its_own_records_only(code: int, embedded_kafka: EmbeddedKafka) -> None:
    """A topic that a broker refuses has its records spooled and is tried again; others flow."""
    with exporting(embedded_kafka) as exporter:
        exporter.export([*records(["first"]), *audit_records(["first"])])
        embedded_kafka.fail_next(code, 3)
        assert exporter.export(records(["refused 1"])) is SUCCESS
        assert exporter.stats().spooled == 1
        assert exporter.export(records(["refused 2"])) is SUCCESS
        assert exporter.stats().spooled == 2
        until(lambda: settled(exporter))
        exporter.export(audit_records(["flows"]))
        assert arrived(embedded_kafka) == ["first", "refused 1", "refused 2"]
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ["first", "flows"]
        assert exporter.stats()[:5] == (5, 5, 0, 0, 0)


def test_what_a_broker_refuses_for_good_is_a_dead_letter(embedded_kafka: EmbeddedKafka) -> None:
    """A record that is refused alone as well is kept with its reason; its neighbours arrive."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)  # the batch, then the first one alone
        assert exporter.export(records(["bad", "good"])) is SUCCESS
        until(lambda: exporter.stats().in_flight == 0)
        assert arrived(embedded_kafka) == ["first", "good"]
        assert exporter.stats()[:5] == (3, 2, 0, 1, 0)


def test_a_full_outbox_drops_application_records_before_audit_events(embedded_kafka: EmbeddedKafka) -> None:
    """At the outbox's bound the oldest application records go, counted; no audit event does."""
    embedded_kafka.down()
    with exporting(embedded_kafka, delivery_wait=0.2, outbox_max_bytes=1024 * 1024) as exporter:
        bodies = [f"{n} {'x' * 1000}" for n in range(2000)]
        assert exporter.export(records(bodies[:100])) is SUCCESS
        assert exporter.export(audit_records([f"audit {n}" for n in range(500)])) is SUCCESS
        assert exporter.export(records(bodies[100:])) is SUCCESS
        stats = exporter.stats()
        assert stats.dropped["outbox_full"] == 2500 - stats.spooled - stats.in_flight > 0
        embedded_kafka.up()
        until(lambda: settled(exporter))
        assert first_of_each(embedded_kafka, AUDIT_TOPIC) == [f"audit {n}" for n in range(500)]
        found = [body for body in first_of_each(embedded_kafka) if "x" in body]
        # Those that librdkafka had before Kafka was known to be away, and of those that waited the newest.
        assert found == bodies[:100] + bodies[len(bodies) - (len(found) - 100) :]


def test_a_full_outbox_of_audit_events_says_failure(embedded_kafka: EmbeddedKafka) -> None:
    """When there are only audit events left to give way, the new ones are not kept, and export() says so.

    Those that librdkafka has are not given up for that.
    """
    embedded_kafka.down()
    with exporting(embedded_kafka, delivery_wait=0.2, outbox_max_bytes=1024 * 1024) as exporter:
        bodies = [f"{n} {'x' * 1000}" for n in range(1500)]
        assert exporter.export(audit_records(bodies)) is FAILURE
        stats = exporter.stats()
        assert stats.dropped == {}
        assert stats.in_flight == 1500 - stats.spooled > 0
        assert exporter.export(audit_records(["one more"] * 100)) is FAILURE
        assert exporter.stats().dropped["outbox_full"] > 90
        embedded_kafka.up()
        until(lambda: settled(exporter))
        assert first_of_each(embedded_kafka, AUDIT_TOPIC)[:1500] == bodies


def test_without_a_usable_directory_records_are_dropped_with_that_reason(
    embedded_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Where no outbox can be made, what Kafka takes is delivered, and what it never takes is `outbox_unavailable`.

    Until then librdkafka keeps it, and `export` says that it is not safe.
    """
    (tmp_path / "file").touch()
    with exporting(embedded_kafka, outbox_dir=tmp_path / "file" / "outbox", delivery_wait=0.3) as exporter:
        assert exporter.export([*records(["one"]), *audit_records(["two"])]) is SUCCESS
        embedded_kafka.down()
        assert exporter.export([*records(["three"]), *audit_records(["four"])]) is FAILURE
        assert exporter.export([*records(["five"]), *audit_records(["six"])]) is FAILURE
        assert exporter.stats().in_flight == 4
        embedded_kafka.up()
        until(lambda: settled(exporter))
        assert arrived(embedded_kafka) == ["one", "three", "five"]
        embedded_kafka.down()
        assert exporter.export(records(["seven"])) is FAILURE
    assert exporter.stats().dropped == {"outbox_unavailable": 1}


def test_the_sum_is_right_at_every_moment(embedded_kafka: EmbeddedKafka) -> None:
    """From another thread, through outages and refusals, accepted is the sum of the states whenever one looks."""
    stop = threading.Event()
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter, ThreadPoolExecutor() as pool:

        def load() -> int:
            handed_over = 0
            while not stop.is_set():
                for record in [*records([str(handed_over)]), *audit_records(["x"]), *broken_records()]:
                    exporter.hand_over(record)
                    handed_over += 1
            return handed_over

        def look() -> int:
            looks = 0
            while not stop.is_set():
                stats = exporter.stats()
                states = (stats.delivered, stats.spooled, stats.dead_lettered, stats.in_flight)
                assert min(states) >= 0, stats
                assert stats.accepted == sum(states) + sum(stats.dropped.values()), stats
                looks += 1
            return looks

        loads = [pool.submit(load) for _ in range(2)]
        looking = pool.submit(look)
        try:
            for _ in range(2):
                until(partial(grown, lambda: exporter.stats().delivered, exporter.stats().delivered, 50))
                embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE, 3)
                embedded_kafka.down()
                until(lambda: exporter.stats().spooled > 50)
                embedded_kafka.up()
        finally:
            stop.set()
        handed_over = sum(load.result() for load in loads)
        assert looking.result() > 100
        until(lambda: settled(exporter), 60)
        stats = exporter.stats()
        assert stats.accepted == handed_over
        assert stats.dead_lettered >= handed_over // 3


def broken_records() -> list[Any]:
    """Audit events without what they need."""
    return records(["broken"], **{"omni.category": "audit"})


@pytest.mark.parametrize("milliseconds", [150, 800])
def test_an_outage_ends_however_long_an_answer_takes(milliseconds: int, embedded_kafka: EmbeddedKafka) -> None:
    """A cluster far away goes and comes back: what waits is delivered, whatever a question to it would take."""
    with exporting(embedded_kafka, delivery_wait=1) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.slow(milliseconds)
        embedded_kafka.down()
        bodies = [f"{n}" for n in range(10)]
        for record in records(bodies):
            exporter.hand_over(record)
        until(lambda: exporter.stats().spooled == 10)
        embedded_kafka.up()
        until(lambda: settled(exporter), 60)
        embedded_kafka.slow(0)
        assert set(arrived(embedded_kafka)) == {"before", *bodies}
