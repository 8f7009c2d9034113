"""An embedded Kafka for tests and demos."""

from __future__ import annotations

import contextlib
import ctypes
import uuid
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from otel_kafka_exporter.process import monotonic
from otel_kafka_exporter.testing._mock_cluster import ALL_BROKERS, AUTO_PARTITIONS, MAX_REPLICAS, PRODUCE, MockCluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

_READ_TIMEOUT = 10.0
_STOP_TIMEOUT = 5.0
_PAUSE = 0.01  # seconds between two looks for what is not there yet
_MAX_INT16 = 2**15 - 1
_READING = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",  # a partition may lose its oldest while it is read
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,
    "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 100,
    "log_level": 0,
}
_T = TypeVar("_T")


class EmbeddedKafka:
    """Kafka brokers inside this process, on loopback ports; any client of any process can use them.

        with EmbeddedKafka() as kafka:
            exporter = KafkaLogExporter(bootstrap_servers=kafka.bootstrap_servers)
            ...
            [message] = kafka.consume("omninode.logging.application.v1", 1)

    The brokers are librdkafka's mock cluster: the real protocol (produce, idempotent and transactional too,
    fetch, consumer groups, metadata), without TLS or authentication, started and stopped within milliseconds.
    They live until `stop()` or the end of the process. What sets them apart from production's:

    - A partition keeps only its newest 5 MiB (as sent, so compressed) or 100,000 batches, and in memory.
    - Topics are made on first use. Their names, record sizes, timestamps and, but for transactions, producers'
      sequence numbers are not checked: an idempotent producer's retry is kept twice. No offsets by time.
    - Nothing is replicated, no leader moves while brokers are away. The next start is empty, at other ports.

    A forked child may read (`consume`, `messages`) and have clients of its own; `stop()` does nothing there,
    and what changes the brokers raises RuntimeError. Threads may share an instance once it is started.

    Args:
        brokers: how many, 1 to 100.

    Raises:
        ValueError: a number out of its range, here and in every method.
    """

    def __init__(self, *, brokers: int = 1) -> None:
        self._brokers = _in_range("brokers", brokers, 1, 100)
        self._cluster: MockCluster | None = None

    def start(self) -> None:
        """Start the brokers, unless they run. RuntimeError when this librdkafka cannot; says what to do."""
        if self._cluster is None:
            self._cluster = MockCluster(self._brokers)

    def stop(self) -> None:
        """Stop the brokers, forget their records; nothing happens when they do not run, or in a forked child.

        Takes milliseconds, while they are down too; TimeoutError after 5 seconds.
        """
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close(_STOP_TIMEOUT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:port,…`, as clients' `bootstrap.servers` takes it. RuntimeError when not started."""
        return self._running().bootstrap_servers

    def create_topic(self, topic: str, partitions: int = AUTO_PARTITIONS) -> None:
        """Create a topic. KafkaException(TOPIC_ALREADY_EXISTS) also when a client made it by asking for it."""
        count = _in_range("partitions", partitions, 1, 10_000)
        replicas = min(MAX_REPLICAS, self._brokers)
        self._running().command("topic_create", topic.encode(), count, replicas)

    def topics(self) -> list[str]:
        """The topics that there are, by name. TimeoutError when the brokers do not tell within 10 seconds."""
        reader = _Reader(self.bootstrap_servers, "", _READ_TIMEOUT, "the names of all topics", [])
        with contextlib.closing(reader):
            return sorted(reader.topics())

    def down(self) -> None:
        """Make all brokers unreachable: connections break, new ones are refused. Records stay."""
        self._running().command("broker_set_down", ALL_BROKERS)

    def up(self) -> None:
        """Make all brokers reachable again, at the same ports. Clients come back by their own backoff."""
        self._running().command("broker_set_up", ALL_BROKERS)

    def slow(self, rtt_ms: int) -> None:
        """Hold every answer back for `rtt_ms` milliseconds; 0 ends it. Records are kept before that."""
        self._running().command("broker_set_rtt", ALL_BROKERS, _in_range("rtt_ms", rtt_ms, 0, 3_600_000))

    def fail_next(self, code: int | KafkaError, n: int = 1) -> None:
        """Answer the next `n` Produce requests with an error, their records not kept.

        librdkafka sends a batch of one partition per request, and its own retries are requests too. Calls
        add up; neither `down()` nor `up()` clears what is left.

        Args:
            code: such as `KafkaError.MSG_SIZE_TOO_LARGE`. `NO_ERROR` lets `n` requests pass; `_TRANSPORT`
                breaks the connection instead of answering.
            n: 1 to 1,000,000.
        """
        number = code.code() if isinstance(code, KafkaError) else code
        if number != KafkaError._TRANSPORT:  # noqa: SLF001 - public, in spite of its spelling
            _in_range("code", number, -1, _MAX_INT16)
        codes = (ctypes.c_int * _in_range("n", n, 1, 1_000_000))(*[number] * n)
        self._running().command("push_request_errors_array", PRODUCE, n, codes)

    def consume(self, topic: str, n: int, timeout: float = _READ_TIMEOUT) -> list[Message]:
        """Wait for `n` messages from the start of a topic; by partition, then by offset.

        Every call reads anew and leaves nothing behind, neither a topic nor a position. A topic that does not
        exist is waited for too. Of more than `n`, each partition gives its first ones, chance decides how many.

        Raises:
            TimeoutError: fewer came within `timeout` seconds; says how many, and what the client complained of.
        """
        _in_range("n", n, 0, 10_000_000)
        found: list[Message] = []
        reader = _Reader(self.bootstrap_servers, topic, timeout, f"{n} messages in {topic!r}", found)
        with contextlib.closing(reader):
            partitions: list[int] = []
            while n and not partitions:
                partitions = reader.partitions()
            reader.assign(dict.fromkeys(partitions, OFFSET_BEGINNING))
            while len(found) < n:
                message = reader.next()
                if message.error() is None:
                    found.append(message)
        return sorted(found, key=_place)

    def messages(self, topic: str) -> list[Message]:
        """What is in a topic now, without waiting for more; by partition, then by offset.

        Empty for a topic that does not exist. TimeoutError when the brokers do not give it within 10 seconds.
        """
        found: list[Message] = []
        reader = _Reader(self.bootstrap_servers, topic, _READ_TIMEOUT, f"all messages in {topic!r}", found)
        with contextlib.closing(reader):
            ranges = {partition: reader.watermarks(partition) for partition in reader.partitions()}
            ends = {partition: high for partition, (low, high) in ranges.items() if high > low}
            reader.assign({partition: ranges[partition][0] for partition in ends})
            while ends:
                message = reader.next()
                partition, offset = _place(message)
                end = ends.get(partition, 0)
                if message.error() is None and offset < end:
                    found.append(message)
                # The event counts too: a transaction's last offset is a marker, which comes as no message.
                if offset >= end - 1:
                    ends.pop(partition, None)
        return sorted(found, key=_place)

    def _running(self) -> MockCluster:
        if self._cluster is None:
            raise RuntimeError("the embedded Kafka does not run: use `with EmbeddedKafka() as kafka:` or start()")
        return self._cluster


class _Reader:
    """A consumer for one pass over a topic, which ends within `timeout` seconds from now with a TimeoutError: that
    says what was `expected`, and how many messages its user had `found`."""

    def __init__(self, servers: str, topic: str, timeout: float, expected: str, found: list[Message]) -> None:
        self._topic, self._timeout, self._expected, self._found = topic, timeout, expected, found
        self._deadline = monotonic() + timeout
        self._topic_exists: bool | None = None  # None until brokers said so
        self._problems: list[object] = []
        config = {"bootstrap.servers": servers, "group.id": f"embedded-kafka-{uuid.uuid4()}"}
        self._consumer = Consumer({**config, **_READING, "error_cb": self._problems.append})
        self.close = self._consumer.close

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left > 0:
            return left
        got = {None: "found no broker", False: "found no such topic", True: f"got {len(self._found)}"}[
            self._topic_exists
        ]
        # While a topic is not there, nothing is wrong but the very last request, which had no time left.
        why = f" (last problem: {self._problems[-1]})" if self._problems and self._topic_exists is not False else ""
        raise TimeoutError(f"expected {self._expected}, {got} in {self._timeout} s{why}")

    def partitions(self) -> list[int]:
        """The topic's partitions; none when it does not exist, after a pause for the caller's next try."""
        topics = self.topics()
        self._topic_exists = self._topic in topics
        if self._topic_exists:
            return topics[self._topic]
        self._consumer.poll(min(self._left(), _PAUSE))
        return []

    def topics(self) -> dict[str, list[int]]:
        """The partitions of each topic."""
        # All topics are asked for: to ask for one by its name would make it.
        found = self._retry(lambda left: self._consumer.list_topics(timeout=left)).topics
        return {name: sorted(topic.partitions) for name, topic in found.items()}

    def watermarks(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self._topic, partition)
        return self._retry(lambda left: self._consumer.get_watermark_offsets(place, timeout=left))

    def _retry(self, request: Callable[[float], _T]) -> _T:
        while True:
            try:
                return request(self._left())
            except KafkaException as problem:  # noqa: PERF203 - the loop is there for the error
                self._problems.append(problem.args[0])
                self._consumer.poll(min(self._left(), _PAUSE))

    def assign(self, starts: dict[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._topic, *start) for start in starts.items()])

    def next(self) -> Message:
        """A message, or the event (its error is _PARTITION_EOF) that a partition's end was reached."""
        while True:
            message = self._consumer.poll(self._left())
            if message is None:
                continue
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - public too
                return message
            self._problems.append(error)


def _place(message: Message) -> tuple[int, int]:
    return message.partition() or 0, message.offset() or 0


def _in_range(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {value}")
    return value
