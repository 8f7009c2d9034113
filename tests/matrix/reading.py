"""What arrives at the brokers, and when."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaException, Message, TopicPartition


class Arrival(NamedTuple):
    """A record that a consumer has read.

    Attributes:
        topic, partition, offset: where it is.
        at: when it arrived at its broker, by the wall clock; when it was read, where the broker does not say.
    """

    topic: str
    partition: int
    offset: int
    at: float


class Reader:
    """Reads topics from their start on while they are written, in a thread of its own, so that a topic may go.

    Attributes:
        arrivals: for each text, each time that it was read, in the order of reading.
    """

    def __init__(self, servers: str, topics: dict[str, int]) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "matrix",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": 1000,
                "fetch.wait.max.ms": 50,
                "socket.timeout.ms": 3000,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(name, n, 0) for name, count in topics.items() for n in range(count)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.arrivals: dict[str, list[Arrival]] = {}
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            # A partition that is away has nothing to read; it is asked for again by itself.
            with contextlib.suppress(KafkaException):
                for message in self._consumer.consume(500, 0.1):
                    if message.error() is None:
                        self._arrived(message)

    def _arrived(self, message: Message) -> None:
        kind, milliseconds = message.timestamp()
        at = milliseconds / 1000 if kind == TIMESTAMP_LOG_APPEND_TIME else time.time()
        payload = json.loads(message.value() or b"{}")["payload"]
        text = payload["resource"] if "resource" in payload else payload["message"]
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        self.arrivals.setdefault(text, []).append(Arrival(topic, partition, offset, at))

    def close(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()
