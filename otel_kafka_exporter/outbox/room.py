"""How much the segments of one process may take, and what gives way to what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from mmap import PAGESIZE
from typing import NamedTuple

from .segment import Segment
from .segment_format import HEADER_BYTES
from .stream import STREAMS, SegmentQueue, Stream

# Each segment has two descriptors open, of which a process has 1024 unless somebody allowed it more.
MOST_SEGMENTS = 256
LEAST_BYTES = 64 * 1024
SMALL_BYTES = LEAST_BYTES - HEADER_BYTES
_MOST_BYTES = 4 * 1024 * 1024
_GROWTH = 4
_DEAD = Stream("application", dead=True)


#: Told of a stream, of how many rows were lost that waited in it, and why. 0: only such as are on their way.
OnLoss = Callable[[Stream, int, str], None]


def least_bytes(needed: int) -> int:
    """The bytes of the least segment in which rows have room that take so many."""
    return max(LEAST_BYTES, -(-(HEADER_BYTES + needed) // PAGESIZE) * PAGESIZE)


class Usage(NamedTuple):
    """How much there is.

    Attributes:
        bytes: what is allocated, on the disk or in memory.
        waiting: rows that wait, by stream.
        oldest: when the oldest segment was made in which rows wait, in Unix nanoseconds; None when none do.
    """

    bytes: int
    waiting: Mapping[Stream, int]
    oldest: int | None


class Room:
    """The segments of one process, within bounds.

    Args:
        max_bytes: how much may be allocated.
        dead_max_bytes: how much of it dead letters may take.
        on_loss: is told the stream, how many rows were lost, and why.
        directory_max_bytes: how much all processes may keep below the directory of all outboxes; None for any.

    Attributes:
        others_bytes: what the others keep there, as of when somebody looked last.
        queues: the segments of each stream.
    """

    def __init__(
        self, max_bytes: int, dead_max_bytes: int, on_loss: OnLoss, directory_max_bytes: int | None = None
    ) -> None:
        self.max_bytes = max_bytes
        self.directory_max_bytes = directory_max_bytes
        self.others_bytes = 0
        self.dead_max_bytes = dead_max_bytes
        self.on_loss = on_loss
        self.queues = {stream: SegmentQueue(stream) for stream in STREAMS}
        self._cut_off: dict[Stream, int] = {}
        most = max(min(_MOST_BYTES, max_bytes // 16), max_bytes // MOST_SEGMENTS * 2)
        # The oldest dead letters give way by segments: they take a small part of their share each.
        self._most_bytes = {
            stream: max(LEAST_BYTES, (min(most, dead_max_bytes // 8) if stream.dead else most) // PAGESIZE * PAGESIZE)
            for stream in STREAMS
        }

    def segments(self) -> list[tuple[SegmentQueue, Segment]]:
        """All of them, each with its queue."""
        return [(queue, segment) for queue in self.queues.values() for segment in queue.segments]

    def allocated(self) -> int:
        """The bytes that all of them take."""
        return sum(segment.size for queue in self.queues.values() for segment in queue.segments)

    def usage(self) -> Usage:
        """How much there is."""
        created = [segment.created for _, segment in self.segments() if segment.waiting]
        waiting = {stream: queue.waiting() for stream, queue in self.queues.items()}
        return Usage(self.allocated(), waiting, min(created, default=None))

    def most_bytes(self) -> int:
        """The bytes that all of them may take, beside what other processes keep."""
        if self.directory_max_bytes is None:
            return self.max_bytes
        return min(self.max_bytes, max(0, self.directory_max_bytes - self.others_bytes))

    def never_fits(self, size: int) -> bool:
        """Whether there may never be room for so many bytes, since dead letters, which stay, take their share."""
        return size > self.max_bytes - self.dead_max_bytes

    def _bound(self) -> str:
        return "outbox_max_bytes" if self.most_bytes() == self.max_bytes else "outbox_directory_max_bytes"

    def dead_bytes(self) -> int:
        """The bytes that dead letters take."""
        return sum(segment.size for queue, segment in self.segments() if queue.stream.dead)

    def _has_room(self, least: int) -> bool:
        count = sum(len(queue.segments) for queue in self.queues.values())
        return count < MOST_SEGMENTS and self.allocated() + least <= self.most_bytes()

    def _size(self, stream: Stream, least: int, before: Segment | None) -> int:
        return least if before is None else max(least, min(before.size * _GROWTH, self._most_bytes[stream]))

    def keep_share(self, least: int = 0) -> None:
        """Have the oldest dead letters give way that are more than their share.

        Args:
            least: how much of the share is to be free.
        """
        # Only those: nothing else gives way to a dead letter.
        while self.dead_bytes() + least > self.dead_max_bytes and self._evict(_DEAD):
            pass

    def giving_way(self) -> list[tuple[SegmentQueue, Segment]]:
        """What gives way to events: dead letters, then application records, each the oldest first."""
        may = [
            (queue, segment)
            for queue, segment in self.segments()
            if queue.stream.dead or queue.stream.category == "application"
        ]
        return sorted(may, key=lambda pair: (not pair[0].stream.dead, pair[1].created, pair[1].order))

    def _giving_way_to(self, stream: Stream) -> list[tuple[SegmentQueue, Segment]]:
        """What gives way to a record of a stream: to a dead letter, only others."""
        return [pair for pair in self.giving_way() if pair[0].stream.dead or not stream.dead]

    def _evict(self, stream: Stream) -> bool:
        """Give up the first segment that gives way to a record of a stream; whether there was one."""
        may = self._giving_way_to(stream)
        if not may:
            return False
        self.give_up(*may[0])
        return True

    def give_up(self, queue: SegmentQueue, segment: Segment) -> None:
        """Delete a segment, and count what is lost with it."""
        lost, live = segment.waiting, segment.live
        try:
            segment.delete()
        finally:
            queue.remove(segment)
            self._count_cut_off(queue, segment)
            if live:  # what is on its way has no row from here on, too
                self.on_loss(queue.stream, lost, "dead_letters_full" if queue.stream.dead else "outbox_full")

    def _count_cut_off(self, queue: SegmentQueue, segment: Segment) -> None:
        if segment.cut_off is not None:
            self._cut_off[queue.stream] = self._cut_off.get(queue.stream, 0) + segment.cut_off
            segment.cut_off = None
