"""What a cluster says of a topic of ours, and what is recommended for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otel_kafka_exporter.records import Category

_DAY_MS = 86_400_000


class Recommended(NamedTuple):
    """How a topic is best made; docs/troubleshooting.md has the reasons.

    Attributes:
        partitions: at least.
        replicas: at least, where there are as many brokers.
        retention_ms: at least.
    """

    partitions: int
    replicas: int
    retention_ms: int


RECOMMENDED: dict[Category, Recommended] = {
    "application": Recommended(6, 3, 7 * _DAY_MS),
    "audit": Recommended(3, 3, 30 * _DAY_MS),
    "security": Recommended(3, 3, 90 * _DAY_MS),
}


class Partition(NamedTuple):
    """Who has a partition.

    Attributes:
        leader: a broker's ID, -1 when there is none.
        replicas: IDs of brokers.
        in_sync: those of them that have all.
    """

    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class TopicFacts(NamedTuple):
    """A topic as the cluster describes it.

    Attributes:
        name: in full.
        partitions: in their order; none when the topic is not there.
        operations: the names of what we may do to it; None when the cluster does not say.
        config: its configuration; None when it may not be read.
    """

    name: str
    partitions: tuple[Partition, ...]
    operations: frozenset[str] | None
    config: Mapping[str, str] | None

    def number(self, key: str, default: int) -> int:
        """A number of its configuration."""
        try:
            return int((self.config or {}).get(key, default))
        except ValueError:
            return default
