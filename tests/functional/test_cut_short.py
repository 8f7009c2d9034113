"""A service whose outbox is cut short while it runs: it lives, says what is lost, and keeps what comes next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, audit_records, exporting, records
from .test_disks import AUDIT_TOPIC, adds_up


def cut(outbox_dir: Path) -> None:
    """As `logrotate` does with `copytruncate`, or a clean-up job."""
    for path in outbox_dir.rglob("*.segment"):
        os.truncate(path, 0)


@pytest.mark.parametrize("is_idle", [True, False])
def test_a_service_outlives_it(embedded_kafka: EmbeddedKafka, outbox_dir: Path, is_idle: bool) -> None:  # noqa: FBT001 - a parameter
    """What waited is counted as damaged, and what is kept afterwards is delivered, once; the sum is right."""
    embedded_kafka.down()
    with exporting(embedded_kafka, delivery_wait=0.1) as exporter:
        exporter.export(records(["warms up"]))
        for n in range(20):
            exporter.export(audit_records([f"before {n}"]))
        until(lambda: exporter.stats().spooled == 21)
        cut(outbox_dir)
        if is_idle:
            until(lambda: exporter.stats().dropped.get("outbox_damaged", 0) > 0)
        for n in range(20):
            exporter.hand_over(audit_records([f"after {n}"])[0])
        until(lambda: exporter.stats().spooled >= 20)
        assert adds_up(exporter.stats())
        embedded_kafka.up()
        expected = {f"after {n}" for n in range(20)}
        until(lambda: expected <= set(arrived(embedded_kafka, AUDIT_TOPIC)), 30)
        until(lambda: exporter.stats().spooled + exporter.stats().in_flight == 0, 30)
        stats = exporter.stats()
    assert adds_up(stats)
    # What librdkafka had when it was cut is delivered by it; what only waited there is lost, and said to be.
    assert stats.delivered + stats.dropped["outbox_damaged"] == stats.accepted == 41
    assert stats.dropped["outbox_damaged"] > 0


def test_whose_rows_are_gone_is_delivered_all_the_same(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """A durable event that is on its way when its row is cut off is delivered, and counted as nothing else."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(audit_records(["warms up"]))
        embedded_kafka.slow(1_500)
        exporter.hand_over(audit_records(["on its way"])[0])
        cut(outbox_dir)
        embedded_kafka.slow(0)
        until(lambda: "on its way" in arrived(embedded_kafka, AUDIT_TOPIC))
        until(lambda: exporter.stats().in_flight == 0)
        assert exporter.stats().delivered == 2
