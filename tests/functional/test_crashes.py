"""Processes that are killed in the middle of what they do, and what the next one makes of what they left."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import TOPIC, arrived, exporting, records

APP = Path(__file__).parent / "apps" / "emitter.py"
AUDIT_TOPIC = "omninode.logging.audit.v1"


@contextmanager
def emitting(kafka: EmbeddedKafka, category: str, file: Path, *settings: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(APP), kafka.bootstrap_servers, category, str(file), *settings]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def emitted(file: Path) -> int:
    return int.from_bytes(file.read_bytes(), "little") if file.exists() else 0


@pytest.mark.parametrize("cluster", ["there", "away"])
@pytest.mark.parametrize(("category", "topic"), [("audit", AUDIT_TOPIC), ("application", TOPIC)])
def test_sigkill_loses_nothing_of_the_durable_lane(
    category: str, topic: str, cluster: str, embedded_kafka: EmbeddedKafka, tmp_path: Path, outbox_dir: Path
) -> None:
    """Whatever moment a process is killed at, every durable record whose call had returned arrives."""
    choose = random.Random(17)
    durable = "durable=all" if category == "application" else "durable=audit,security"
    expected: set[str] = set()
    if cluster == "away":
        embedded_kafka.down()
    for n in range(5):
        file = tmp_path / f"emitted-{n}"
        least = choose.randint(1, 150)
        with emitting(embedded_kafka, category, file, durable, "delivery_wait=0.2"):
            until(lambda file=file, least=least: emitted(file) >= least, 30)  # type: ignore[misc]  # bound per round
        expected |= {f"{file.name} {number}" for number in range(1, emitted(file) + 1)}
    embedded_kafka.up()
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["after"]))
        until(lambda: not list(outbox_dir.rglob("*.segment")) or exporter.stats().spooled == 0, 30)
        until(lambda: expected <= set(arrived(embedded_kafka, topic)), 30)


@pytest.mark.parametrize("least", [1_000, 2_000, 4_000])
def test_a_kill_at_full_speed_repeats_few_events(
    least: int, embedded_kafka: EmbeddedKafka, tmp_path: Path, outbox_dir: Path
) -> None:
    """What Kafka has acknowledged is settled soon, however fast others come: only the rest is sent again."""
    file = tmp_path / "emitted"
    with emitting(embedded_kafka, "audit", file):
        until(lambda: emitted(file) >= least, 60)
    expected = {f"emitted {number}" for number in range(1, emitted(file) + 1)}
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["after"]))
        until(lambda: exporter.stats().accepted > 1 or not list(outbox_dir.rglob("*.segment")))  # it is adopted
        until(lambda: exporter.stats().spooled == 0, 30)
        found = arrived(embedded_kafka, AUDIT_TOPIC)
    assert expected <= set(found)
    assert len(found) - len(set(found)) <= 2_000
