"""Every way in against a real Kafka, and a plain consumer at the other end."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.rig.kafka import KafkaCluster
from tests.ways_in import checks
from tests.ways_in.running import read

pytestmark = pytest.mark.integration


@pytest.fixture
def prefix(kafka: KafkaCluster) -> str:
    """A topic prefix of the test's own, with its three topics made."""
    chosen = f"t{uuid.uuid4().hex[:12]}."
    kafka.create_topics(
        *(f"{chosen}omninode.logging.{category}.v1" for category in ("application", "audit", "security"))
    )
    return chosen


@checks.every_way_in
def test_a_record_gets_to_a_real_kafka_by(way_in: str, kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """Whichever way OpenTelemetry is set up, its records arrive in Apache Kafka as envelopes."""
    checks.WAYS_IN[way_in](kafka.bootstrap_servers, prefix, tmp_path)


def test_kcat_reads_the_envelopes(kafka: KafkaCluster, prefix: str, kcat: str) -> None:
    """The consumer of the original's guide prints one JSON document a line, keyed and with headers."""
    checks.stdlib_logging(kafka.bootstrap_servers, prefix)
    topic = checks.application_topic(prefix)
    done = subprocess.run(
        [kcat, "-b", kafka.bootstrap_servers, "-t", topic, "-C", "-e", "-q", "-f", "%k %T %h %s\n"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(read(kafka.bootstrap_servers, topic, 3))
    for line in lines:
        key, milliseconds, headers, value = line.split(" ", 3)
        envelope = json.loads(value)
        assert (key, envelope["event_type"]) == ("shop", "omninode.logging.application.v1")
        assert int(milliseconds) > 0
        assert f"x-correlation-id={envelope['correlation_id']}" in headers
