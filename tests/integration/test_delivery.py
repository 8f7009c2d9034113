"""What a real broker refuses, and a real outage, seen from the consumer's side."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter import KafkaLogExporter, decode
from tests.functional.pipelines import records
from tests.rig.kafka import KafkaCluster
from tests.rig.process import wait_for
from tests.waiting import until
from tests.ways_in.running import read

pytestmark = pytest.mark.integration
SUCCESS, FAILURE = LogRecordExportResult.SUCCESS, LogRecordExportResult.FAILURE
TOPIC = "omninode.logging.application.v1"


def exporter_to(kafka: KafkaCluster, **settings: Any) -> tuple[KafkaLogExporter, str]:
    prefix = f"t{uuid.uuid4().hex[:12]}."
    exporter = KafkaLogExporter(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, **settings)
    return exporter, prefix + TOPIC


def messages(kafka: KafkaCluster, topic: str, n: int) -> list[str]:
    return [decode(message.value()).payload["message"] for message in read(kafka.bootstrap_servers, topic, n)]


def test_a_topic_that_does_not_exist_is_named_as_the_reason(kafka: KafkaCluster) -> None:
    """Where topics do not make themselves, its records wait until it is made, and the other categories flow."""
    exporter, topic = exporter_to(kafka)
    kafka.create_topics(topic)
    audit = {
        "omni.audit.action": "a",
        "omni.audit.actor": "b",
        "omni.audit.resource": "c",
        "omni.audit.outcome": "success",
    }
    batch = records(["one", "two"]) + records(["three"], **{"omni.category": "audit", **audit})
    assert exporter.export(batch) is SUCCESS
    assert exporter.stats()[:5] == (3, 2, 1, 0, 0)
    assert messages(kafka, topic, 2) == ["one", "two"]
    audit_topic = topic.replace("application", "audit")
    kafka.create_topics(audit_topic)
    until(lambda: exporter.stats().delivered == 3, 30)
    assert len(read(kafka.bootstrap_servers, audit_topic, 1)) == 1
    exporter.shutdown()


def test_a_record_that_its_topic_does_not_take_costs_only_itself(kafka: KafkaCluster) -> None:
    """The broker refuses a batch for its size; what fits alone arrives, and only the large record is dropped."""
    exporter, topic = exporter_to(kafka, delivery_wait=10)
    kafka.create_topics(topic, config={"max.message.bytes": "10000"})
    small = [f"small {n}" for n in range(40)]
    assert exporter.export(records([*small[:20], "large" * 4000, *small[20:]])) is SUCCESS
    until(lambda: exporter.stats().in_flight == 0, 30)
    assert exporter.stats()[:5] == (41, 40, 0, 1, 0)
    assert messages(kafka, topic, 40) == small
    exporter.shutdown()


def test_a_timestamp_that_its_topic_does_not_take_is_left_out(kafka: KafkaCluster) -> None:
    """A record from long ago arrives with the time of sending as Kafka's, and its own in the envelope."""
    exporter, topic = exporter_to(kafka)
    kafka.create_topics(topic, config={"message.timestamp.before.max.ms": "3600000"})
    [record] = records(["from the past"])
    record.log_record.timestamp = 1_000_000_000_000_000_000
    assert exporter.export([record]) is SUCCESS
    until(lambda: exporter.stats().delivered == 1)
    [message] = read(kafka.bootstrap_servers, topic, 1)
    assert decode(message.value()).timestamp == "2001-09-09T01:46:40.000000Z"
    assert message.timestamp()[1] > 1_700_000_000_000
    exporter.shutdown()


def test_records_flow_again_after_a_broker_was_killed(start_kafka: Callable[[int], KafkaCluster]) -> None:
    """Without an outbox, a SIGKILL of the only broker costs the records of the outage, counted; then records arrive."""
    kafka = start_kafka(1)
    exporter, topic = exporter_to(kafka, delivery_wait=1, outbox=False)
    kafka.create_topics(topic)
    assert exporter.export(records(["before"])) is SUCCESS
    kafka.nodes[0].kill()
    assert exporter.export(records(["lost"])) is FAILURE
    kafka.start()
    wait_for(
        lambda: exporter.export(records(["after"])) is SUCCESS or None,
        timeout=30,
        failure=lambda: f"records did not flow again: {exporter.stats()}",
    )
    stats = exporter.stats()
    assert stats.accepted == stats.delivered + sum(stats.dropped.values())
    found = messages(kafka, topic, stats.delivered)
    assert (found[0], found[-1]) == ("before", "after")
    exporter.shutdown()
