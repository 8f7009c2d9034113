"""Taking over what dead processes left in their outboxes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from enum import Enum
from pathlib import Path

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.process import making_locks, note

from .box import Box, boxes, check_directories
from .segment import DONE, NotASegmentError, Segment
from .storage import MOST_SEGMENTS, Storage
from .stream import ORDERS_IN_FRONT, SegmentQueue, Stream, parse_segment_name, segment_name
from .trust import UntrustedError


class Fate(Enum):
    """What a process does with a record that a dead one has left."""

    TAKEN = "taken"
    LEFT = "left"  # where it is, for a process that has a Schema Registry
    SET_ASIDE = "set aside"  # for a person to look at: nobody sends it


class _LeftError(Exception):
    """A segment holds records that this process leaves where they are."""


#: Tells that of a row of a stream, given its payload.
Judge = Callable[[Stream, bytes], Fate]


class Adoption:
    """Moves the segments of dead processes into a living one's storage, before all that is there.

    A file is renamed, so at every moment it is in one directory or in the other, whoever dies.

    Args:
        storage: where they go.
        judge: what becomes of each row.
    """

    def __init__(self, storage: Storage, judge: Judge) -> None:
        self._storage = storage
        self._judge = judge
        # The orders kept for the rest of a dead process's segments, for which there was no room.
        self._reserved: dict[tuple[str, Stream], int] = {}
        self._dead: Box | None = None

    def abandon(self) -> None:
        """Give up what is under way, in a forked child whose parent goes on with it."""
        if self._dead is not None:
            self._dead.release()

    def adopt(self) -> Generator[tuple[Stream, int], None, None]:
        """Take over what there is and has room; for each segment its stream, and how many rows wait now."""
        configuration = self._storage.configuration
        if configuration is None:
            return
        try:
            check_directories(configuration)
        except UntrustedError as error:
            note("outbox_untrusted", "What other processes left in the outbox is not touched: %s", error)
        except OSError:
            pass  # it is not there, or whoever puts a row into the outbox is told
        else:
            # The oldest last: each goes before those that came earlier.
            for path in boxes(configuration):
                if not self._storage.owns(path):
                    yield from self._adopt_box(path)

    def _adopt_box(self, path: Path) -> Iterator[tuple[Stream, int]]:
        try:
            with making_locks:
                dead = self._dead = Box.take(path)
            if dead is None:
                return
            try:
                found: dict[Stream, list[str]] = {}
                for name in dead.names():
                    parsed = parse_segment_name(name)
                    if parsed is not None:
                        found.setdefault(parsed[0], []).append(name)
                complete = True
                for stream, names in found.items():
                    complete &= yield from self._adopt_stream(dead, stream, names)
                if complete:
                    dead.remove()
            finally:
                self._dead = None
                dead.release()
        except OutboxError:
            pass  # who puts a row into the outbox is told
        except UntrustedError as error:
            note("outbox_untrusted", "What another process left in the outbox is not touched: %s", error)
        except OSError as error:
            note("outbox_not_adopted", "The outbox of a dead process cannot be adopted: %s", error)

    def _adopt_stream(self, dead: Box, stream: Stream, names: list[str]) -> Generator[tuple[Stream, int], None, bool]:
        """Adopt segments in their order; whether none of them has to stay."""
        queue = self._storage.queues[stream]
        key = (dead.path.name, stream)
        order = self._reserved.pop(key, 0) or queue.orders_before(max(len(names), ORDERS_IN_FRONT))
        complete = True
        for name in names:
            try:
                if not self._make_room((dead.path / name).lstat().st_size):
                    break
                with making_locks:
                    segment = Segment.open(dead.path / name, order)
                    self._adopt_segment(dead, queue, segment)
            except NotASegmentError as error:
                dead.set_aside(name, str(error))
                if error.rows:
                    self._storage.on_loss(stream, error.rows, "outbox_damaged")
            except BlockingIOError:
                break  # its owner lives, and somebody removed the lock
            except _LeftError:
                complete = False
            else:
                order += 1
                if segment.damaged:
                    self._storage.on_loss(stream, segment.damaged, "outbox_damaged")
                if segment.waiting:
                    yield stream, segment.waiting
        else:
            return complete
        self._reserved[key] = order
        return False

    def _make_room(self, size: int) -> bool:
        if not self._has_room(size):
            self._storage.discard_done()
        return self._has_room(size)

    def _has_room(self, size: int) -> bool:
        count = len(self._storage.segments())
        # One that is larger than all that is allowed is taken when there is nothing else.
        return count == 0 or (
            count < MOST_SEGMENTS // 2 and self._storage.allocated() + size <= self._storage.max_bytes
        )

    def _adopt_segment(self, dead: Box, queue: SegmentQueue, segment: Segment) -> None:
        try:
            fates = [(offset, payload, self._judge(queue.stream, payload)) for offset, payload in segment.live_rows()]
            if any(fate is Fate.LEFT for _, _, fate in fates):
                line = "Records of a dead process cannot be sent by this one, and stay in %s"
                note("outbox_left", line, segment.path)
                raise _LeftError  # noqa: TRY301 - closed below, as on any other error
            aside = [(offset, payload) for offset, payload, fate in fates if fate is Fate.SET_ASIDE]
            if aside and segment.path is not None:
                problem = "expected the topics that this process writes to, got others"
                dead.set_rows_aside(segment.path.name, [payload for _, payload in aside], problem)
                for offset, _ in aside:
                    segment.set_state(offset, DONE)
            if segment.waiting:
                queue.add(segment)
                segment.move(self._storage.box().path / segment_name(queue.stream, segment.order))
            elif segment.damaged and segment.path is not None:
                dead.set_aside(segment.path.name, "expected undamaged rows, got others")
                segment.close()
            else:
                segment.delete()
        except BaseException:  # Ctrl-C too; it goes on from here
            queue.remove(segment)
            segment.close()
            raise
