"""The partition of a key is known before there is a report."""

from __future__ import annotations

import pytest
from confluent_kafka import Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.kafka.partitions import murmur2, partitioner
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.strategies import QUICK


@pytest.mark.parametrize("name", ["murmur2_random", "murmur2", "consistent_random", "consistent"])
def test_it_is_where_librdkafka_puts_it(name: str, embedded_kafka: EmbeddedKafka) -> None:
    """For keys of every length that matters to the hash, the partition is the one that the report names."""
    partition_of = partitioner(name)
    assert partition_of is not None
    embedded_kafka.create_topic("keys", 7)
    producer = Producer({"bootstrap.servers": embedded_kafka.bootstrap_servers, "partitioner": name})
    reported: dict[bytes, int | None] = {}
    keys = [bytes(range(n, n + length)) for length in range(1, 20) for n in (0, 100, 200)]

    def on_report(_: object, message: Message) -> None:
        reported[message.key() or b""] = message.partition()

    for key in keys:
        producer.produce("keys", b"", key, on_delivery=on_report)
    producer.flush(10)
    assert reported == {key: partition_of(key, 7) for key in keys}


def test_known_hashes() -> None:
    """The values of the Java client's own test."""
    assert [murmur2(text) for text in (b"21", b"foobar", b"a-little-bit-long-string")] == [
        (-973932308) & 0xFFFFFFFF,
        (-790332482) & 0xFFFFFFFF,
        (-985981536) & 0xFFFFFFFF,
    ]


@QUICK
@given(st.binary(min_size=1), st.integers(1, 1000))
def test_it_is_one_that_exists(key: bytes, partitions: int) -> None:
    """Whatever the key, its partition is one of the topic's."""
    partition_of = partitioner("murmur2_random")
    assert partition_of is not None
    assert 0 <= partition_of(key, partitions) < partitions


@pytest.mark.parametrize("name", ["random", "fnv1a", "fnv1a_random"])
def test_others_are_not_guessed(name: str) -> None:
    """With a partitioner that is not known here, nothing claims to know a key's partition."""
    assert partitioner(name) is None
