"""A cluster that slows its clients down by a quota: that is said, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry._logs import LogRecord

from otel_kafka_exporter import decode
from tests.rig import java
from tests.rig.kafka import KafkaCluster
from tests.rig.process import run
from tests.waiting import until
from tests.ways_in.running import read

from .test_direct import TOPIC, provider_to

pytestmark = pytest.mark.integration


def set_quota(kafka: KafkaCluster, *change: str) -> None:
    """Change the quota of all clients, by Kafka's own command: confluent-kafka has no call for that."""
    who = ("--entity-type", "clients", "--entity-default")
    command = ("kafka.admin.ConfigCommand", "--bootstrap-server", kafka.bootstrap_servers, "--alter", *change, *who)
    run(java.command(*command), timeout=60)


def test_a_quota_is_told_from_a_slow_cluster(
    start_kafka: Callable[[int], KafkaCluster], caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka enforces a quota by answering late: the line names it, and all records arrive once when it is lifted."""
    kafka = start_kafka(1)
    kafka.create_topics(TOPIC)
    set_quota(kafka, "--add-config", "producer_byte_rate=20000")
    theirs: list[float] = []
    config = {"throttle_cb": lambda event: theirs.append(event.throttle_time)}
    provider, processor = provider_to(kafka, "", delivery_wait=1.0, producer_config=config)
    logger = provider.get_logger("shop")
    accepted = 0

    def is_said() -> bool:
        nonlocal accepted
        logger.emit(LogRecord(body=f"{accepted} " + "x" * 1_000))
        accepted += 1
        return "because of throttled" in caplog.text

    until(is_said, 60, "the quota's being said")
    assert "by a quota, a broker has this client wait for" in caplog.text
    assert theirs, "the application's own callback is called, too"
    set_quota(kafka, "--delete-config", "producer_byte_rate")
    until(lambda: processor.stats().delivered == accepted, 90, "the delivery of all")
    numbers = [
        int(decode(message.value()).payload["message"].split()[0])
        for message in read(kafka.bootstrap_servers, TOPIC, accepted)
    ]
    assert sorted(numbers) == list(range(accepted))
    provider.shutdown()
