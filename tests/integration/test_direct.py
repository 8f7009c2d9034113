"""The direct processor against a real broker: bursts, receipts, and a broker that is away for long."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogRecordProcessor, decode, emit_audit_event
from tests.rig.kafka import KafkaCluster, KafkaNode
from tests.waiting import until
from tests.ways_in.running import read

pytestmark = pytest.mark.integration
TOPIC = "omninode.logging.application.v1"


def provider_to(kafka: KafkaCluster, prefix: str, **settings: object) -> tuple[LoggerProvider, KafkaLogRecordProcessor]:
    processor = KafkaLogRecordProcessor(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=prefix,
        **settings,  # type: ignore[arg-type]  # as the test says
    )
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    return provider, processor


def test_forty_thousand_records_of_four_threads_arrive(kafka: KafkaCluster) -> None:
    """Four threads that log 10,000 records each, back to back, with default settings: all 40,000 arrive, in order."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    kafka.create_topics(prefix + TOPIC, partitions=1)
    provider, processor = provider_to(kafka, prefix)
    logger = provider.get_logger("shop")

    def burst(thread: int) -> None:
        for n in range(10_000):
            logger.emit(LogRecord(body=f"{thread} {n}", severity_number=SeverityNumber.INFO))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(burst, range(4)))
    assert provider.force_flush(60_000)
    assert processor.stats()[:5] == (40_000, 40_000, 0, 0, 0)
    found = [
        decode(message.value()).payload["message"] for message in read(kafka.bootstrap_servers, prefix + TOPIC, 40_000)
    ]
    assert len(set(found)) == 40_000
    for thread in range(4):
        assert [text for text in found if text[0] == str(thread)] == [f"{thread} {n}" for n in range(10_000)]
    provider.shutdown()


def test_a_receipt_has_the_brokers_timestamp(kafka: KafkaCluster) -> None:
    """A receipt says where the event is, and which time Kafka has for it."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    topic = f"{prefix}omninode.logging.audit.v1"
    kafka.create_topics(topic)
    provider, _ = provider_to(kafka, prefix)
    receipt = emit_audit_event("a", "b", "c", "success", logger=provider.get_logger("shop"), wait=10)
    [message] = read(kafka.bootstrap_servers, topic, 1)
    assert receipt is not None
    assert (message.topic(), message.partition(), message.offset(), message.timestamp()[1]) == receipt[1:]
    provider.shutdown()


@contextmanager
def load(provider: LoggerProvider) -> Iterator[list[str]]:
    """Log without a pause of more than two milliseconds; what was logged is in the list."""
    stop = threading.Event()
    emitted: list[str] = []
    logger = provider.get_logger("shop")

    def run() -> None:
        while not stop.is_set():
            emitted.append(str(len(emitted)))
            logger.emit(LogRecord(body=emitted[-1], severity_number=SeverityNumber.INFO))
            stop.wait(0.002)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield emitted
        finally:
            stop.set()
        running.result()


def assert_all_arrived_in_order(kafka: KafkaCluster, processor: KafkaLogRecordProcessor, emitted: list[str]) -> None:
    until(lambda: processor.stats().delivered == len(emitted), 60, f"the delivery of everything: {processor.stats()}")
    assert processor.stats()[:5] == (len(emitted), len(emitted), 0, 0, 0)
    envelopes = [decode(message.value()) for message in read(kafka.bootstrap_servers, TOPIC, _count(kafka))]
    assert list(dict.fromkeys(envelope.payload["message"] for envelope in envelopes)) == emitted


def test_a_broker_away_for_longer_than_the_message_timeout_costs_nothing(
    start_kafka: Callable[[int], KafkaCluster],
) -> None:
    """Under load, with the broker killed for longer than message.timeout.ms: 0 lost, in order."""
    kafka = start_kafka(1)
    kafka.create_topics(TOPIC, partitions=3)
    provider, processor = provider_to(kafka, "", delivery_wait=1, producer_config={"message.timeout.ms": 3000})
    with load(provider) as emitted:
        until(lambda: processor.stats().delivered > 200, 30)
        kafka.nodes[0].kill()
        until(lambda: processor.stats().spooled > 1500, 60)  # at 500 a second at most: three seconds and more
        kafka.nodes[0].start()
        until(lambda: processor.stats().spooled == 0, 60)
    assert_all_arrived_in_order(kafka, processor, emitted)
    provider.shutdown()


def test_faults_of_a_cluster_of_three_cost_nothing(start_kafka: Callable[[int], KafkaCluster]) -> None:
    """A rolling restart, the leader's SIGKILL, a hung leader and too few in-sync replicas, under load: 0 lost."""
    kafka = start_kafka(3)
    kafka.create_topics(TOPIC, partitions=1)
    provider, processor = provider_to(kafka, "", delivery_wait=1)

    def leader() -> KafkaNode:
        for node in kafka.nodes:
            view = node.metadata() if node.running else None
            if view is not None and TOPIC in view.topics:
                number = view.topics[TOPIC].partitions[0].leader
                return next(node for node in kafka.nodes if node.id == number)
        pytest.fail("no node knows the leader")

    def flows() -> None:
        delivered = processor.stats().delivered
        until(lambda: processor.stats().delivered > delivered + 100, 60, "delivery after a fault")

    with load(provider) as emitted:
        flows()
        for node in kafka.nodes:
            node.stop()
            flows()
            kafka.start()
            kafka.wait_in_sync(TOPIC)
        first = leader()
        first.kill()
        flows()
        kafka.start()
        kafka.wait_in_sync(TOPIC)
        hung = leader()
        hung.pause()
        until(lambda: processor.stats().spooled > 100, 60)
        hung.resume()
        flows()
        kafka.wait_in_sync(TOPIC)
        # One of three is left: it may take nothing, and gives no sign of that.
        left = leader()
        gone = [node for node in kafka.nodes if node is not left]
        for node in gone:
            node.kill()
        spooled = processor.stats().spooled
        until(lambda: processor.stats().spooled > spooled + 500, 60)
        kafka.start()
        until(lambda: processor.stats().spooled == 0, 60, "the end of the outbox")
    assert_all_arrived_in_order(kafka, processor, emitted)
    provider.shutdown()


def _count(kafka: KafkaCluster) -> int:
    """How many messages the topic has, duplicates included."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "count"})
    try:
        partitions = len(consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions)
        parts = (TopicPartition(TOPIC, partition) for partition in range(partitions))
        return sum(high - low for low, high in map(consumer.get_watermark_offsets, parts))
    finally:
        consumer.close()
