"""Delivery reports: collected while the client is called, and acted upon when that call is over."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from confluent_kafka import KafkaError, Message

from otel_kafka_exporter.process import RLock, monotonic

#: How long a round of reports lasts at least, if there are so many.
LEAST_ROUND = 0.02
#: What a report is about.
_About = TypeVar("_About")


class EnoughServedError(Exception):
    """A report's callback raises it to end a round of reports; librdkafka keeps the rest for the next one.

    One call to the client would serve all that are there, be they a hundred thousand, and each of them waits for the
    interpreter beside threads that compute.
    """


class Reports(Generic[_About]):
    """The reports of one process's client.

    Its callbacks only collect: within them each lock and each call counts, since librdkafka asks for the interpreter
    once a report. Whoever has served a round acts upon all of them together.

    Attributes:
        collected: what each is about, the error and the message; in the order in which they came.
        ends_at: when the present round has lasted long enough, by the monotonic clock, so that a callback ends it; of
            whichever thread began one last.
        settle: acts upon what was collected. Called with no call to the client under way in the same thread.
        lock: keeps records from being handed over.
        renewed: has all come back that the client before the one with this number had; called with the lock held.
    """

    __slots__ = ("collected", "ends_at", "lock", "renewed", "settle")

    def __init__(self) -> None:
        self.collected: deque[tuple[_About, KafkaError | None, Message]] = deque()
        self.ends_at = math.inf
        self.settle: Callable[[], object] = self.collected.clear
        self.lock = RLock()
        self.renewed: Callable[[int], object] = lambda _number: None

    def begin_round(self, seconds: float) -> float:
        """A round of reports begins, and lasts for about so long at most; its beginning by the monotonic clock."""
        now = monotonic()
        self.ends_at = now + max(seconds, LEAST_ROUND)
        return now
