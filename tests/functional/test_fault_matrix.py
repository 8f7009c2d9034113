"""A fault of a part of three embedded brokers costs what it touches, and nothing else: each beside each way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.matrix.load import TOPICS
from tests.matrix.matrix import WAYS, Parts, frozen, judge, judge_frozen, run
from tests.waiting import until

from .pipelines import delivery_of, exporting, records, settled

SUCCESS = LogRecordExportResult.SUCCESS

SECONDS, PARTITIONS = 6.0, 6
THIRD = {(name, number) for name in TOPICS.values() for number in range(PARTITIONS) if number % 3 == 2}
OURS = [way for way in WAYS if way != "plain"]

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]


@contextmanager
def clusters() -> Iterator[EmbeddedKafka]:
    """Three brokers, each of which leads each third partition."""
    with EmbeddedKafka(brokers=3) as kafka:
        for name in TOPICS.values():
            kafka.create_topic(name, PARTITIONS)
            for number in range(PARTITIONS):
                kafka._running().command("partition_set_leader", name.encode(), number, number % 3 + 1)
        yield kafka


@contextmanager
def hangs(kafka: EmbeddedKafka) -> Iterator[Parts]:
    """It answers after a minute."""
    kafka._running().command("broker_set_rtt", 3, 60_000)
    yield THIRD
    kafka._running().command("broker_set_rtt", 3, 0)


@contextmanager
def refuses(kafka: EmbeddedKafka) -> Iterator[Parts]:
    """Nobody is at its port."""
    kafka._running().command("broker_set_down", 3)
    yield THIRD
    kafka._running().command("broker_set_up", 3)


@pytest.mark.parametrize("fault", [hangs, refuses], ids=lambda each: each.__name__)
def test_a_fault_costs_what_it_touches(
    fault: Callable[[EmbeddedKafka], AbstractContextManager[Parts]], tmp_path: Path
) -> None:
    """The rest is delivered meanwhile, at once; afterwards all is there, or counted, in the order of its key."""
    with clusters() as kafka:
        judge(
            run(kafka.bootstrap_servers, "", PARTITIONS, lambda _: fault(kafka), tmp_path, seconds=SECONDS, names=OURS)
        )


@pytest.mark.parametrize("seconds", [1, 4])
def test_a_frozen_service_takes_nothing_for_lost(seconds: float, tmp_path: Path) -> None:
    """Stopped for longer or shorter than `delivery_wait`, it goes on without a loss, a duplicate, or a false word."""
    with clusters() as kafka:
        judge_frozen(run(kafka.bootstrap_servers, "", PARTITIONS, frozen, tmp_path, seconds=seconds, names=OURS))


@pytest.mark.parametrize("outbox", [{}, {"outbox": False}])
def test_only_the_first_batch_waits_for_a_silent_partition(outbox: dict[str, Any]) -> None:
    """Those behind it go on when the rest of theirs is settled, long before the partition is judged."""
    by_key = records([str(number) for number in range(30)])
    for number, record in enumerate(by_key):
        record.log_record.attributes = {"omni.correlation_id": f"key {number}"}
    settings = {"delivery_wait": 4, "application_key": "correlation_id"}
    with clusters() as kafka, exporting(kafka, **settings, **outbox) as exporter:
        assert exporter.export(by_key) is SUCCESS
        with hangs(kafka):
            for _ in range(4):
                exporter.export(by_key)
            lane = delivery_of(exporter)._state.lanes["application"]
            assert lane.recent
            assert not lane.partitions
        until(lambda: settled(exporter), 30)
        assert exporter.stats().delivered == 5 * 30
