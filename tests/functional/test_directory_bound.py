"""Processes that end one after the other in a long outage, and what they leave together."""

from __future__ import annotations

from pathlib import Path

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import exporting, records
from .test_disks import PAD, adds_up

MOST, MOST_IN_ALL = 1 << 20, 2 << 20


def test_an_outage_fills_no_disk(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """While Kafka is away, a living process has the oldest give way of what all have left, and counts it."""
    embedded_kafka.down()

    def size() -> int:
        return sum(path.stat().st_size for path in outbox_dir.rglob("*.segment"))

    for n in range(4):
        # As a process that is never there for long enough to see to it.
        with exporting(embedded_kafka, delivery_wait=0.1, outbox_max_bytes=MOST, topic_prefix=f"{n}.") as exporter:
            exporter.export(records([f"{k} {PAD}" for k in range(400)]))
    assert size() > MOST_IN_ALL
    settings = {"outbox_max_bytes": MOST, "outbox_directory_max_bytes": MOST_IN_ALL, "topic_prefix": "3."}
    with exporting(embedded_kafka, delivery_wait=0.1, **settings) as exporter:
        exporter.export(records(["one"]))
        until(lambda: exporter.stats().dropped.get("outbox_full", 0) > 0, 30)
        assert adds_up(exporter.stats())
