"""Counting what becomes of records."""

from __future__ import annotations

import threading
from collections import Counter
from types import MappingProxyType

from .outcome import DeliveryStats


class Ledger:
    """How many records one process has handed over, and how many of them are in which state.

    In flight is what is left, so the sum is right at every moment, by construction.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start from nothing, as a forked child does: what its parent handed over is its parent's to count."""
        self._changed = threading.Condition()
        self._accepted = 0
        self._delivered = 0
        self._truncated = 0
        self._dropped: Counter[str] = Counter()

    def accept(self, records: int) -> None:
        """Records are handed over."""
        with self._changed:
            self._accepted += records

    def settle(self, delivered: int, dropped: Counter[str], truncated: int) -> None:
        """Records have their outcomes."""
        with self._changed:
            self._delivered += delivered
            self._dropped.update(dropped)
            self._truncated += truncated
            self._changed.notify_all()

    def wait_until_settled(self, seconds: float) -> bool:
        """Wait until nothing is in flight, at most for so long; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight() == 0, seconds)

    def _in_flight(self) -> int:
        return self._accepted - self._delivered - self._dropped.total()

    def stats(self) -> DeliveryStats:
        """The counts of this moment."""
        with self._changed:
            dropped = dict(self._dropped)
            return DeliveryStats(
                accepted=self._accepted,
                delivered=self._delivered,
                spooled=0,
                dead_lettered=0,
                in_flight=self._in_flight(),
                dropped=MappingProxyType(dropped),
                truncated=self._truncated,
            )
