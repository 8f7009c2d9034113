"""What was there when it was asked for, and what comes after that, by time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence

from otel_kafka_exporter.process import monotonic

from .ordering import Ordered, Ordering, Place
from .reading import Ends, Reader
from .record import Record
from .scanning import RangeReader, Scan

_LOOK_SECONDS = 0.25
_DISCOVERY_SECONDS = 5.0
_FIRST_CHUNK, _LARGEST_CHUNK = 100, 100_000


def by_time(
    reader: Reader,
    scan: Scan,
    ranges: Mapping[Place, tuple[int, int]],
    follow: Sequence[str] | None = None,
) -> Iterator[list[Ordered]]:
    """Read partitions to their ends, and what comes after that, for as long as the caller goes on.

    Args:
        reader: reads.
        scan: picks records.
        ranges: by partition, where to begin, and where it ended at the start.
        follow: the topics whose new records follow; their new partitions are found. None to stop at the ends.

    Yields:
        Records whose turn it is, and an empty list now and then.
    """
    source = RangeReader(reader, scan, ranges, beyond=follow is not None)
    ordering = Ordering(source.pending)
    throttle = _Throttle(reader, ordering)
    known = set(ranges)
    look_at = monotonic() + _DISCOVERY_SECONDS
    while source.pending or follow is not None:
        records, arrived = source.step(min(_LOOK_SECONDS, ordering.wait(monotonic())), ordering.passed)
        now = monotonic()
        for record in records:
            ordering.add(record, now)
        for place in arrived:
            ordering.finished(place)
        yield list(ordering.ready(now))
        throttle.adjust()
        if follow is not None and now > look_at:
            found = reader.look_for_topics()
            if found is None:
                continue
            look_at = now + _DISCOVERY_SECONDS
            for topic in {topic for topic, _ in known} - found.keys():
                # Made anew it begins anew: what it has before the offset that the old one had come to would be missed.
                for place in source.forget_topic(topic):
                    ordering.finished(place)  # for which the others' records would wait
                    known.discard(place)
            new = [(topic, each) for topic in follow for each in found.get(topic, ()) if (topic, each) not in known]
            if new:
                source.go_on_with(dict.fromkeys(new, 0))  # where there was nothing, all is new
                known.update(new)
    yield list(ordering.rest())


class _Throttle:
    """Has partitions that are ahead wait for the one that all wait for, once too much is held in memory."""

    def __init__(self, reader: Reader, ordering: Ordering) -> None:
        self._reader = reader
        self._ordering = ordering
        self._paused: set[Place] = set()

    def adjust(self) -> None:
        if not self._paused and not self._ordering.is_full:
            return
        wanted = set(self._ordering.ahead()) if self._ordering.is_full else set()
        if pausing := wanted - self._paused:
            self._reader.pause(pausing)
        if resuming := self._paused - wanted:
            self._reader.resume(resuming)
        self._paused = wanted


def last(reader: Reader, scan: Scan, ranges: Mapping[Place, tuple[int, int]], count: int) -> list[Record]:
    """The last records by time over all partitions, which are read back from their ends.

    Args:
        reader: reads.
        scan: picks records.
        ranges: by partition, where to stop reading back, and its end.
        count: how many.
    """
    best: list[tuple[tuple[int, str], int, Record]] = []
    numbers = itertools.count()
    left = {place: (low, high) for place, (low, high) in ranges.items() if low < high}
    chunk = max(_FIRST_CHUNK, 2 * count // max(1, len(left)))
    while left:
        parts = {place: (max(low, high - chunk), high) for place, (low, high) in left.items()}
        newest: dict[Place, int] = {}

        def passed(place: Place, milliseconds: int, newest: dict[Place, int] = newest) -> None:
            newest[place] = max(milliseconds, newest.get(place, 0))

        source = RangeReader(reader, scan, parts)
        while source.pending:
            for record in source.step(_LOOK_SECONDS, passed)[0]:
                heapq.heappush(best, (record.time, next(numbers), record))
                if len(best) > count:
                    heapq.heappop(best)
        oldest = best[0][0][0] if len(best) == count else 0
        # A partition is done with when even the newest of what was read of it last is older than all that count.
        left = {
            place: (left[place][0], start)
            for place, (start, _) in parts.items()
            if start > left[place][0] and newest.get(place, oldest) >= oldest
        }
        chunk = min(2 * chunk, _LARGEST_CHUNK)
    return [record for _, _, record in sorted(best)]


def around(reader: Reader, scan: Scan, place: Place, offset: int, ends: Ends, context: int) -> list[Record]:
    """The record at an offset, and so many before and behind it, by offset."""
    found = []
    span = (max(ends.low, offset - context), min(ends.high, offset + context + 1))
    source = RangeReader(reader, scan, {place: span})
    while source.pending:
        found += source.step(_LOOK_SECONDS)[0]
    return found
