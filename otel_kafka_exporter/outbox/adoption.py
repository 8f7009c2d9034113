"""Taking over what dead processes left in their outboxes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.process import breathe, making_locks, monotonic, note

from .box import Box
from .destination import Claim, Destination
from .directories import boxes, check_directories, configurations, read_owner
from .merging import Adopter, Merging, Rows
from .segment import DONE, CutShortError, NotASegmentError, Segment
from .segment_format import row_bytes
from .segment_scan import ROWS_A_BREATH
from .storage import LEAST_BYTES, MOST_SEGMENTS, Storage
from .stream import ORDERS_IN_FRONT, SegmentQueue, Stream, parse_segment_name, segment_name
from .trust import UntrustedError

#: The rest is for what the process itself puts there.
_MOST_ADOPTED = MOST_SEGMENTS // 2


class Fate(Enum):
    """What a process does with a record that a dead one has left."""

    TAKEN = "taken"
    LEFT = "left"  # where it is, for a process that has a Schema Registry
    SET_ASIDE = "set aside"  # for a person to look at: nobody sends it


class _NoRoomError(Exception):
    """There is no room for a segment, or nobody who wants it any more."""


class _NotMovedError(Exception):
    """A file that nobody can deliver cannot be set aside: it stays, and holds up nothing."""


#: Tells that of a row of a stream, given its payload.
Judge = Callable[[Stream, bytes], Fate]


class Adoption:
    """Moves the segments of dead processes into a living one's storage, before all that is there.

    A file is renamed, so at every moment it is in one directory or in the other, whoever dies. Finding, reading and
    judging takes no lock of the storage's owner: that is held only while a file is moved, and counted.

    Args:
        storage: where they go.
        judge: what becomes of each row.

    Attributes:
        passed_over: the directories that the last pass left to others, wholly or in part.
    """

    def __init__(self, storage: Storage, judge: Judge) -> None:
        self._storage = storage
        self._judge = judge
        self.passed_over: list[Path] = []
        self._is_told = False  # of that there is no room
        self._counted: set[Path] = set()  # what is lost, and could not be set aside
        self._full: set[Stream] = set()  # for which there is no room: what follows of them stays behind it
        # Of the orders before all that was there: the next one, and the end.
        self._orders: dict[Stream, tuple[int, int]] = {}
        self._merging = Merging(storage, self._next_order)
        self._dead: Box | None = None
        self._opened: Segment | None = None

    def abandon(self) -> None:
        """Give up what is under way, in a forked child whose parent goes on with it."""
        if self._opened is not None:
            self._opened.abandon()
        if self._dead is not None:
            self._dead.abandon()

    def adopt(self, adopter: Adopter, until: float) -> bool:
        """Take over what there is and has room. One thread at a time calls it, and does not hold the lock.

        Args:
            adopter: for whom.
            until: when to stop, by the monotonic clock, once something was adopted.

        Returns:
            Whether it was stopped by that, and goes on when it is called again.
        """
        self.passed_over = []
        self._full.clear()
        configuration = self._storage.configuration
        if configuration is None:
            return False
        ours = Destination.of(self._storage.owner)
        # The oldest first, as they are to be delivered.
        for path in reversed(boxes(*configurations(configuration.parent))):
            if self._storage.owns(path):
                continue
            is_same = path.parent == configuration
            left = Destination.of(read_owner(path))
            claim = ours.claims(left, same_configuration=is_same)
            if claim is Claim.OTHERS:
                self.passed_over.append(path)
            elif claim is Claim.OURS:
                # What topics another one wrote to that does not say so is told by its rows.
                may_be_others = not is_same and left.topics is None
                with closing(self._adopt_box(path, adopter, may_be_others=may_be_others)) as steps:
                    if any(monotonic() >= until for _ in steps):
                        return True
        self._tell_of_room()
        return False

    def _tell_of_room(self) -> None:
        """Say once that there is no room, until there is again."""
        is_full = bool(self._full) and not self._storage.is_closed
        if is_full and not self._is_told:
            note(
                "outbox_no_room",
                "What other processes have left in the outbox waits until there is room: %d of %d bytes are taken, in"
                " %d of %d files; set outbox_max_bytes higher, or mend what keeps them from being delivered",
                *(self._storage.allocated(), self._storage.max_bytes, len(self._storage.segments()), _MOST_ADOPTED),
            )
        self._is_told = is_full

    def _adopt_box(self, path: Path, adopter: Adopter, *, may_be_others: bool) -> Generator[None, None, None]:
        """Adopt what a dead process has left, one segment after the other."""
        with _failures_noted():
            check_directories(path.parent)
            with making_locks:
                dead = self._dead = Box.take(path)
            if dead is None:
                return
            try:
                yield from self._adopt_segments(dead, adopter, may_be_others=may_be_others)
            finally:
                with making_locks:
                    dead.release()
                    self._dead = None

    def _adopt_segments(self, dead: Box, adopter: Adopter, *, may_be_others: bool) -> Generator[None, None, None]:
        stays: set[Stream] = set()
        is_left = is_kept = False
        moved: list[Segment] = []
        for name in dead.names():
            parsed = parse_segment_name(name)
            if parsed is None or parsed[0] in stays:
                continue
            stream = parsed[0]
            try:
                segment = self._open(dead, stream, name, adopter)
                if segment is not None:
                    rows, stay = self._judge_rows(dead, stream, segment, may_be_others=may_be_others)
                    is_left |= stay  # also if there is no room for the others
                    if stay or self._goes_in_parts(segment, adopter):
                        stay |= self._take_out(stream, segment, rows, adopter, stay=stay)
                        is_left |= stay
                        rows = []
                    if not stay and self._take(dead, stream, segment, rows, adopter):
                        moved.append(segment)
                        yield
            except _NoRoomError:
                self._full.add(stream)
                stays.add(stream)
            except _NotMovedError:
                is_kept = True
            except (BlockingIOError, CutShortError, FileNotFoundError):
                # Its owner lives, and somebody removed the lock; the next time it is found what is left; or it has gone.
                stays.add(stream)
            except OSError as error:
                note(
                    "outbox_not_adopted",
                    "A file of a dead process's outbox cannot be adopted: %s: %s",
                    dead.path / name,
                    error,
                )
                stays.add(stream)
            finally:
                self._close(dead)
        if is_left:
            self.passed_over.append(dead.path)
        elif not stays and not is_kept:
            # What was in it is found without it first: a power failure may leave what comes later, and not this.
            self._storage.sync(moved)
            dead.remove()

    def _open(self, dead: Box, stream: Stream, name: str, adopter: Adopter) -> Segment | None:
        """A segment that is nobody else's from here on; None where it is none, and was set aside."""
        path = dead.path / name
        size = path.lstat().st_size
        if stream in self._full:
            raise _NoRoomError
        with adopter.lock:
            self._make_room(size, LEAST_BYTES if self._storage.never_fits(size) else size)
        try:
            with making_locks:
                segment = self._opened = Segment.lock(path)
            segment.load(breathe)
        except NotASegmentError as error:
            with adopter.lock:
                self._count_lost(path, stream, error.rows)
            self._set_aside(dead, name, str(error))
            return None
        return segment

    def _count_lost(self, path: Path, stream: Stream, rows: int) -> None:
        """Rows of a file are lost: that is counted once, however often it is found there. Expects the lock to be held."""
        if rows and path not in self._counted:
            self._counted.add(path)
            self._storage.on_loss(stream, rows, "outbox_damaged")

    def _set_aside(self, dead: Box, name: str, problem: str) -> None:
        """Move a file to where a person finds it.

        Raises:
            _NotMovedError: it stays where it is.
        """
        path = dead.path / name
        try:
            dead.set_aside(name, problem)
        except (OSError, UntrustedError) as error:
            note("outbox_not_set_aside", "%s cannot be read (%s), nor set aside, and stays: %s", path, problem, error)
            raise _NotMovedError from error
        self._counted.discard(path)  # another one may come to be there

    def _close(self, dead: Box) -> None:
        """Let go of the segment that was opened, unless it is this process's own by now."""
        with making_locks:
            opened = self._opened
            if opened is not None and opened.path is not None and opened.path.parent == dead.path:
                opened.close()
            self._opened = None

    def _judge_rows(self, dead: Box, stream: Stream, segment: Segment, *, may_be_others: bool) -> tuple[Rows, bool]:
        """Where the rows are that wait, and their payloads, and whether others stay where they are.

        Those that nobody sends are set aside.

        Raises:
            CutShortError: somebody has cut it short meanwhile.
        """
        aside: Rows = []
        rows: Rows = []
        stay = False
        for number, (offset, payload) in enumerate(segment.live_rows(), 1):
            if not number % ROWS_A_BREATH:
                breathe()
            fate = self._judge(stream, payload)
            if fate is Fate.LEFT or (fate is Fate.SET_ASIDE and may_be_others):
                stay = True
            elif fate is Fate.SET_ASIDE:
                aside.append((offset, payload))
            else:
                rows.append((offset, payload))
        if aside and segment.path is not None:
            problem = "expected the topics that this process writes to, got others"
            found = [(payload, segment.tries(offset)) for offset, payload in aside]
            try:
                dead.set_rows_aside(segment.path.name, found, problem)
            except (OSError, UntrustedError) as error:
                note(
                    "outbox_rows_not_set_aside",
                    "%d records in %s are for other topics, cannot be set aside, and stay: %s",
                    *(len(aside), segment.path, error),
                )
                stay = True
            else:
                for offset, _ in aside:
                    segment.set_state(offset, DONE)
        if segment.cut_off is not None:
            raise CutShortError(f"expected {segment.path} as it was found, got it cut short")
        if stay:
            note("outbox_left", "Records of a dead process cannot be sent by this one, and stay in %s", segment.path)
        return rows, stay

    def _goes_in_parts(self, segment: Segment, adopter: Adopter) -> bool:
        """Whether there is no room for a segment as a whole, and may never be."""
        with adopter.lock:
            return self._storage.never_fits(segment.size) and not self._has_room(segment.size)

    def _take_out(self, stream: Stream, segment: Segment, rows: Rows, adopter: Adopter, *, stay: bool) -> bool:
        """Take over what this process can send of a segment that stays for others, or goes in parts.

        Returns:
            Whether some of it are too large to be taken over ever.

        Raises:
            _NoRoomError: there is no room for all of them at present.
        """
        if stay and segment.damaged:  # it is counted by who takes it over as a whole
            return True
        fitting = [row for row in rows if not self._storage.never_fits(row_bytes(len(row[1])))]
        if fitting:
            self._ready(adopter)
            if not self._merging.take_out(stream, segment, fitting, adopter):
                raise _NoRoomError
        return len(fitting) < len(rows)

    def _ready(self, adopter: Adopter) -> None:
        """Whose this process's own directory is must not be lost where what comes there is not."""
        with adopter.lock:
            if not self._storage.is_closed:
                self._storage.box()
        self._storage.sync(())

    def _take(self, dead: Box, stream: Stream, segment: Segment, rows: Rows, adopter: Adopter) -> bool:
        """Take a segment over, or have it go; whether anything in it waits."""
        path = segment.path
        assert path is not None  # noqa: S101 - what was opened has one
        if rows:
            self._ready(adopter)
        is_merged = bool(rows) and self._merging.merge(stream, segment, rows, adopter)
        with adopter.lock:
            if rows and not is_merged:
                self._move(stream, segment)
            self._storage.others_bytes = max(0, self._storage.others_bytes - segment.size)
            self._count_lost(path, stream, segment.damaged)
            if rows:
                self._counted.discard(path)
            if rows and not is_merged:
                adopter.on_adopted(stream, len(rows))
            if stream.dead:
                self._storage.keep_share()
        if not rows and segment.damaged:
            self._set_aside(dead, path.name, "expected undamaged rows, got others")
        elif not rows:
            segment.delete()
        return bool(rows)

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
            _NoRoomError: it may not.
        """
        if self._storage.is_closed:
            raise _NoRoomError
        if not self._has_room(size):
            self._storage.discard_done()
        if not self._has_room(least):
            raise _NoRoomError

    def _has_room(self, size: int) -> bool:
        count = len(self._storage.segments())
        # One that is larger than all that is allowed is taken when there is nothing else.
        return count == 0 or (count < _MOST_ADOPTED and self._storage.allocated() + size <= self._storage.max_bytes)


@contextmanager
def _failures_noted() -> Iterator[None]:
    try:
        yield
    except UntrustedError as error:
        note("outbox_untrusted", "What other processes left in the outbox is not touched: %s", error)
    except (FileNotFoundError, OutboxError):
        pass  # another one was quicker; who puts a row into the outbox is told
    except OSError as error:
        note("outbox_not_adopted", "The outbox of a dead process cannot be adopted: %s", error)
