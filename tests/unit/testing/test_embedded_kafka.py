"""The embedded Kafka keeps what is produced and gives it to whoever reads, from its start to its stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka
from tests.unit.testing.producing import TOPIC, deliver, quick_producer


def test_a_record_comes_back_as_it_was_sent(kafka: EmbeddedKafka) -> None:
    """Key, value, headers (their order, empty and missing values too) and timestamp survive."""
    headers: list[tuple[str, bytes | None]] = [("b", b"1"), ("a", b""), ("b", None)]
    deliver(quick_producer(kafka), b"value", key=b"key", headers=headers, timestamp=1_700_000_000_123)
    [message] = kafka.consume(TOPIC, 1)
    assert (message.topic(), message.key(), message.value()) == (TOPIC, b"key", b"value")
    assert message.headers() == headers
    assert message.timestamp()[1] == 1_700_000_000_123


@pytest.mark.parametrize("read", ["consume", "messages"])
def test_messages_come_by_partition_and_offset(kafka: EmbeddedKafka, read: str) -> None:
    """Either way of reading gives every record once, each partition's in the order of its offsets."""
    producer = quick_producer(kafka)
    for number in range(100):
        producer.produce(TOPIC, b"%d" % number, partition=number % 4)
    assert producer.flush(10) == 0
    messages = kafka.consume(TOPIC, 100) if read == "consume" else kafka.messages(TOPIC)
    assert [message.value() for message in messages] == [b"%d" % n for p in range(4) for n in range(p, 100, 4)]


def test_consume_waits_for_a_topic_and_its_messages(kafka: EmbeddedKafka) -> None:
    """A reader may be there before the topic is."""
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(kafka.consume, TOPIC, 2)
        producer = quick_producer(kafka)
        deliver(producer, b"1", partition=0)
        deliver(producer, b"2", partition=1)
        assert [message.value() for message in reading.result(10)] == [b"1", b"2"]


def test_consume_reads_from_the_start_each_time(kafka: EmbeddedKafka) -> None:
    """One read takes nothing from the next, and gives no more than was asked for."""
    deliver(quick_producer(kafka), b"1", b"2", b"3", partition=0)
    assert [[m.value() for m in kafka.consume(TOPIC, n)] for n in (2, 3, 0)] == [[b"1", b"2"], [b"1", b"2", b"3"], []]


def test_reading_creates_no_topic(kafka: EmbeddedKafka) -> None:
    """An unknown topic is empty or too late, and is still unknown after that."""
    assert kafka.messages(TOPIC) == []
    with pytest.raises(TimeoutError, match=r"expected 1 messages in 'logs', found no such topic in 0\.1 s$"):
        kafka.consume(TOPIC, 1, timeout=0.1)
    kafka.create_topic(TOPIC)


def test_too_few_messages_are_a_timeout_that_counts_them(kafka: EmbeddedKafka) -> None:
    """The error says what was expected and what came."""
    deliver(quick_producer(kafka), b"1")
    with pytest.raises(TimeoutError, match=r"expected 2 messages in 'logs', got 1 in 0\.1 s"):
        kafka.consume(TOPIC, 2, timeout=0.1)


@pytest.mark.parametrize("brokers", [1, 3])
def test_topics_made_on_first_use_have_four_partitions(brokers: int) -> None:
    """A topic that a client asks for, and one that is created without a number, have librdkafka's own."""
    with EmbeddedKafka(brokers=brokers) as kafka:
        assert kafka.bootstrap_servers.count("127.0.0.1:") == brokers
        kafka.create_topic("created")
        producer = quick_producer(kafka)
        found = [len(producer.list_topics(topic, timeout=5).topics[topic].partitions) for topic in (TOPIC, "created")]
        assert found == [4, 4]


def test_create_topic_sets_the_partitions_once(kafka: EmbeddedKafka) -> None:
    """An explicit topic has the partitions asked for; creating it again says that it exists."""
    kafka.create_topic(TOPIC, partitions=9)
    assert len(quick_producer(kafka).list_topics(TOPIC, timeout=5).topics[TOPIC].partitions) == 9
    with pytest.raises(KafkaException) as raised:
        kafka.create_topic(TOPIC, partitions=9)
    assert raised.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


def test_a_partition_keeps_its_newest_five_mebibytes(kafka: EmbeddedKafka) -> None:
    """The limit that the documentation names: older batches go, and reading starts behind them."""
    deliver(quick_producer(kafka), *[b"x" * 900_000] * 8, partition=0)
    assert [message.offset() for message in kafka.messages(TOPIC)] == [3, 4, 5, 6, 7]


def test_a_consumer_group_gets_messages_without_delay(kafka: EmbeddedKafka) -> None:
    """Subscribing works, and does not wait the three seconds of a real group's first rebalance."""
    deliver(quick_producer(kafka), b"1")
    config = {"group.id": "readers", "auto.offset.reset": "earliest", "log_level": 0}
    consumer = Consumer(config | {"bootstrap.servers": kafka.bootstrap_servers})
    consumer.subscribe([TOPIC])
    start = time.monotonic()
    message = consumer.poll(10)
    assert message is not None
    assert message.value() == b"1"
    assert time.monotonic() - start < 2.5
    consumer.close()


def test_start_and_stop_can_be_repeated() -> None:
    """Both may be called twice; each start is a new, empty Kafka."""
    kafka = EmbeddedKafka()
    kafka.stop()
    for _ in range(20):
        kafka.start()
        servers = kafka.bootstrap_servers
        kafka.start()
        assert kafka.bootstrap_servers == servers
        assert kafka.messages(TOPIC) == []
        assert deliver(quick_producer(kafka), b"1") == [None]
        kafka.stop()
        kafka.stop()


def test_two_at_a_time_are_strangers() -> None:
    """What one holds, fails or refuses is nothing to the other."""
    with EmbeddedKafka() as one, EmbeddedKafka() as other:
        one.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
        assert deliver(quick_producer(other), b"other") == [None]
        one.down()
        assert deliver(quick_producer(other), b"other") == [None]
        one.up()
        assert one.messages(TOPIC) == []


def test_what_is_not_started_says_so(kafka: EmbeddedKafka) -> None:
    """Neither before the start nor after the stop is anything done silently."""
    kafka.stop()
    for use in (lambda: kafka.bootstrap_servers, kafka.down, kafka.up, lambda: kafka.messages(TOPIC)):
        with pytest.raises(RuntimeError, match=r"does not run: use `with EmbeddedKafka\(\) as kafka:`"):
            use()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda _: EmbeddedKafka(brokers=0), "brokers: expected 1 to 100, got 0"),
        (lambda kafka: kafka.create_topic(TOPIC, 0), "partitions: expected 1 to 10000, got 0"),
        (lambda kafka: kafka.fail_next(KafkaError._MSG_TIMED_OUT), "code: expected -1 to 32767, got -192"),
        (lambda kafka: kafka.fail_next(10, 0), "n: expected 1 to 1000000, got 0"),
        (lambda kafka: kafka.slow(-1), "rtt_ms: expected 0 to 3600000, got -1"),
        (lambda kafka: kafka.consume(TOPIC, -1), "n: expected 0 to 10000000, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(kafka: EmbeddedKafka, wrong: Callable[[Any], object], message: str) -> None:
    """A number that the mock cluster would choke on is an error that names its range."""
    with pytest.raises(ValueError, match=message):
        wrong(kafka)
