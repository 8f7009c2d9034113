"""What a publisher needs of the way that its events take."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaException

from otel_kafka_exporter.errors import OtelKafkaError
from otel_kafka_exporter.process import DeliveryStats
from otel_kafka_exporter.records import Publication


class KafkaError(OtelKafkaError, KafkaException):
    """No broker, or no Schema Registry, answered when a publisher was started: says which, why, and what to do.

    `confluent_kafka.KafkaError` is no exception class; this one can be caught.
    """


class Route(Protocol):
    """How a publisher's events leave it. Threads and event loops may share one."""

    def connect(self, seconds: float) -> None:
        """Be ready within so many seconds; blocks. Raises `KafkaError` when that cannot be, and is closed then."""

    async def publish(self, publication: Publication) -> bool:
        """Publish, and wait for the outcome; whether that is a good one."""

    async def hand_over(self, publication: Publication) -> bool:
        """Publish without waiting; whether it was taken."""

    def stats(self) -> DeliveryStats:
        """How many events are in which state."""

    def close(self) -> None:
        """Wait for what is on its way, for a bounded time, and end; blocks."""
