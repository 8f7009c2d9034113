"""Rows that go for their age."""

from __future__ import annotations

from collections.abc import Callable

from .rows import time_of
from .stream import Place, SegmentQueue

#: How many rows go in one moment, as long as which log calls wait.
_AT_ONCE = 256


def expire(queue: SegmentQueue, before: int, settle: Callable[[Place], None]) -> int:
    """Have the first rows of a stream go that are older, some at a time.

    Args:
        queue: the stream's.
        before: than what, in Unix nanoseconds.
        settle: has a row go.

    Returns:
        How many went.
    """
    expired = 0
    while expired < _AT_ONCE:
        place = queue.next_waiting(None)
        if place is None or place.segment.created >= before:
            break
        try:
            is_old = time_of(place.segment.read(place.offset)) < before
        except ValueError:  # it is damaged, which who reads it counts
            break
        if not is_old:
            break
        settle(place)
        expired += 1
    return expired
