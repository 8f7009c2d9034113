"""The bound of all processes together: what they keep below one directory, be they alive or dead.

Each process sees to it, from time to time and by itself. Over the bound the same gives way as within a process: dead
letters first, then application records, each the oldest first; audit and security records never do. A process has its
own give way, and those that dead ones have left which it would take over whole, and deliver. Everything else is
counted, and left alone: what is another's, what waits for a process with a Schema Registry, and what is damaged, which
a person may want to look at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from otel_kafka_exporter.process import breathe, lock_file, making_locks, note

from .adoption import Fate, Judge
from .descriptor import Descriptor
from .destination import Claim, Destination
from .directories import boxes, check_directories, configurations, read_owner
from .hold import Hold
from .merging import Adopter
from .segment import CutShortError, NotASegmentError, Segment
from .segment_format import HEADER_BYTES, read_header
from .segment_scan import ROWS_A_BREATH
from .storage import Storage
from .stream import SegmentQueue, Stream, parse_segment_name
from .trust import UntrustedError, read_file

#: The part of the bound down to which the rest gives way: so there is room for an event that does not.
_KEPT = 15 / 16


class _Left(NamedTuple):
    """A segment of another process.

    Attributes:
        path: its file.
        stream: whose it is.
        size: its bytes.
        modified: when it was, in Unix nanoseconds.
    """

    path: Path
    stream: Stream
    size: int
    modified: int

    @property
    def gives_way(self) -> bool:
        return self.stream.dead or self.stream.category == "application"

    @property
    def created(self) -> int:
        """When it was made, in Unix nanoseconds; 0 where that cannot be read."""
        try:
            return read_header(read_file(self.path, HEADER_BYTES))[1]
        except (OSError, NotASegmentError):
            return 0


class DirectoryBound:
    """Sees to it that all processes together keep no more than so much.

    Args:
        storage: this process's own.
        judge: what becomes of a row that is taken over.
    """

    def __init__(self, storage: Storage, judge: Judge) -> None:
        self._storage = storage
        self._judge = judge
        self._stays: dict[Path, int] = {}  # what was found not to be ours to give up, and when it was modified
        # What a forked child has to let go of.
        self._turn: Descriptor | None = None
        self._hold = Hold()

    def abandon(self) -> None:
        """Give up what is under way, in a forked child whose parent goes on with it."""
        self._hold.abandon()
        if self._turn is not None:
            self._turn.close()

    def keep(self, adopter: Adopter) -> None:
        """Find out how much there is, and have give way what is too much. Call it without the lock, from time to time.

        Args:
            adopter: for whom; it is told of what was left by dead processes as if that were adopted, and then lost.
        """
        configuration, most = self._storage.configuration, self._storage.directory_max_bytes
        if configuration is None or most is None:
            return
        self._look(configuration.parent, adopter)
        if not self._is_over(most, adopter):
            return
        with self._taking_turns(configuration) as is_ours:
            if not is_ours:
                return
            others = self._look(configuration.parent, adopter)  # somebody may have given way since
            if self._is_over(most, adopter):
                note(
                    "outbox_directory_full",
                    "What all processes keep in %s is about to be more than outbox_directory_max_bytes=%d: dead letters"
                    " and application records give way, the oldest first",
                    *(configuration.parent, most),
                )
                self._give_way(others, most, adopter)

    def _look(self, directory: Path, adopter: Adopter) -> list[_Left]:
        """What the other processes keep."""
        others = list(_segments(directory, self._storage))
        with adopter.lock:
            self._storage.others_bytes = sum(each.size for each in others)
        return others

    def _is_over(self, most: int, adopter: Adopter) -> bool:
        with adopter.lock:
            storage = self._storage
            return not storage.is_closed and storage.others_bytes + storage.allocated() > most * _KEPT

    @contextmanager
    def _taking_turns(self, configuration: Path) -> Iterator[bool]:
        """Whether nobody else has something give way at this moment: all would give up what one has to."""
        is_ours = True
        try:
            with making_locks():
                descriptor = os.open(configuration, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._turn = Descriptor(descriptor)
                lock_file(descriptor)
        except BlockingIOError:
            is_ours = False
        except OSError:
            pass  # there is none yet, or a file system that locks no directories, as NFS
        try:
            yield is_ours
        finally:
            with making_locks():
                if self._turn is not None:
                    self._turn.close()
                self._turn = None

    def _give_way(self, others: list[_Left], most: int, adopter: Adopter) -> None:
        self._stays = {each.path: each.modified for each in others if self._stays.get(each.path) == each.modified}
        with adopter.lock:
            own = [(queue, segment) for queue, segment in self._storage.giving_way() if not segment.damaged]
        boxes_of_ours = {box for box in {each.path.parent for each in others} if self._is_ours(box)}
        left = [
            each
            for each in others
            if each.gives_way and each.path.parent in boxes_of_ours and each.path not in self._stays
        ]
        found: list[tuple[bool, int, _Left | tuple[SegmentQueue, Segment]]] = []
        found += [(not each.stream.dead, each.created, each) for each in left]
        found += [(not queue.stream.dead, segment.created, (queue, segment)) for queue, segment in own]
        for _, _, each in sorted(found, key=lambda pair: pair[:2]):
            if isinstance(each, _Left):
                self._give_up(each, adopter)
            else:
                self._give_up_own(*each, adopter)
            if not self._is_over(most, adopter):
                return

    def _is_ours(self, box: Path) -> bool:
        """Whether this process would take over what is in a directory."""
        ours, left = Destination.of(self._storage.owner), Destination.of(read_owner(box))
        return ours.claims(left, same_configuration=box.parent == self._storage.configuration) is Claim.OURS

    def _give_up_own(self, queue: SegmentQueue, segment: Segment, adopter: Adopter) -> None:
        with adopter.lock:
            if segment in queue.segments and not self._storage.is_closed:
                self._storage.give_up(queue, segment)

    def _give_up(self, left: _Left, adopter: Adopter) -> None:
        """Delete a segment, unless its process lives, somebody else takes it over, or it is not ours to give up."""
        with suppress(OSError, UntrustedError):
            check_directories(left.path.parent.parent)
            try:
                with self._hold.box(left.path.parent) as dead:
                    if dead is not None:
                        with self._hold.segment(left.path) as segment:
                            if self._may_go(left.stream, segment):
                                self._delete(left, segment, adopter)
                            else:
                                self._stays[left.path] = left.modified
            except (NotASegmentError, CutShortError):  # who adopts it sets it aside
                self._stays[left.path] = left.modified

    def _delete(self, left: _Left, segment: Segment, adopter: Adopter) -> None:
        storage = self._storage
        with adopter.lock:
            if storage.is_closed:
                return
            rows = segment.waiting
            segment.delete()
            storage.others_bytes = max(0, storage.others_bytes - left.size)
            adopter.on_adopted(left.stream, rows)
            storage.on_loss(left.stream, rows, "dead_letters_full" if left.stream.dead else "outbox_full")

    def _may_go(self, stream: Stream, segment: Segment) -> bool:
        """Whether who adopts it would deliver all of it."""
        if segment.damaged:
            return False
        for number, (_, payload) in enumerate(segment.live_rows(), 1):
            if not number % ROWS_A_BREATH:
                breathe()
            if self._judge(stream, payload) is not Fate.TAKEN:
                return False
        return segment.intact()  # nobody has cut it short meanwhile


def _segments(directory: Path, storage: Storage) -> Iterator[_Left]:
    """Those of all other processes."""
    for box in boxes(*configurations(directory)):
        if storage.owns(box):
            continue
        with suppress(OSError):
            for path in box.iterdir():
                parsed = parse_segment_name(path.name)
                if parsed is not None:
                    with suppress(OSError):
                        status = path.lstat()
                        yield _Left(path, parsed[0], status.st_size, status.st_mtime_ns)
