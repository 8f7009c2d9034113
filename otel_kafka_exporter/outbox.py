"""Records that survive the process: what waits to be delivered, and what never will be.

Rows are kept in segments (`segment`), one queue of them for each stream (`stream`), in the process's own directory
(`box`), or in memory only. What a dead process left is adopted by a living one of the same configuration.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from mmap import PAGESIZE
from pathlib import Path
from typing import NamedTuple

from .box import Box, boxes
from .errors import OutboxError
from .segment import HEADER_BYTES, WAITING, NotASegmentError, Segment, row_bytes
from .stream import ORDERS_IN_FRONT, STREAMS, Place, SegmentQueue, Stream, parse_segment_name, segment_name
from .telemetry import warn

OnLoss = Callable[[Stream, int, str], None]

RETRY_SECONDS = 10.0  # after a directory could not be used
RETRY_FULL_SECONDS = 1.0  # after the disk was full

_LEAST_SEGMENT_BYTES = 64 * 1024
_MOST_SEGMENT_BYTES = 4 * 1024 * 1024
_MOST_SEGMENTS = 128  # each takes two descriptors, of which an application has 1024 by default
_GROWTH = 4
_FULL = {errno.ENOSPC, errno.EDQUOT}


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


class Front:
    """Puts rows before all that were in a stream when it was made, in the order in which they are appended."""

    def __init__(self, outbox: Outbox, queue: SegmentQueue) -> None:
        self._outbox = outbox
        self._queue = queue
        self._order = queue.orders_before()
        self._created = queue.segments[0].created if queue.segments else 0  # its rows are at least as old
        self._writing: Segment | None = None

    def append(self, payload: bytes, state: int = WAITING) -> Place:
        """Put a row there.

        Raises:
            OutboxError: it cannot be kept.
        """
        segment = self._writing
        if segment is not None and not segment.closed:
            offset = segment.append(payload, state)
            if offset is not None:
                return Place(segment, offset)
        order, self._order = self._order, self._order + 1
        grown = segment.size * _GROWTH if segment is not None else 0
        segment = self._outbox.add_segment(self._queue, order, len(payload), grown, self._created)
        self._writing = segment
        offset = segment.append(payload, state)
        assert offset is not None  # noqa: S101 - it was made large enough
        return Place(segment, offset)


class Outbox:
    """What waits to be delivered, and the dead letters. Not thread-safe: its owner's lock guards every call but `sync`.

    Nothing is made on the disk before the first row is put here or adopted.

    Args:
        directory: below which every process has its own; None keeps the rows in memory.
        configuration: the name of what must be the same for one process to adopt what another one left.
        max_bytes: how much may be allocated. Where more is needed the oldest application segment gives way, its dead
            letters among them; audit and security never do.
        owner: what the process says of itself, for who looks at its directory.
        on_loss: is told the stream, how many rows of it were lost that waited, and why: `outbox_full` where they gave
            way, `outbox_damaged`. It is called in the middle of other calls, and must make none itself.
    """

    def __init__(
        self,
        directory: Path | None,
        configuration: str,
        max_bytes: int,
        owner: Mapping[str, object],
        on_loss: OnLoss,
    ) -> None:
        self._configuration = None if directory is None else Path(directory).absolute() / configuration
        self._max_bytes = max_bytes
        self._segment_bytes = _pages_in(max(min(_MOST_SEGMENT_BYTES, max_bytes // 16), max_bytes // _MOST_SEGMENTS))
        self._owner = owner
        self._on_loss = on_loss
        self._forget()

    def _forget(self) -> None:
        self._box: Box | None = None
        self._queues = {stream: SegmentQueue(stream) for stream in STREAMS}
        self._refusal: tuple[float, OutboxError] | None = None  # until when, in time.monotonic()
        # The orders that were kept for the rest of a dead process's segments, for which there was no room.
        self._reserved: dict[tuple[str, Stream], int] = {}

    def append(self, stream: Stream, payload: bytes, state: int = WAITING) -> Place:
        """Put a row behind all others of its stream; once this returns it survives the process.

        Raises:
            OutboxError: it cannot be kept.
        """
        queue = self._queues[stream]
        segment = queue.writing
        if segment is not None:
            offset = segment.append(payload, state)
            if offset is not None:
                return Place(segment, offset)
        new = self.add_segment(queue, None, len(payload), segment.size * _GROWTH if segment is not None else 0)
        queue.writing = new
        if segment is not None and not segment.closed and not segment.waiting and not segment.sent:
            self._discard(queue, segment)
        offset = new.append(payload, state)
        assert offset is not None  # noqa: S101 - it was made large enough
        return Place(new, offset)

    def front(self, stream: Stream) -> Front:
        """A way to put rows before all that are in a stream now."""
        return Front(self, self._queues[stream])

    def next_waiting(self, stream: Stream, after: Place | None = None) -> Place | None:
        """The first row that is WAITING, or the first behind another row; None when there is none."""
        return self._queues[stream].next_waiting(after)

    def read(self, place: Place) -> bytes:
        """The payload of a row.

        Raises:
            ValueError: it is damaged, or has gone. Who reads it counts a damaged one as lost, and sets it DONE.
        """
        return place.segment.read(place.offset)

    def set_state(self, place: Place, state: int) -> None:
        """Change the state of a row; of one that has gone, nothing."""
        segment = place.segment
        if segment.closed:
            return
        segment.set_state(place.offset, state)
        if not segment.waiting and not segment.sent:
            for queue in self._queues.values():
                if queue.writing is segment:
                    return
            for queue in self._queues.values():
                if segment in queue.segments:
                    self._discard(queue, segment)

    def exists(self, place: Place) -> bool:
        """Whether a row's segment is still there: it goes when it has to give way, or all its rows are DONE."""
        return not place.segment.closed

    def waiting(self, stream: Stream) -> int:
        """How many rows of a stream are WAITING."""
        return self._queues[stream].waiting()

    def usage(self) -> Usage:
        """How much there is."""
        created = [segment.created for _, segment in self._segments() if segment.waiting]
        waiting = {stream: queue.waiting() for stream, queue in self._queues.items()}
        return Usage(self._allocated(), waiting, min(created, default=None))

    def adopt(self) -> dict[Stream, int]:
        """Take over what dead processes of the same configuration left, before all that is here.

        What was SENT by them is WAITING. What there is no room for stays where it is, until there is.

        Returns:
            How many rows of each stream wait that did not before.
        """
        adopted: dict[Stream, int] = {}
        for path in () if self._configuration is None else boxes(self._configuration):
            if self._box is not None and path == self._box.path:
                continue
            try:
                dead = Box.take(path)
                if dead is not None:
                    try:
                        self._adopt_box(dead, adopted)
                    finally:
                        dead.release()
            except OutboxError:
                break  # who puts a row here is told
            except OSError as error:
                warn("outbox_adopt", "The outbox of a dead process cannot be adopted: %s", error)
        return adopted

    def _adopt_box(self, dead: Box, adopted: dict[Stream, int]) -> None:
        found: dict[Stream, list[str]] = {}
        for name in dead.names():
            parsed = parse_segment_name(name)
            if parsed is not None:
                found.setdefault(parsed[0], []).append(name)
        complete = [self._adopt_stream(dead, stream, names, adopted) for stream, names in found.items()]
        if all(complete):
            dead.remove()

    def _adopt_stream(self, dead: Box, stream: Stream, names: list[str], adopted: dict[Stream, int]) -> bool:
        """Adopt segments in their order; whether all of them were."""
        queue = self._queues[stream]
        key = (dead.path.name, stream)
        order = self._reserved.pop(key, 0) or queue.orders_before(max(len(names), ORDERS_IN_FRONT))
        for name in names:
            size = (dead.path / name).lstat().st_size
            allocated = self._allocated()
            if allocated and allocated + size > self._max_bytes:
                self._reserved[key] = order
                return False
            try:
                segment = Segment.open(dead.path / name, order)
            except NotASegmentError as error:
                dead.set_aside(name, str(error))
                continue
            except BlockingIOError:
                self._reserved[key] = order
                return False
            self._adopt_segment(dead, queue, segment)
            if segment.waiting:
                adopted[stream] = adopted.get(stream, 0) + segment.waiting
                order += 1
            if segment.damaged:
                self._on_loss(stream, segment.damaged, "outbox_damaged")
        return True

    def _adopt_segment(self, dead: Box, queue: SegmentQueue, segment: Segment) -> None:
        assert segment.path is not None  # noqa: S101 - it was opened from there
        try:
            if segment.waiting:
                queue.add(segment)
                segment.move(self._own_box().path / segment_name(queue.stream, segment.order))
            elif segment.damaged:
                dead.set_aside(segment.path.name, "expected undamaged rows, got others")
                segment.close()
            else:
                segment.delete()
        except BaseException:
            queue.remove(segment)
            segment.close()
            raise

    def check(self) -> None:
        """Write anew what somebody removed: a segment's file, or the directory, or its lock. Call it every second."""
        box = self._box
        if box is None:
            return
        misplaced = [(queue, segment) for queue, segment in self._segments() if not self._is_placed(queue, segment)]
        if box.intact() and not misplaced:
            return
        warn("outbox_removed", "Files of the outbox in %s were removed; they are written anew", box.path)
        try:
            if not box.intact():
                self._box = self._make_box()
                box.release()
            for queue, segment in self._segments():
                if not self._is_placed(queue, segment):
                    self._place(queue, segment)
            if self._box is not box:
                with suppress(OSError):
                    box.path.rmdir()
        except OSError as error:
            warn("outbox_removed", "Files of the outbox in %s cannot be written anew: %s", box.path, error)

    def _path(self, queue: SegmentQueue, order: int) -> Path | None:
        return None if self._configuration is None else self._own_box().path / segment_name(queue.stream, order)

    def _is_placed(self, queue: SegmentQueue, segment: Segment) -> bool:
        return segment.path == self._path(queue, segment.order) and segment.intact()

    def _place(self, queue: SegmentQueue, segment: Segment) -> None:
        box = self._own_box()
        path = box.path / segment_name(queue.stream, segment.order)
        if segment.intact():
            segment.move(path)
            return
        if os.path.lexists(path):
            box.set_aside(path.name, "expected the file that this process made, got another")
        segment.rewrite(path)

    def sync(self, place: Place) -> None:
        """Return when a row is on the disk, or has gone. Call it without the lock: threads that wait share a flush.

        Raises:
            OutboxError: the disk did not take it.
        """
        try:
            place.segment.sync()
        except OSError as error:
            raise OutboxError("outbox_unavailable", f"expected a flush to the disk, got {error}") from error

    def close(self) -> None:
        """Leave what is not DONE to be adopted, and remove the rest."""
        for queue, segment in self._segments():
            if segment.waiting or segment.sent:
                segment.close()
            else:
                self._discard(queue, segment)
        box = self._box
        if box is not None:
            with suppress(OSError):
                if not any(parse_segment_name(name) for name in box.names()):
                    box.remove()
            box.release()
        self._forget()

    def abandon(self) -> None:
        """Forget everything, in a forked child whose parent goes on with it; it touches no file."""
        for _, segment in self._segments():
            segment.abandon()
        if self._box is not None:
            self._box.release()
        self._forget()

    def _segments(self) -> list[tuple[SegmentQueue, Segment]]:
        return [(queue, segment) for queue in self._queues.values() for segment in queue.segments]

    def _allocated(self) -> int:
        return sum(segment.size for _, segment in self._segments())

    def _make_box(self) -> Box:
        assert self._configuration is not None  # noqa: S101 - else nothing asks for a box
        return Box.make(self._configuration, self._owner)

    def _own_box(self) -> Box:
        if self._box is None:
            try:
                self._box = self._make_box()
            except OSError as error:
                raise self._refuse(error) from error
        return self._box

    def add_segment(
        self, queue: SegmentQueue, order: int | None, payload_bytes: int, grown: int, created: int = 0
    ) -> Segment:
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            raise OutboxError(self._refusal[1].reason, str(self._refusal[1]))
        least = max(_LEAST_SEGMENT_BYTES, -(-(HEADER_BYTES + row_bytes(payload_bytes)) // PAGESIZE) * PAGESIZE)
        size = max(least, min(grown, self._segment_bytes))
        self._make_room(least)
        if order is None:
            order = queue.order_behind()
        missing = False
        while True:
            try:
                path = self._path(queue, order)
                segment = Segment.create(path, min(size, self._max_bytes - self._allocated()), order, created)
            except FileNotFoundError as error:  # noqa: PERF203 - at most twice
                if missing:
                    raise self._refuse(error) from error
                missing = True
                self.check()  # somebody removed the directory
            except OSError as error:
                if error.errno in _FULL and size > least:
                    size = least
                elif error.errno not in _FULL or not self._evict():
                    raise self._refuse(error) from error
            else:
                queue.add(segment)
                return segment

    def _make_room(self, least: int) -> None:
        if self._allocated() + least <= self._max_bytes:
            return
        for queue, segment in self._segments():
            if not segment.waiting and not segment.sent:
                self._discard(queue, segment)
        stays = sum(segment.size for queue, segment in self._segments() if queue.stream.category != "application")
        if stays + least > self._max_bytes:
            raise OutboxError(
                "outbox_full",
                f"expected room for {least} bytes, got {stays} of {self._max_bytes} bytes taken by records that do not "
                "give way; set outbox_max_bytes higher",
            )
        while self._allocated() + least > self._max_bytes:
            self._evict()

    def _evict(self) -> bool:
        """Give up the oldest segment that may give way; whether there was one."""
        may = [(queue, segment) for queue, segment in self._segments() if queue.stream.category == "application"]
        if not may:
            return False
        queue, segment = min(may, key=lambda pair: (pair[1].created, pair[1].order))
        lost = segment.waiting
        try:
            segment.delete()
        finally:
            queue.remove(segment)
            if lost:
                self._on_loss(queue.stream, lost, "outbox_full")
        return True

    def _discard(self, queue: SegmentQueue, segment: Segment) -> None:
        """Remove a segment whose rows are all DONE."""
        queue.remove(segment)
        if segment.damaged and segment.path is not None and self._box is not None and segment.intact():
            with suppress(OSError):
                self._box.set_aside(segment.path.name, "expected undamaged rows, got others")
            segment.close()
        else:
            segment.delete()
        if self._refusal is not None and self._refusal[1].reason == "outbox_full":
            self._refusal = None

    def _refuse(self, error: OSError) -> OutboxError:
        """The error for what the system said; it is raised for a while, without asking again."""
        refusal = OutboxError("outbox_unavailable", "")
        seconds = RETRY_SECONDS
        place = error.filename or self._configuration or "memory"
        if error.errno in _FULL:
            seconds = RETRY_FULL_SECONDS
            refusal = OutboxError(
                "outbox_full", f"expected room on the disk of {place}, got: {error.strerror}; free some"
            )
        else:
            refusal = OutboxError(
                "outbox_unavailable",
                f"expected a directory that can be written to, got {place}: {error.strerror}; set outbox_dir",
            )
        self._refusal = (time.monotonic() + seconds, refusal)
        return refusal


def _pages_in(size: int) -> int:
    return max(size // PAGESIZE * PAGESIZE, _LEAST_SEGMENT_BYTES)
