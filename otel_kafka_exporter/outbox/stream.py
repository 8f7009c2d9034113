"""One stream of the outbox: segments in the order in which their rows are to be delivered."""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple, cast

from otel_kafka_exporter.records import CATEGORIES, Category

from .segment import Segment

# Orders start in the middle, since rows can be put before all others; each who does that has this many segments.
_FIRST_ORDER = 5 * 10**17
ORDERS_IN_FRONT = 10**6

_SEGMENT_NAME = re.compile(rf"({'|'.join(CATEGORIES)})(\.dead)?\.([0-9]{{18}})\.segment")
_order = attrgetter("order")


class Stream(NamedTuple):
    """What rows are kept together and in order.

    Attributes:
        category: of its records.
        dead: whether they are dead letters.
    """

    category: Category
    dead: bool = False

    def __str__(self) -> str:
        return f"{self.category}.dead" if self.dead else self.category


STREAMS = tuple(Stream(category, dead) for category in CATEGORIES for dead in (False, True))


class Place(NamedTuple):
    """Where a row is."""

    segment: Segment
    offset: int


def segment_name(stream: Stream, order: int) -> str:
    """The name of a segment's file; names sort as their orders do."""
    return f"{stream}.{order:018}.segment"


def parse_segment_name(name: str) -> tuple[Stream, int] | None:
    """The stream and the order that a file's name tells; None when it is no segment's."""
    match = _SEGMENT_NAME.fullmatch(name)
    if match is None:
        return None
    return Stream(cast("Category", match[1]), match[2] is not None), int(match[3])


class SegmentQueue:
    """The segments of one stream.

    Attributes:
        stream: whose they are.
        segments: in their order.
        writing: the one that rows are appended to; None when there is none yet, or it has gone.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.segments: list[Segment] = []
        self.writing: Segment | None = None
        self._lowest = _FIRST_ORDER
        self._highest = _FIRST_ORDER - 1

    def order_behind(self) -> int:
        """An order behind all that there were."""
        self._highest += 1
        return self._highest

    def orders_before(self, count: int = ORDERS_IN_FRONT) -> int:
        """The first of so many orders that are before all that there were."""
        self._lowest -= count
        return self._lowest

    def add(self, segment: Segment) -> None:
        insort(self.segments, segment, key=_order)

    def remove(self, segment: Segment) -> None:
        if self.writing is segment:
            self.writing = None
        if segment in self.segments:
            self.segments.remove(segment)

    def waiting(self) -> int:
        return sum(segment.waiting for segment in self.segments)

    def next_waiting(self, after: Place | None) -> Place | None:
        """The first row that is WAITING, or the first behind a place, whose segment may have gone."""
        start = 0
        if after is not None:
            segment = after.segment
            start = bisect_right(self.segments, segment.order, key=_order)
            if not segment.closed:
                offset = segment.next_waiting(after.offset)
                if offset is not None:
                    return Place(segment, offset)
        for at in range(start, len(self.segments)):
            segment = self.segments[at]
            if segment.waiting:
                offset = segment.next_waiting()
                if offset is not None:
                    return Place(segment, offset)
        return None

    def __iter__(self) -> Iterator[Segment]:
        return iter(tuple(self.segments))
