"""Making one segment of many small ones: a process that dies again and again leaves a file each time.

Each file takes two descriptors of the process that adopts it, and 64 KiB at least. So from some number on what is
adopted is copied behind what was, and its own file goes. At every moment at least one of both is on the disk; a kill in
between leaves both, of records that nobody has sent meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from otel_kafka_exporter.process import note

from .room import SMALL_BYTES
from .segment import DONE, SENT, WAITING, Segment
from .segment_format import row_bytes
from .storage import Storage
from .stream import SegmentQueue, Stream

#: How many segments of a stream there may be before small ones are merged.
_FEW = 8

#: Where rows are, and their payloads.
Rows = list[tuple[int, bytes]]


class Adopter(NamedTuple):
    """Who takes over.

    Attributes:
        lock: guards the storage.
        on_adopted: is told of a stream, and how many rows wait in it that did not before, with the lock held.
    """

    lock: AbstractContextManager[object]
    on_adopted: Callable[[Stream, int], None]


class Merging:
    """Copies small segments behind each other, in the order in which they come.

    Args:
        storage: whose they are from then on.
        next_order: an order behind all that was adopted.
    """

    def __init__(self, storage: Storage, next_order: Callable[[SegmentQueue], int]) -> None:
        self._storage = storage
        self._next_order = next_order
        self._targets: dict[Stream, Segment] = {}

    def end(self, stream: Stream) -> None:
        """Something was put behind what was merged: the next one needs a segment of its own."""
        self._targets.pop(stream, None)

    def merge(self, stream: Stream, source: Segment, rows: Rows, adopter: Adopter) -> bool:
        """Take over what waits in a segment, and delete that; False where it is not to be merged, and stays as it is.

        Args:
            stream: whose it is.
            source: it, of which nobody else knows.
            rows: what waits in it.
            adopter: for whom.
        """
        needed = _bytes_of(rows)
        if needed > SMALL_BYTES or source.damaged:  # a person may want to look at a damaged one
            return False
        with adopter.lock:
            target = self._found(stream, needed)
            if target is None and len(self._storage.queues[stream].segments) >= _FEW:
                target = self._new(stream, source.created, needed)
        if target is None or not self._move(stream, source, rows, target, adopter):
            return False
        source.delete()
        return True

    def take_out(self, stream: Stream, source: Segment, rows: Rows, adopter: Adopter) -> bool:
        """Take over some of what waits in a segment, which stays for the rest.

        Args:
            stream, source, adopter: as of `merge`.
            rows: what to take over.

        Returns:
            Whether there was room for all of them: else the first ones were taken over.
        """
        start = 0
        while start < len(rows):
            end, needed = start + 1, _bytes_of(rows[start : start + 1])
            while end < len(rows) and (more := needed + _bytes_of(rows[end : end + 1])) <= SMALL_BYTES:
                end, needed = end + 1, more
            with adopter.lock:
                target = self._found(stream, needed) or self._new(stream, source.created, needed)
            if target is None or not self._move(stream, source, rows[start:end], target, adopter):
                return False
            start = end
        return True

    def _move(self, stream: Stream, source: Segment, rows: Rows, target: Segment, adopter: Adopter) -> bool:
        """Copy rows, and settle them where they were; whether that came about."""
        copies: list[int | None] = []
        moved = 0
        try:
            with adopter.lock:
                for offset, payload in rows:
                    copy = None if target.closed else target.append(payload, SENT)  # nobody sends them yet
                    copies.append(copy)
                    if copy is not None:
                        target.count_tries(copy, source.tries(offset))
            self._storage.sync([target])  # what was on the disk before has to be there when its own file goes
            with adopter.lock:
                for (offset, _), copy in zip(rows, copies, strict=True):
                    if copy is None or target.closed:  # it had to give way, or the outbox was closed
                        break
                    source.set_state(offset, DONE)
                    target.set_state(copy, WAITING)
                    moved += 1
        except OSError as error:
            note("outbox_not_merged", "A file of the outbox cannot be merged with others: %s", error)
        finally:
            with adopter.lock:
                for copy in copies[moved:]:
                    if copy is not None and not target.closed:
                        target.set_state(copy, DONE)
                if moved:
                    adopter.on_adopted(stream, moved)
        return moved == len(rows)

    def _found(self, stream: Stream, needed: int) -> Segment | None:
        """What rows were copied to before, if there is room. Expects the lock to be held."""
        target = self._targets.get(stream)
        is_there = target is not None and not target.closed and target.free >= needed and not self._storage.is_closed
        return target if is_there else None

    def _new(self, stream: Stream, created: int, needed: int) -> Segment | None:
        """Where to copy so many bytes to; None where there is no room. Expects the lock to be held."""
        if self._storage.is_closed:
            return None
        queue, before = self._storage.queues[stream], self._targets.get(stream)
        if before is not None and before.closed:
            before = None
        target = self._storage.add_if_free(queue, self._next_order(queue), before, created, needed)
        if target is not None:
            self._targets[stream] = target
        return target


def _bytes_of(rows: Rows) -> int:
    return sum(row_bytes(len(payload)) for _, payload in rows)
