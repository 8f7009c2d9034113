"""The delivery of an exporter that cannot deliver, since its settings are wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from otel_kafka_exporter.process import DeliveryStats, Metrics, RLock, locked, owns

from .accounting import Ledger


class NoDelivery:
    """Delivers nothing: every record is dropped with one and the same reason.

    Args:
        reason: that reason.
        metrics: told of it, since nobody holds an exporter that OpenTelemetry's own set-up made.
    """

    def __init__(self, reason: str, metrics: Metrics) -> None:
        self._reason = reason
        self._ledger = Ledger()
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._uncounted: deque[int] = deque()  # how many each call has handed over
        metrics.observe(self)

    def stats(self) -> DeliveryStats:
        self._count()
        return self._ledger.stats()

    def outbox_usage(self) -> None:
        return None

    def hand_over(self, source: object, builder: object) -> None:
        self.deliver([source], builder)

    put = hand_over

    def deliver(self, sources: Sequence[object], _builder: object) -> bool:
        self._uncounted.append(len(sources))
        self._count()
        return not sources

    def _count(self) -> None:
        """Count them, unless others keep the lock, or a signal handler has interrupted that: then later."""
        if not owns(self._lock):
            locked(self._lock, self._count_locked, lambda: None)

    def _count_locked(self) -> None:
        while self._uncounted:
            self._ledger.lose(self._reason, self._uncounted.popleft())

    def flush(self, _seconds: float) -> bool:
        return True

    def close(self, seconds: float) -> None:
        pass
