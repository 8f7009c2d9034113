"""The bound of all processes together: what they keep below one directory, be they alive or dead.

Each process sees to it, from time to time and by itself. Over the bound the same gives way as within a process: dead
letters first, then application records, each the oldest first; audit and security records never do. A process has its
own give way, and those that dead ones have left which it would take over. What is another's is counted, and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from otel_kafka_exporter.process import breathe, note

from .box import Box
from .destination import Claim, Destination
from .directories import boxes, check_directories, configurations, read_owner
from .merging import Adopter
from .segment import NotASegmentError, Segment
from .segment_format import HEADER_BYTES, read_header
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
    """

    path: Path
    stream: Stream
    size: int

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
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def keep(self, adopter: Adopter) -> None:
        """Find out how much there is, and have give way what is too much. Call it without the lock, from time to time.

        Args:
            adopter: for whom; it is told of what was left by dead processes as if that were adopted, and then lost.
        """
        storage = self._storage
        configuration, most = storage.configuration, storage.directory_max_bytes
        if configuration is None or most is None:
            return
        others = list(_segments(configuration.parent, storage))
        with adopter.lock:
            storage.others_bytes = sum(each.size for each in others)
            over = self._over(most)
            own = storage.giving_way() if over > 0 else []
        if over <= 0:
            return
        note(
            "outbox_directory_full",
            "What all processes keep in %s is about to be more than outbox_directory_max_bytes=%d: dead letters and"
            " application records give way, the oldest first",
            *(configuration.parent, most),
        )
        left = [each for each in others if each.gives_way and self._is_ours(each.path.parent)]
        found: list[tuple[bool, int, _Left | tuple[SegmentQueue, Segment]]] = []
        found += [(not each.stream.dead, each.created, each) for each in left]
        found += [(not queue.stream.dead, segment.created, (queue, segment)) for queue, segment in own]
        for _, _, each in sorted(found, key=lambda pair: pair[:2]):
            if isinstance(each, _Left):
                self._give_up(each, adopter)
            else:
                self._give_up_own(*each, adopter)
            with adopter.lock:
                if self._over(most) <= 0:
                    return

    def _over(self, most: int) -> float:
        return self._storage.others_bytes + self._storage.allocated() - most * _KEPT

    def _is_ours(self, box: Path) -> bool:
        """Whether this process would take over what is in a directory, as far as it knows its own cluster."""
        ours, left = Destination.of(self._storage.owner), Destination.of(read_owner(box))
        if ours.cluster_id is None:
            left = left._replace(cluster_id=None)
        return ours.claims(left, same_configuration=box.parent == self._storage.configuration) is Claim.OURS

    def _give_up_own(self, queue: SegmentQueue, segment: Segment, adopter: Adopter) -> None:
        with adopter.lock:
            if segment in queue.segments:
                self._storage.give_up(queue, segment)

    def _give_up(self, left: _Left, adopter: Adopter) -> None:
        """Delete a segment, unless its process lives, or somebody else takes it over."""
        with suppress(OSError, UntrustedError, NotASegmentError):
            check_directories(left.path.parent.parent)
            dead = Box.take(left.path.parent)
            if dead is None:
                return
            try:
                segment = Segment.lock(left.path)
                segment.load(breathe)
                rows, damaged = segment.waiting, segment.damaged
                segment.delete()
            finally:
                dead.release()
            with adopter.lock:
                storage = self._storage
                storage.others_bytes = max(0, storage.others_bytes - left.size)
                adopter.on_adopted(left.stream, rows)
                storage.on_loss(left.stream, rows, "dead_letters_full" if left.stream.dead else "outbox_full")
                if damaged:
                    storage.on_loss(left.stream, damaged, "outbox_damaged")


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
                        yield _Left(path, parsed[0], path.lstat().st_size)
