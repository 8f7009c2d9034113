"""Counting what becomes of records."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType

from otel_kafka_exporter.process import DeliveryStats


class Ledger:
    """How many records one process has handed over, and how many of them are in which state.

    In flight is what is left, so the sum is right at every moment, by construction. Whoever owns the records' states
    guards it with the same lock.
    """

    __slots__ = ("accepted", "dead_lettered", "delivered", "dropped", "spooled", "truncated")

    def __init__(self) -> None:
        self.accepted = 0
        self.delivered = 0
        self.spooled = 0
        self.dead_lettered = 0
        self.truncated = 0
        self.dropped: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        return self.accepted - self.delivered - self.spooled - self.dead_lettered - self.dropped.total()

    def stats(self, deferred: int = 0) -> DeliveryStats:
        """The counts of this moment.

        Args:
            deferred: records that were handed over and could not be counted yet.
        """
        return DeliveryStats(
            accepted=self.accepted + deferred,
            delivered=self.delivered,
            spooled=self.spooled,
            dead_lettered=self.dead_lettered,
            in_flight=self.in_flight + deferred,
            dropped=MappingProxyType(dict(self.dropped)),
            truncated=self.truncated,
        )
