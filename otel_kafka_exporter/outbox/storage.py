"""Where the outbox's segments are kept, how much they may take, and what gives way to what."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from mmap import PAGESIZE
from pathlib import Path

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.process import making_locks, monotonic, note

from . import disk
from .box import Box
from .segment import Segment
from .segment_format import HEADER_BYTES, row_bytes
from .stream import STREAMS, SegmentQueue, Stream, parse_segment_name, segment_name
from .trust import UntrustedError

RETRY_SECONDS = 10.0  # after a directory could not be used
RETRY_FULL_SECONDS = 1.0  # after the disk was full
#: A disk that is full yet after so many times the needed bytes were deleted gives none back: of a snapshot, say, or to
#: another one who writes there. Nothing gives way to it then for so long.
_EVICTED_TIMES, _SPARED_SECONDS = 4, 60.0

# Each segment has two descriptors open, of which a process has 1024 unless somebody allowed it more.
MOST_SEGMENTS = 256
LEAST_BYTES = 64 * 1024
SMALL_BYTES = LEAST_BYTES - HEADER_BYTES
_MOST_BYTES = 4 * 1024 * 1024
_GROWTH = 4
_SPARED = 4
_DEAD = Stream("application", dead=True)
_FULL = {errno.ENOSPC, errno.EDQUOT}


#: Told of a stream, of how many rows were lost that waited in it, and why. 0: only such as are on their way.
OnLoss = Callable[[Stream, int, str], None]


class Storage:
    """The segments of one process, in its directory or in memory.

    Args:
        configuration: the directory of all processes that may adopt each other's segments; None for memory only.
        max_bytes: how much may be allocated.
        dead_max_bytes: how much of it dead letters may take.
        owner: what the process says of itself.
        on_loss: is told the stream, how many rows were lost, and why.
        directory_max_bytes: how much all processes may keep below the directory of all outboxes; None for any.

    Attributes:
        others_bytes: what the others keep there, as of when somebody looked last.
        queues: the segments of each stream.
        is_closed: whether nothing is put here any more.
    """

    def __init__(
        self,
        configuration: Path | None,
        max_bytes: int,
        dead_max_bytes: int,
        owner: Mapping[str, object],
        on_loss: OnLoss,
        directory_max_bytes: int | None = None,
    ) -> None:
        self.configuration = configuration
        self.max_bytes = max_bytes
        self.directory_max_bytes = directory_max_bytes
        self.others_bytes = 0
        self.dead_max_bytes = dead_max_bytes
        self.on_loss = on_loss
        self.queues = {stream: SegmentQueue(stream) for stream in STREAMS}
        self.owner = owner
        self.is_closed = False
        self._box: Box | None = None
        self._cut_off: dict[Stream, int] = {}
        self._refusal: tuple[float, OutboxError] | None = None  # until when, in monotonic()
        self._spared_until = 0.0  # what would give way to a full disk, in vain
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

    def box(self) -> Box:
        """The process's own directory, which is made when it is needed first.

        Raises:
            OutboxError: it cannot be made.
        """
        if self._box is None:
            assert self.configuration is not None  # noqa: S101 - what is in memory has no directory
            self._check_refusal()
            try:
                with making_locks:
                    self._box = Box.make(self.configuration, self.owner)
            except (OSError, UntrustedError) as error:
                raise self._refuse(error) from error
        return self._box

    def owns(self, path: Path) -> bool:
        """Whether a directory is the process's own."""
        return self._box is not None and self._box.path == path

    def path(self, queue: SegmentQueue, order: int) -> Path | None:
        """Where a segment's file belongs."""
        return None if self.configuration is None else self.box().path / segment_name(queue.stream, order)

    def add(
        self, queue: SegmentQueue, order: int, payload_bytes: int, before: Segment | None, created: int = 0
    ) -> Segment:
        """A new segment, with room for a row of at least this size.

        Args:
            queue: where to put it.
            order: its place there.
            payload_bytes: of the row.
            before: the one that became full. They grow, so that few records take little and many take few files.
            created: in Unix nanoseconds; now, unless given.

        Raises:
            OutboxError: there is no room, or no directory.
        """
        least = _least_bytes(row_bytes(payload_bytes))
        size = self._size(queue.stream, least, before)
        self._check_refusal()
        self._make_room(queue.stream, least)
        evicted = 0
        while True:
            try:
                return self._place(queue, order, max(least, min(size, self.most_bytes() - self.allocated())), created)
            except OSError as error:  # noqa: PERF203 - a second time at the most, unless the disk is full
                if error.errno in _FULL and size > least:
                    size = least
                    continue
                if error.errno in _FULL and evicted >= _EVICTED_TIMES * least:
                    self._spared_until = monotonic() + _SPARED_SECONDS
                taken = self.allocated()
                if error.errno not in _FULL or monotonic() < self._spared_until or not self._evict(queue.stream):
                    raise self._refuse(error) from error
                evicted += taken - self.allocated()

    def add_if_free(
        self, queue: SegmentQueue, order: int, before: Segment | None, created: int, needed: int
    ) -> Segment | None:
        """As `add`, for rows that take so many bytes in all, but nothing gives way; None where there is no room.

        Raises:
            OutboxError: there is no directory.
        """
        least, free = _least_bytes(needed), self.most_bytes() - self.allocated()
        if free < least:
            return None
        size = self._size(queue.stream, least, before)
        if size * _SPARED > free:  # what comes next needs room as well
            size = least
        self._check_refusal()
        try:
            return self._place(queue, order, size, created)
        except OSError as error:
            if error.errno in _FULL:
                return None
            raise self._refuse(error) from error

    def _size(self, stream: Stream, least: int, before: Segment | None) -> int:
        return least if before is None else max(least, min(before.size * _GROWTH, self._most_bytes[stream]))

    def _place(self, queue: SegmentQueue, order: int, size: int, created: int) -> Segment:
        with making_locks:
            segment = self._create(queue, order, size, created)
            queue.add(segment)
        return segment

    def _create(self, queue: SegmentQueue, order: int, size: int, created: int) -> Segment:
        try:
            return Segment.create(self.path(queue, order), size, order, created)
        except FileNotFoundError:
            self.check()  # somebody removed the directory
            return Segment.create(self.path(queue, order), size, order, created)

    def _make_room(self, stream: Stream, least: int) -> None:
        is_in_share = not stream.dead or self.dead_bytes() + least <= self.dead_max_bytes
        if is_in_share and self._has_room(least):
            return
        self.discard_done()
        stays = self.allocated() - sum(segment.size for _, segment in self._giving_way_to(stream))
        most = self.most_bytes()
        if stays + least > most:
            raise OutboxError(
                "outbox_full",
                f"expected room for {least} bytes in the outbox, got {stays} of {most} bytes taken by "
                f"records that do not give way; set {self._bound()} higher",
            )
        if stream.dead:
            self.keep_share(least)
        while not self._has_room(least) and self._evict(stream):
            pass

    def keep_share(self, least: int = 0) -> None:
        """Have the oldest dead letters give way that are more than their share.

        Args:
            least: how much of the share is to be free.
        """
        # Only those: nothing else gives way to a dead letter.
        while self.dead_bytes() + least > self.dead_max_bytes and self._evict(_DEAD):
            pass

    def discard_done(self) -> None:
        """Remove the segments whose rows are all DONE, those that are written to as well."""
        for queue, segment in self.segments():
            if not segment.live:
                self.discard(queue, segment)

    def _has_room(self, least: int) -> bool:
        count = sum(len(queue.segments) for queue in self.queues.values())
        return count < MOST_SEGMENTS and self.allocated() + least <= self.most_bytes()

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

    def discard(self, queue: SegmentQueue, segment: Segment) -> None:
        """Remove a segment whose rows are all DONE; if some were damaged, a person may want to look at it."""
        queue.remove(segment)
        self._count_cut_off(queue, segment)
        if segment.damaged and segment.path is not None and self._box is not None and segment.intact():
            with suppress(OSError, UntrustedError):
                self._box.set_aside(segment.path.name, "expected undamaged rows, got others")
            segment.close()
        else:
            segment.delete()
        if self._refusal is not None and self._refusal[1].reason == "outbox_full":
            self._refusal = None

    def check(self) -> None:
        """Write anew what somebody removed: a segment's file, the directory, or its lock."""
        box = self._box
        if box is None:
            return
        misplaced = [(queue, segment) for queue, segment in self.segments() if not self._is_placed(queue, segment)]
        if box.intact() and not misplaced:
            return
        note(
            "outbox_removed",
            "Files of the outbox in %s were removed, replaced or cut short; they are written anew",
            box.path,
        )
        current = box
        try:
            if not box.intact():
                with making_locks:
                    current = self._box = Box.make(box.path.parent, self.owner)
                    box.release()
            for queue, segment in self.segments():
                if not self._is_placed(queue, segment):
                    with making_locks:
                        self._put_back(current, queue, segment)
        except (OSError, UntrustedError) as error:
            note("outbox_not_restored", "Files of the outbox in %s cannot be written anew: %s", box.path, error)
        if current is not box:
            with suppress(OSError):
                disk.remove_directory(box.path)

    def settled_by_others(self) -> dict[Stream, int]:
        """How many rows of each stream were settled by others; segments in which nothing is left are removed."""
        found: dict[Stream, int] = {}
        for queue, segment in self.segments():
            settled = segment.settled_by_others()
            if settled:
                found[queue.stream] = found.get(queue.stream, 0) + settled
                if not segment.live and segment is not queue.writing:
                    self.discard(queue, segment)
        return found

    def cut_off(self) -> dict[Stream, int]:
        """How many rows of each stream waited, and were cut off with their file, since this was asked last."""
        for queue, segment in self.segments():
            if segment.cut_off is not None and not segment.live:
                self.discard(queue, segment)
            else:
                self._count_cut_off(queue, segment)
        found, self._cut_off = self._cut_off, {}
        return found

    def _count_cut_off(self, queue: SegmentQueue, segment: Segment) -> None:
        if segment.cut_off is not None:
            self._cut_off[queue.stream] = self._cut_off.get(queue.stream, 0) + segment.cut_off
            segment.cut_off = None

    def _is_placed(self, queue: SegmentQueue, segment: Segment) -> bool:
        return segment.path == self.path(queue, segment.order) and segment.intact()

    def _put_back(self, box: Box, queue: SegmentQueue, segment: Segment) -> None:
        path = box.path / segment_name(queue.stream, segment.order)
        if segment.intact():
            segment.move(path)
            return
        if os.path.lexists(path):
            box.set_aside(path.name, "expected the file that this process made, got another")
        segment.rewrite(path)

    def describe(self, **more: object) -> None:
        """Say more of the process, for those that find its directory."""
        self.owner = {**self.owner, **more}
        if self._box is not None:
            with suppress(OSError):  # it is made anew, if it is not there, and says so then
                self._box.describe(self.owner)

    def sync_all(self) -> None:
        """As `sync`, of all segments."""
        self.sync([segment for queue in self.queues.values() for segment in queue])

    def sync(self, segments: Sequence[Segment]) -> None:
        """Return when all rows that are in these by now are on the disk. Threads may call it at any time, without the
        lock.

        Raises:
            OSError: the disk did not take some of them.
        """
        box: Box | None = None
        problem: OSError | None = None
        while box is not self._box:  # another one, once somebody removed it meanwhile
            box = self._box
            if box is not None:
                try:
                    box.sync()  # first: a file whose directory is not there is not there
                except OSError as error:
                    problem = error
            for segment in segments:
                try:
                    segment.sync()
                except OSError as error:  # noqa: PERF203 - the others' rows are none the worse for it
                    problem = problem or error
        if problem is not None:
            raise problem

    def flush(self) -> None:
        """What is not DONE is on the disk when this returns; it waits for no other thread.

        Raises:
            OSError: the disk did not take some of it.
        """
        live = [segment for _, segment in self.segments() if segment.live]
        problem: OSError | None = None
        for each in (*(() if self._box is None or not live else (self._box,)), *live):
            try:
                each.flush()
            except OSError as error:  # noqa: PERF203 - as of `sync`
                problem = problem or error
        if problem is not None:
            raise problem

    def close(self) -> None:
        """Leave what is not DONE to be adopted, and remove the rest."""
        self.is_closed = True
        for queue, segment in self.segments():
            if segment.live:
                with making_locks:
                    segment.close()
            else:
                self.discard(queue, segment)
        box = self._box
        if box is not None:
            with suppress(OSError, UntrustedError):  # who adopts the rest removes it then
                if not any(parse_segment_name(name) for name in box.names()):
                    box.remove()
            with making_locks:
                box.release()

    def abandon(self) -> None:
        """Close everything in a forked child, whose parent goes on with it; no file is touched."""
        for _, segment in self.segments():
            segment.abandon()
        if self._box is not None:
            self._box.abandon()

    def _check_refusal(self) -> None:
        if self._refusal is not None and monotonic() < self._refusal[0]:
            raise OutboxError(self._refusal[1].reason, str(self._refusal[1]))

    def _refuse(self, error: OSError | UntrustedError) -> OutboxError:
        """The error for what the system said, or for whose it is; it holds for a while without asking again."""
        seconds = RETRY_SECONDS
        if isinstance(error, UntrustedError):
            refusal = OutboxError("outbox_unavailable", f"{error}; set outbox_dir to one of this user's own")
            self._refusal = (monotonic() + seconds, refusal)
            return refusal
        where = error.filename or self.configuration or "memory"
        if error.errno in _FULL:
            seconds = RETRY_FULL_SECONDS
            problem = f"expected room on the disk of {where}, got: {error.strerror}; free some"
            refusal = OutboxError("outbox_full", problem)
        else:
            problem = f"expected a directory that can be written to, got {where}: {error.strerror}; set outbox_dir"
            refusal = OutboxError("outbox_unavailable", problem)
        self._refusal = (monotonic() + seconds, refusal)
        return refusal


def _least_bytes(needed: int) -> int:
    """The bytes of the least segment in which rows have room that take so many."""
    return max(LEAST_BYTES, -(-(HEADER_BYTES + needed) // PAGESIZE) * PAGESIZE)
