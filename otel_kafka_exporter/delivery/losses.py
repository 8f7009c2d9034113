"""Lines about losses: each reason has its own, and nothing else that is said withholds one."""

from __future__ import annotations

from collections import Counter

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.process import QUIET_SECONDS, locked, monotonic, warn_at_any_pace

from .rest import SETTLED_BY_OPERATOR
from .state import DeliveryState


class Losses:
    """Says how many records were dropped, and why.

    A reason has a line at once, and another one a minute later at the earliest, with all that there were meanwhile: the
    lines' numbers add up to what was dropped.

    Args:
        state: counts them.
        producer: says what it last heard.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer) -> None:
        self._state = state
        self._producer = producer
        self._told: Counter[str] = Counter()
        self._next: dict[str, float] = {}

    def tell(self) -> None:
        """Say what there is to say by now. No lock may be held."""
        self._tell(monotonic())

    def tell_rest(self) -> None:
        """Say all that was not said yet: there may be no later moment."""
        self._tell(float("inf"))

    def _tell(self, now: float) -> None:
        if not self._state.ledger.dropped:  # as mostly, and then the lock is left to others
            return
        due = locked(self._state.lock, self._due, lambda _: [], now)
        if not due:
            return
        cause = self._producer.trouble.cause(self._state.acknowledged)
        for reason, records in due:
            warn_at_any_pace("log records dropped: %d, because of %s%s", records, reason, cause)

    def _due(self, now: float) -> list[tuple[str, int]]:
        """The reasons of which there is something to say, and how many records more."""
        due = []
        for reason, records in self._state.ledger.dropped.items():
            more = records - self._told[reason]
            if more and reason != SETTLED_BY_OPERATOR and now >= self._next.get(reason, 0.0):
                due.append((reason, more))
                self._told[reason] = records
                self._next[reason] = monotonic() + QUIET_SECONDS
        return due
