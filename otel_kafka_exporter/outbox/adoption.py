"""Taking over what dead processes left in their outboxes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.process import breathe, monotonic, note

from .box import Box
from .destination import Claim, Destination
from .directories import boxes, check_directories, configurations, read_owner
from .hold import Hold
from .merging import Adopter, Rows
from .segment import DONE, CutShortError, NotASegmentError, Segment
from .segment_scan import ROWS_A_BREATH
from .storage import Storage
from .stream import Stream, parse_segment_name
from .takeover import MOST_ADOPTED, NoRoomError, Takeover
from .trust import UntrustedError


class Fate(Enum):
    """What a process does with a record that a dead one has left."""

    TAKEN = "taken"
    LEFT = "left"  # where it is, for a process that has a Schema Registry
    SET_ASIDE = "set aside"  # for a person to look at: nobody sends it


class _Outcome(Enum):
    """What has become of a file."""

    MOVED = "moved"
    GONE = "gone"  # nothing was in it, or it was set aside, or its rows are elsewhere
    LEFT = "left"  # at least in part, for others
    KEPT = "kept"  # for want of a place where to set it aside


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
        self._takeover = Takeover(storage)
        self._hold = Hold()

    def abandon(self) -> None:
        """Give up what is under way, in a forked child whose parent goes on with it."""
        self._hold.abandon()

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
                *(self._storage.allocated(), self._storage.max_bytes, len(self._storage.segments()), MOST_ADOPTED),
            )
        self._is_told = is_full

    def _adopt_box(self, path: Path, adopter: Adopter, *, may_be_others: bool) -> Generator[None, None, None]:
        """Adopt what a dead process has left, one segment after the other."""
        with _failures_noted():
            check_directories(path.parent)
            with self._hold.box(path) as dead:
                if dead is not None:
                    yield from self._adopt_segments(dead, adopter, may_be_others=may_be_others)

    def _adopt_segments(self, dead: Box, adopter: Adopter, *, may_be_others: bool) -> Generator[None, None, None]:
        stays: set[Stream] = set()  # of which there is more, for this process, the next time
        found: set[_Outcome] = set()
        moved: list[Segment] = []
        for name in dead.names():
            parsed = parse_segment_name(name)
            if parsed is None or parsed[0] in stays:
                continue
            stream, path = parsed[0], dead.path / name
            try:
                outcome = self._adopt_segment(dead, stream, path, adopter, moved, may_be_others=may_be_others)
                found.add(outcome)
                if outcome is _Outcome.MOVED:
                    yield
            except NoRoomError:
                self._full.add(stream)
                stays.add(stream)
            except (BlockingIOError, CutShortError, FileNotFoundError):
                # Its owner lives, and somebody removed the lock; what is left is found the next time; it has gone.
                stays.add(stream)
            except OSError as error:
                note("outbox_file_not_adopted", "A file of a dead process cannot be adopted: %s: %s", path, error)
                stays.add(stream)
        if _Outcome.LEFT in found:
            self.passed_over.append(dead.path)
        elif not stays and _Outcome.KEPT not in found:
            # What was in it is found without it first: a power failure may leave what comes later, and not this.
            self._storage.sync(moved)
            dead.remove()

    def _adopt_segment(
        self, dead: Box, stream: Stream, path: Path, adopter: Adopter, moved: list[Segment], *, may_be_others: bool
    ) -> _Outcome:
        if stream in self._full:
            raise NoRoomError
        self._takeover.expect(path.lstat().st_size, adopter)
        try:
            with self._hold.segment(path) as segment:
                rows, stay = self._judge_rows(dead, stream, segment, may_be_others=may_be_others)
                if stay:
                    self._take_out(stream, segment, rows, adopter)
                    return _Outcome.LEFT
                if rows and self._takeover.goes_in_parts(segment, adopter):
                    if self._takeover.take_out(stream, segment, rows, adopter):
                        return _Outcome.LEFT
                elif rows:
                    self._takeover.take(stream, segment, rows, adopter)
                    moved.append(segment)
                    return _Outcome.MOVED
                return self._end(dead, stream, segment, adopter)
        except NotASegmentError as error:
            self._count_lost(path, stream, error.rows, adopter)
            return self._set_aside(dead, path.name, str(error))

    def _take_out(self, stream: Stream, segment: Segment, rows: Rows, adopter: Adopter) -> None:
        """Take over what this process can send of a segment that stays for others."""
        if not segment.damaged:  # it is counted by who takes it over as a whole
            try:
                self._takeover.take_out(stream, segment, rows, adopter)
            except NoRoomError:
                self._full.add(stream)

    def _end(self, dead: Box, stream: Stream, segment: Segment, adopter: Adopter) -> _Outcome:
        """Have a segment go in which nothing waits, one with damage to where a person finds it."""
        with adopter.lock:
            self._storage.others_bytes = max(0, self._storage.others_bytes - segment.size)
        path = segment.path
        if path is not None and segment.damaged:
            self._count_lost(path, stream, segment.damaged, adopter)
            return self._set_aside(dead, path.name, "expected undamaged rows, got others")
        segment.delete()
        return _Outcome.GONE

    def _count_lost(self, path: Path, stream: Stream, rows: int, adopter: Adopter) -> None:
        """Rows of a file are lost: that is counted once, however often it is found there."""
        if rows and path not in self._counted:
            self._counted.add(path)
            with adopter.lock:
                self._storage.on_loss(stream, rows, "outbox_damaged")

    def _set_aside(self, dead: Box, name: str, problem: str) -> _Outcome:
        """Move a file to where a person finds it. Where it cannot be moved it stays, and holds up nothing."""
        path = dead.path / name
        try:
            dead.set_aside(name, problem)
        except (OSError, UntrustedError) as error:
            note("outbox_not_set_aside", "%s cannot be read (%s), nor set aside, and stays: %s", path, problem, error)
            return _Outcome.KEPT
        self._counted.discard(path)  # another one may come to be there
        return _Outcome.GONE

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
        if aside:
            stay |= not self._set_rows_aside(dead, segment, aside)
        if segment.cut_off is not None:
            raise CutShortError(f"expected {segment.path} as it was found, got it cut short")
        if stay:
            note("outbox_left", "Records of a dead process cannot be sent by this one, and stay in %s", segment.path)
        return rows, stay

    @staticmethod
    def _set_rows_aside(dead: Box, segment: Segment, rows: Rows) -> bool:
        """Move rows that nobody sends to where a person finds them; whether they could be moved."""
        found = [(payload, segment.tries(offset)) for offset, payload in rows]
        name = "" if segment.path is None else segment.path.name
        try:
            dead.set_rows_aside(name, found, "expected the topics that this process writes to, got others")
        except (OSError, UntrustedError) as error:
            note(
                "outbox_rows_not_set_aside",
                "%d records in %s are for other topics, cannot be set aside, and stay: %s",
                *(len(rows), segment.path, error),
            )
            return False
        for offset, _ in rows:
            segment.set_state(offset, DONE)
        return True


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
