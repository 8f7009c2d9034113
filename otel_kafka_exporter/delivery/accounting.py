"""Counting what becomes of records."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType

from otel_kafka_exporter.process import DeliveryStats

from .steps import COUNTED_AS, State


class Ledger:
    """How many records one process has handed over, and how many of them are in which state.

    Each count is one of its own, and a step takes a record out of one and puts it into another: that accepted is the
    sum of the others is a check, and no definition. Whoever owns the records' states guards it with the same lock.

    Attributes:
        accepted: records handed over, or adopted.
        counts: records by what they are counted as; what is dropped is in `dropped` alone.
        dropped: by reason.
        truncated: values that were cut.
    """

    __slots__ = ("accepted", "counts", "dropped", "truncated")

    def __init__(self) -> None:
        self.accepted = 0
        self.counts = {"in_flight": 0, "spooled": 0, "delivered": 0, "dead_lettered": 0}
        self.dropped: Counter[str] = Counter()
        self.truncated = 0

    def enter(self, state: State, records: int) -> None:
        """Records are there that were not."""
        self.accepted += records
        self.counts[COUNTED_AS[state]] += records

    def leave(self, state: State, reason: str, records: int) -> None:
        """Records of a state are gone, for this reason."""
        dropped = self.dropped[reason] + records
        # No call from here on, at which Ctrl-C could come in between.
        self.counts[COUNTED_AS[state]] -= records
        self.dropped[reason] = dropped

    def lose(self, reason: str, records: int) -> None:
        """Records were handed over, and are gone at once."""
        dropped = self.dropped[reason] + records
        self.accepted += records
        self.dropped[reason] = dropped

    @property
    def in_flight(self) -> int:
        """Records that have no outcome yet."""
        return self.counts["in_flight"]

    def stats(self, deferred: int = 0) -> DeliveryStats:
        """The counts of this moment.

        Args:
            deferred: records that were handed over and could not be counted yet.
        """
        counts = self.counts
        return DeliveryStats(
            accepted=self.accepted + deferred,
            delivered=counts["delivered"],
            spooled=counts["spooled"],
            dead_lettered=counts["dead_lettered"],
            in_flight=counts["in_flight"] + deferred,
            dropped=MappingProxyType(dict(self.dropped)),
            truncated=self.truncated,
        )
