"""Making a dead process's segments a living one's: where there is room, whole or in parts, before all that is there."""

from __future__ import annotations

from .merging import Adopter, Merging, Rows
from .room import LEAST_BYTES, MOST_SEGMENTS
from .segment import Segment
from .segment_format import row_bytes
from .storage import Storage
from .stream import ORDERS_IN_FRONT, SegmentQueue, Stream, segment_name

#: The rest is for what the process itself puts there.
MOST_ADOPTED = MOST_SEGMENTS // 2


class NoRoomError(Exception):
    """There is no room for a segment, or nobody who wants it any more."""


class Takeover:
    """Puts segments, or rows of them, into a storage.

    Args:
        storage: where they go.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # Of the orders before all that was there: the next one, and the end.
        self._orders: dict[Stream, tuple[int, int]] = {}
        self._merging = Merging(storage, self._next_order)

    def expect(self, size: int, adopter: Adopter) -> None:
        """Return if a file of that size may be taken over, as a whole or in parts.

        Raises:
            NoRoomError: it may not.
        """
        with adopter.lock:
            self._make_room(size, LEAST_BYTES if self._storage.never_fits(size) else size)

    def goes_in_parts(self, segment: Segment, adopter: Adopter) -> bool:
        """Whether there is no room for a segment as a whole, and may never be."""
        with adopter.lock:
            return self._storage.never_fits(segment.size) and not self._has_room(segment.size)

    def take_out(self, stream: Stream, segment: Segment, rows: Rows, adopter: Adopter) -> bool:
        """Take over rows of a segment that stays for others, or goes in parts.

        Returns:
            Whether some of them are too large to be taken over ever.

        Raises:
            NoRoomError: there is no room for all of them at present.
            OSError, OutboxError: this process's own directory cannot be made, or flushed.
        """
        fitting = [row for row in rows if not self._storage.never_fits(row_bytes(len(row[1])))]
        if fitting:
            self._ready(adopter)
            if not self._merging.take_out(stream, segment, fitting, adopter):
                raise NoRoomError
        return len(fitting) < len(rows)

    def take(self, stream: Stream, segment: Segment, rows: Rows, adopter: Adopter) -> None:
        """Take a segment over that has rows, and count what is damaged in it.

        Raises:
            NoRoomError: there is no room for it.
            OSError, OutboxError: it cannot be moved, or this process's own directory cannot be made, or flushed.
        """
        self._ready(adopter)
        is_merged = self._merging.merge(stream, segment, rows, adopter)
        with adopter.lock:
            if not is_merged:
                self._move(stream, segment)
                if segment.damaged:
                    self._storage.on_loss(stream, segment.damaged, "outbox_damaged")
                adopter.on_adopted(stream, len(rows))
            self._storage.others_bytes = max(0, self._storage.others_bytes - segment.size)
            if stream.dead:
                self._storage.keep_share()

    def _ready(self, adopter: Adopter) -> None:
        """Whose this process's own directory is must not be lost where what comes there is not."""
        with adopter.lock:
            if not self._storage.is_closed:
                self._storage.box()
        self._storage.sync(())

    def _move(self, stream: Stream, segment: Segment) -> None:
        queue = self._storage.queues[stream]
        self._make_room(segment.size, segment.size)
        segment.order = self._next_order(queue)
        self._merging.end(stream)
        path = self._storage.box().path / segment_name(stream, segment.order)
        try:
            queue.add(segment)
            segment.move(path)
        except BaseException:  # Ctrl-C too; it goes on from here
            queue.remove(segment)
            segment.close()
            raise

    def _next_order(self, queue: SegmentQueue) -> int:
        """What comes later is behind what was adopted before, and before what the process has put there itself."""
        order, end = self._orders.get(queue.stream, (0, 0))
        if order == end:
            order = queue.orders_before()
            end = order + ORDERS_IN_FRONT
        self._orders[queue.stream] = (order + 1, end)
        return order

    def _make_room(self, size: int, least: int) -> None:
        """Return when a file of that size may be adopted, or so much of it. Expects the lock to be held.

        Raises:
            NoRoomError: it may not.
        """
        if self._storage.is_closed:
            raise NoRoomError
        if not self._has_room(size):
            self._storage.discard_done()
        if not self._has_room(least):
            raise NoRoomError

    def _has_room(self, size: int) -> bool:
        count = len(self._storage.segments())
        # One that is larger than all that is allowed is taken when there is nothing else.
        return count == 0 or (count < MOST_ADOPTED and self._storage.allocated() + size <= self._storage.max_bytes)
