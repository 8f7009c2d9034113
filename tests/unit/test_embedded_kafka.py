"""The embedded Kafka: what tests and demos that stand on it may rely on."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from otel_kafka_exporter.testing import _mock_cluster
from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "logs"


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as kafka:
        yield kafka


def quick_producer(kafka: EmbeddedKafka, **config: Any) -> Producer:
    """A producer that says nothing and comes back within milliseconds."""
    quick = {"linger.ms": 0, "log_level": 0, "retry.backoff.ms": 1, "reconnect.backoff.ms": 5}
    quick |= {"reconnect.backoff.max.ms": 20, "bootstrap.servers": kafka.bootstrap_servers}
    return Producer(quick | {name.replace("_", "."): value for name, value in config.items()})


def deliver(producer: Producer, *values: bytes, **record: Any) -> list[int | None]:
    """Produce one after the other, each alone in its request; the error code of each, None for delivered."""
    codes: list[int | None] = []
    for value in values:
        producer.produce(TOPIC, value, on_delivery=lambda error, _: codes.append(error and error.code()), **record)
        assert producer.flush(10) == 0
    return codes


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own; what it printed."""
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def address(kafka: EmbeddedKafka) -> tuple[str, int]:
    host, port = kafka.bootstrap_servers.split(":")
    return host, int(port)


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
    with pytest.raises(TimeoutError, match="expected 1 messages in 'logs', found no such topic in 0.1 s$"):
        kafka.consume(TOPIC, 1, timeout=0.1)
    kafka.create_topic(TOPIC)


def test_too_few_messages_are_a_timeout_that_counts_them(kafka: EmbeddedKafka) -> None:
    """The error says what was expected and what came."""
    deliver(quick_producer(kafka), b"1")
    with pytest.raises(TimeoutError, match="expected 2 messages in 'logs', got 1 in 0.1 s"):
        kafka.consume(TOPIC, 2, timeout=0.1)


@pytest.mark.parametrize(("brokers", "partitions"), [(1, 4), (1, 1), (2, 7), (3, 6), (4, 12)])
def test_topics_made_on_first_use_get_the_instances_partitions(brokers: int, partitions: int) -> None:
    """The number holds for topics that only a client asked for, and for those created without one."""
    with EmbeddedKafka(brokers=brokers, partitions=partitions) as kafka:
        assert kafka.bootstrap_servers.count("127.0.0.1:") == brokers
        kafka.create_topic("created")
        producer = quick_producer(kafka)
        found = [len(producer.list_topics(topic, timeout=5).topics[topic].partitions) for topic in (TOPIC, "created")]
        assert found == [partitions, partitions]


def test_a_partition_count_that_cannot_be_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where librdkafka's default is not found, only that default works, and the error names the way out."""
    monkeypatch.setattr(_mock_cluster, "_allocated", lambda _: 0)
    with pytest.raises(RuntimeError, match=r"create_topic\(topic, partitions=6\) before the first use"):
        EmbeddedKafka(partitions=6).start()
    with EmbeddedKafka() as kafka:
        assert deliver(quick_producer(kafka), b"1") == [None]


def test_create_topic_sets_the_partitions_once(kafka: EmbeddedKafka) -> None:
    """An explicit topic has the partitions asked for; creating it again says that it exists."""
    kafka.create_topic(TOPIC, partitions=9)
    assert len(quick_producer(kafka).list_topics(TOPIC, timeout=5).topics[TOPIC].partitions) == 9
    with pytest.raises(KafkaException) as raised:
        kafka.create_topic(TOPIC, partitions=9)
    assert raised.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


def test_down_refuses_connections_until_up(kafka: EmbeddedKafka) -> None:
    """Down is a refused connection and not a silent one, at a port that stays the brokers' own."""
    for _ in range(3):
        kafka.down()
        kafka.down()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address(kafka), timeout=5)
        kafka.up()
        kafka.up()
        socket.create_connection(address(kafka), timeout=5).close()


def test_down_breaks_open_connections(kafka: EmbeddedKafka) -> None:
    """A client that is connected sees the end at once."""
    with socket.create_connection(address(kafka), timeout=5) as connection:
        quick_producer(kafka).list_topics(timeout=5)  # the broker has accepted everybody before this one
        kafka.down()
        try:
            assert connection.recv(1) == b""
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("idempotent", [False, True])
def test_delivery_goes_on_after_an_outage(kafka: EmbeddedKafka, idempotent: bool) -> None:  # noqa: FBT001
    """What was there stays, and what was in flight or queued while the brokers were down is delivered, once."""
    producer = quick_producer(kafka, enable_idempotence=idempotent, acks="all")
    assert deliver(producer, b"before", partition=0) == [None]
    kafka.slow(60_000)
    producer.produce(TOPIC, b"in flight", partition=0)
    while producer.flush(0.01) and len(kafka_values(kafka)) < 2:  # kept, and its acknowledgement held back
        pass
    kafka.down()
    kafka.slow(0)
    producer.produce(TOPIC, b"meanwhile", partition=0)
    assert producer.flush(0.05) == 2
    kafka.up()
    assert producer.flush(10) == 0
    expected = [b"before", b"in flight", b"meanwhile"]
    assert sorted(set(kafka_values(kafka))) == expected
    if idempotent:
        assert kafka_values(kafka) == expected
