"""Envelopes from Kafka as they arrive: what comes after the reader was started, of all partitions of its topics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from otel_kafka_exporter import DecodeError, OnexEnvelopeV1, decode
from otel_kafka_exporter.cli.admin import Admin, RefusedError
from otel_kafka_exporter.cli.question import Question
from otel_kafka_exporter.cli.tail.record import headers_of
from otel_kafka_exporter.process import monotonic

if TYPE_CHECKING:
    from confluent_kafka.admin._metadata import ClusterMetadata
    from typing_extensions import Self

# Of the exporter's librdkafka properties, those that a reader of the same cluster needs.
_CONNECTION = ("security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl.", "broker.address.", "client.dns.")
_CREATION_SECONDS = 3.0
_BATCH = 500


class ReaderError(Exception):
    """Kafka cannot be read: says what is wrong, and what to do."""


class Arrival(NamedTuple):
    """An envelope, and where it stands in Kafka."""

    envelope: OnexEnvelopeV1
    topic: str
    partition: int
    offset: int
    key: str


class EnvelopeReader:
    """Reads topics from where they end when `start` is called.

    Args:
        bootstrap_servers: the cluster.
        topics: their names.
        properties: librdkafka's, as the exporter has them; what concerns the connection is used.
    """

    def __init__(self, bootstrap_servers: str, topics: Iterable[str], properties: Mapping[str, Any]) -> None:
        self._servers = bootstrap_servers
        self._topics = tuple(topics)
        self._asked: Question[ClusterMetadata] | None = None
        self._connection = {name: value for name, value in properties.items() if name.startswith(_CONNECTION)}
        self._consumer = Consumer(
            {
                **self._connection,
                "bootstrap.servers": bootstrap_servers,
                "group.id": "otel-kafka",  # librdkafka insists; no group is joined, since partitions are assigned
                "client.id": "otel-kafka",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": True,
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,  # nothing of its own on stderr
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asked is None or not self._asked.is_open:  # else a thread is in it, and ends with the process
            self._consumer.close()

    def start(self, seconds: float) -> None:
        """Find the topics, and note where each partition ends. Topics that are missing are made, where Kafka does that.

        Args:
            seconds: for Kafka to answer.

        Raises:
            ReaderError: it does not, or topics are missing.
        """
        partitions = self._partitions(seconds)
        if missing := [topic for topic in self._topics if topic not in partitions]:
            partitions |= self._create(missing)
        if missing := [topic for topic in self._topics if topic not in partitions]:
            raise ReaderError(self._how_to_create(missing))
        self._consumer.assign([end for topic in self._topics for end in self._ends(topic, partitions[topic])])

    def read(self, seconds: float) -> list[Arrival]:
        """What arrives in so many seconds, by the records' time."""
        messages = self._consumer.consume(_BATCH, timeout=seconds)
        return sorted(self._arrivals(messages), key=lambda arrival: arrival.envelope.timestamp)

    def _arrivals(self, messages: Iterable[Message]) -> Iterator[Arrival]:
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART):
                    raise ReaderError(f"topic {message.topic()} cannot be read: {error.str()}")
                continue  # it passes, and librdkafka goes on
            try:
                envelope = decode(message.value() or b"", headers_of(message))
            except DecodeError:
                continue  # of another writer
            yield Arrival(
                envelope,
                message.topic() or "",
                message.partition() or 0,
                message.offset() or 0,
                (message.key() or b"").decode(errors="replace"),
            )

    def _partitions(self, seconds: float) -> dict[str, list[int]]:
        """The partitions of the topics that exist and can be read already."""
        try:
            found = Admin(self._servers, self._connection, seconds).metadata().topics
        except RefusedError as error:
            text = f"no Kafka answers at {self._servers} within {seconds:g} s: {error}"
            raise ReaderError(text) from None
        return {
            topic: sorted(found[topic].partitions)
            for topic in self._topics
            if topic in found and _has_leaders(found[topic])
        }

    def _create(self, missing: list[str]) -> dict[str, list[int]]:
        deadline = monotonic() + _CREATION_SECONDS
        partitions: dict[str, list[int]] = {}
        while monotonic() < deadline and not partitions.keys() >= set(missing):
            for topic in missing:
                try:
                    left = max(0.0, deadline - monotonic())
                    self._asked = Question(partial(self._consumer.list_topics, topic, timeout=left))
                    found = self._asked.answer(time.sleep).topics[topic]
                except KafkaException:
                    continue
                if _has_leaders(found):
                    partitions[topic] = sorted(found.partitions)
            self._consumer.poll(0.05)  # a pause
        return partitions

    def _ends(self, topic: str, partitions: list[int]) -> Iterator[TopicPartition]:
        for partition in partitions:
            try:
                place = TopicPartition(topic, partition)
                _, end = self._consumer.get_watermark_offsets(place, timeout=5.0)
            except KafkaException as error:
                raise ReaderError(f"topic {topic} cannot be read: {error.args[0].str()}") from None
            yield TopicPartition(topic, partition, end)

    def _how_to_create(self, missing: list[str]) -> str:
        command = f"\n  kafka-topics.sh --bootstrap-server {self._servers} --create --topic "
        return (
            f"Kafka at {self._servers} has no topic {', '.join(missing)} and makes none on first use."
            f" Create what is missing, and try again:" + "".join(command + topic for topic in missing)
        )


def _has_leaders(topic: Any) -> bool:
    """Whether a topic is ready; a new one has no partitions at first, then partitions without a leader."""
    return (
        topic.error is None
        and bool(topic.partitions)
        and all(partition.leader >= 0 for partition in topic.partitions.values())
    )
