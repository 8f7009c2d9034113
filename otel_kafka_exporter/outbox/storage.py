"""Where the outbox's segments are kept: in the process's own directory, or in memory; and what becomes of its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.process import making_locks, monotonic, note

from . import disk
from .box import Box
from .refusal import FULL, Refusal
from .room import OnLoss, Room, least_bytes
from .segment import Segment
from .segment_format import row_bytes
from .stream import SegmentQueue, Stream, parse_segment_name, segment_name
from .trust import UntrustedError

#: A disk that is full yet after so many times the needed bytes were deleted gives none back: of a snapshot, say, or to
#: another one who writes there. Nothing gives way to it then for so long.
_EVICTED_TIMES, _SPARED_SECONDS = 4, 60.0
_SPARED = 4


class Storage(Room):
    """The segments of one process, in its directory or in memory.

    Args:
        configuration: the directory of all processes that may adopt each other's segments; None for memory only.
        max_bytes, dead_max_bytes, on_loss, directory_max_bytes: as of `Room`.
        owner: what the process says of itself.

    Attributes:
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
        super().__init__(max_bytes, dead_max_bytes, on_loss, directory_max_bytes)
        self.configuration = configuration
        self.owner = owner
        self.is_closed = False
        self._box: Box | None = None
        self._refusal = Refusal(configuration)
        self._spared_until = 0.0  # in monotonic(): what would give way to a full disk, in vain

    def box(self) -> Box:
        """The process's own directory, which is made when it is needed first.

        Raises:
            OutboxError: it cannot be made.
        """
        if self._box is None:
            assert self.configuration is not None  # noqa: S101 - what is in memory has no directory
            self._refusal.check()
            try:
                with making_locks():
                    self._box = Box.make(self.configuration, self.owner)
            except (OSError, UntrustedError) as error:
                raise self._refusal.of(error) from error
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
        least = least_bytes(row_bytes(payload_bytes))
        size = self._size(queue.stream, least, before)
        self._refusal.check()
        self._make_room(queue.stream, least)
        evicted = 0
        while True:
            try:
                return self._place(queue, order, max(least, min(size, self.most_bytes() - self.allocated())), created)
            except OSError as error:  # noqa: PERF203 - a second time at the most, unless the disk is full
                if error.errno in FULL and size > least:
                    size = least
                    continue
                if error.errno in FULL and evicted >= _EVICTED_TIMES * least:
                    self._spared_until = monotonic() + _SPARED_SECONDS
                taken = self.allocated()
                if error.errno not in FULL or monotonic() < self._spared_until or not self._evict(queue.stream):
                    raise self._refusal.of(error) from error
                evicted += taken - self.allocated()

    def add_if_free(
        self, queue: SegmentQueue, order: int, before: Segment | None, created: int, needed: int
    ) -> Segment | None:
        """As `add`, for rows that take so many bytes in all, but nothing gives way; None where there is no room.

        Raises:
            OutboxError: there is no directory.
        """
        least, free = least_bytes(needed), self.most_bytes() - self.allocated()
        if free < least:
            return None
        size = self._size(queue.stream, least, before)
        if size * _SPARED > free:  # what comes next needs room as well
            size = least
        self._refusal.check()
        try:
            return self._place(queue, order, size, created)
        except OSError as error:
            if error.errno in FULL:
                return None
            raise self._refusal.of(error) from error

    def _place(self, queue: SegmentQueue, order: int, size: int, created: int) -> Segment:
        with making_locks():
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

    def discard_done(self) -> None:
        """Remove the segments whose rows are all DONE, those that are written to as well."""
        for queue, segment in self.segments():
            if not segment.live:
                self.discard(queue, segment)

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
        self._refusal.room_again()

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
                with making_locks():
                    current = self._box = Box.make(box.path.parent, self.owner)
                    box.release()
            for queue, segment in self.segments():
                if not self._is_placed(queue, segment):
                    with making_locks():
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
        while box is not self._box:  # another one, once somebody removed it meanwhile
            box = self._box
            # First: a file whose directory is not there is not there.
            first = () if box is None else (box.sync,)
            _all_of(*first, *(segment.sync for segment in segments))

    def flush(self) -> None:
        """What is not DONE is on the disk when this returns; it waits for no other thread.

        Raises:
            OSError: the disk did not take some of it.
        """
        live = [segment for _, segment in self.segments() if segment.live]
        first = () if self._box is None or not live else (self._box.flush,)
        _all_of(*first, *(segment.flush for segment in live))

    def close(self) -> None:
        """Leave what is not DONE to be adopted, and remove the rest."""
        self.is_closed = True
        for queue, segment in self.segments():
            if segment.live:
                with making_locks():
                    segment.close()
            else:
                self.discard(queue, segment)
        box = self._box
        if box is not None:
            with suppress(OSError, UntrustedError):  # who adopts the rest removes it then
                if not any(parse_segment_name(name) for name in box.names()):
                    box.remove()
            with making_locks():
                box.release()

    def abandon(self) -> None:
        """Close everything in a forked child, whose parent goes on with it; no file is touched."""
        for _, segment in self.segments():
            segment.abandon()
        if self._box is not None:
            self._box.abandon()


def _all_of(*steps: Callable[[], None]) -> None:
    """Do all of them, and raise the first error then: the others' rows are none the worse for it."""
    problem: OSError | None = None
    for step in steps:
        try:
            step()
        except OSError as error:  # noqa: PERF203 - rarely
            problem = problem or error
    if problem is not None:
        raise problem
