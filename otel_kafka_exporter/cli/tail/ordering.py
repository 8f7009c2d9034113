"""Records of many partitions in the order of their times, with a bounded memory.

While history is read, a record is given out once every partition has come past its time. While following, once it has
waited for a moment, in which those of other partitions may come.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .record import Record

#: Records within one partition may be out of order by so much: several processes write to it.
SLACK_MILLISECONDS = 1_000
WINDOW_SECONDS = 0.1
#: Bytes of values that wait, beyond which partitions that are ahead have to pause.
MAX_BYTES = 8 * 1024 * 1024

Place = tuple[str, int]  # topic and partition


class Ordered(NamedTuple):
    """A record in its turn.

    Attributes:
        record: the record.
        late: whether one with a later time was given out before.
    """

    record: Record
    late: bool


class Ordering:
    """Takes records by partition, and gives them out by time.

    Args:
        places: the partitions whose history is read.
        clock: the time, in Unix seconds.
    """

    def __init__(self, places: Iterable[Place], clock: Callable[[], float] = time.time) -> None:
        self._progress: dict[Place, float] = dict.fromkeys(places, -math.inf)
        self._clock = clock
        self._heap: list[tuple[tuple[int, str], int, Record]] = []
        self._arrivals: deque[tuple[float, int]] = deque()  # of those that wait for a moment
        self._given: set[int] = set()  # of these, who were given out before the first of them
        self._numbers = itertools.count()
        self._latest: tuple[float, str] = (-math.inf, "")
        self._bytes = 0

    def add(self, record: Record, now: float) -> None:
        """Take a record.

        Args:
            record: the record.
            now: the monotonic clock, in seconds.
        """
        number = next(self._numbers)
        heapq.heappush(self._heap, (record.time, number, record))
        self._bytes += _size(record)
        if not self._progress:
            self._arrivals.append((now, number))

    def passed(self, place: Place, milliseconds: int) -> None:
        """A partition's history has come so far."""
        if milliseconds > self._progress.get(place, math.inf):
            self._progress[place] = milliseconds

    def finished(self, place: Place) -> None:
        """A partition's history is at its end."""
        if self._progress.pop(place, None) is not None and not self._progress:
            self._arrivals.extend((-math.inf, number) for _, number, _ in self._heap)

    @property
    def is_history(self) -> bool:
        """Whether history is still being read."""
        return bool(self._progress)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that partitions that are ahead have to pause."""
        return self._bytes > MAX_BYTES

    def ahead(self) -> list[Place]:
        """The partitions that have come further than the one that all wait for."""
        least = min(self._progress.values(), default=math.inf)
        return [place for place, at in self._progress.items() if at > least]

    def ready(self, now: float) -> Iterator[Ordered]:
        """Those whose turn it is.

        Args:
            now: the monotonic clock, in seconds.
        """
        if self._progress:
            yield from self._passed_by_all(min(self._progress.values()))
            return
        # With one that has waited for long enough come all that are before it.
        while self._arrivals and self._arrivals[0][0] <= now - WINDOW_SECONDS:
            yield self._pop()

    def _passed_by_all(self, upto: float) -> Iterator[Ordered]:
        # Where too many wait, memory goes before order: first without the slack, then whatever the others may bring.
        while self._heap:
            slack = 0 if self.is_full else SLACK_MILLISECONDS
            if self._heap[0][0][0] > upto - slack and self._bytes <= 2 * MAX_BYTES:
                return
            yield self._pop()

    def rest(self) -> Iterator[Ordered]:
        """All that are left."""
        while self._heap:
            yield self._pop()

    def wait(self, now: float) -> float:
        """Seconds until the next one's turn while following."""
        return max(0.0, self._arrivals[0][0] + WINDOW_SECONDS - now) if self._arrivals else math.inf

    def _pop(self) -> Ordered:
        time_, number, record = heapq.heappop(self._heap)
        self._bytes -= _size(record)
        if self._arrivals:
            self._given.add(number)
        while self._arrivals and self._arrivals[0][1] in self._given:
            self._given.remove(self._arrivals.popleft()[1])
        late = time_ < self._latest
        # After a record from the future everything would be late.
        if time_[0] <= self._clock() * 1000 + SLACK_MILLISECONDS:
            self._latest = max(self._latest, time_)
        return Ordered(record, late)


def _size(record: Record) -> int:
    return len(record.value or b"")
