"""One broker of three hangs, and its partitions have no other: what that costs, and what it does not."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.cimpl import NewTopic
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogRecordProcessor
from tests.rig.kafka import KafkaCluster
from tests.waiting import until

TOPIC = "omninode.logging.application.v1"
PARTITIONS, KEYS = 6, 40
HANGS_SECONDS = 8.0

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


class Load:
    """Records of many keys, one every few milliseconds, from a thread of its own.

    Attributes:
        emitted: their texts, `key number`, in the order of hand-over.
    """

    def __init__(self, provider: LoggerProvider) -> None:
        self._logger = provider.get_logger("load")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.emitted: list[str] = []

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            number = len(self.emitted)
            key = f"{number % KEYS:02}"
            self._logger.emit(LogRecord(body=f"{key} {number}", attributes={"omni.correlation_id": key}))
            self.emitted.append(f"{key} {number}")

    @contextmanager
    def running(self) -> Iterator[Load]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()


def test_a_hung_broker_holds_up_its_own_partitions_only(
    start_kafka: Callable[[int], KafkaCluster], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes to the others is delivered meanwhile; afterwards all is there, once and in the order of its key."""
    monkeypatch.setattr("otel_kafka_exporter.process.telemetry.QUIET_SECONDS", 0)  # whatever others have logged
    kafka = start_kafka(3)
    admin = kafka.admin_client()
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result()
    kafka.wait_in_sync(TOPIC, replicas=1)  # a node that has not heard of it yet would say that there is none
    view = kafka.nodes[0].metadata()
    assert view is not None
    hung = kafka.nodes[-1]
    sick = {number for number, each in view.topics[TOPIC].partitions.items() if each.leader == hung.id}
    assert 0 < len(sick) < PARTITIONS
    processor = KafkaLogRecordProcessor(
        bootstrap_servers=kafka.bootstrap_servers, application_key="correlation_id", delivery_wait=1
    )
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    load = Load(provider)
    with load.running():
        until(lambda: processor.stats().delivered > 500, 60)
        first, delivered = len(load.emitted), processor.stats().delivered
        hung.pause()
        try:
            time.sleep(HANGS_SECONDS)  # the fault itself, not a wait for something
            during = processor.stats()
            last = len(load.emitted)
        finally:
            hung.resume()
        until(lambda: processor.stats().spooled == 0, 60, "the end of the outbox")
    assert processor.force_flush(10_000)
    assert processor.stats().dropped == {}
    found = read(kafka)
    assert sorted(found) == sorted(load.emitted)
    # What was emitted two seconds before the end of the hang, and later, may be on its way.
    settled_by = first + int((last - first) * (1 - 2 / HANGS_SECONDS))
    healthy = sum(found[text][0] not in sick for text in load.emitted[first:settled_by])
    assert during.delivered - delivered >= 0.95 * healthy > 100
    assert during.spooled <= sum(found[text][0] in sick for text in load.emitted[:last]) + KEYS
    assert max(times for _, _, times in found.values()) == 1, "a record arrived twice"
    for key in range(KEYS):
        of_key = [text for text in load.emitted if text.startswith(f"{key:02} ")]
        assert sorted(of_key, key=lambda text: found[text][1]) == of_key
    provider.shutdown()
    lines = capfd.readouterr().err
    assert "acknowledge nothing at present" in lines
    assert f"all partitions of {TOPIC} take records again" in lines
    assert "Kafka takes no records" not in lines


def read(kafka: KafkaCluster) -> dict[str, tuple[int, int, int]]:
    """Each message's text, with its partition, its first offset there, and how often it is there."""
    found: dict[str, tuple[int, int, int]] = {}
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "read", "enable.auto.commit": False})
    parts = [TopicPartition(TOPIC, number, 0) for number in range(PARTITIONS)]
    left = Counter({part.partition: consumer.get_watermark_offsets(part, 10)[1] for part in parts})
    consumer.assign(parts)
    deadline = time.monotonic() + 30
    while any(left.values()):
        assert time.monotonic() < deadline
        for message in consumer.consume(1000, 0.5):
            assert message.error() is None
            number, offset, value = message.partition(), message.offset(), message.value()
            assert number is not None
            assert offset is not None
            assert value is not None
            left[number] -= 1
            text = json.loads(value)["payload"]["message"]
            before = found.get(text, (number, offset, 0))
            found[text] = (*before[:2], before[2] + 1)
    consumer.close()
    return found
