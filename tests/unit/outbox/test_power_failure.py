"""With `durability=power`, what a call returned is there after a power failure, at whatever moment that comes."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import disk, merging
from otel_kafka_exporter.outbox.adoption import Fate
from otel_kafka_exporter.outbox.box import SET_ASIDE
from otel_kafka_exporter.outbox.outbox import Adopter, Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING, NotASegmentError, Segment
from otel_kafka_exporter.outbox.stream import STREAMS, Place, Stream
from otel_kafka_exporter.process import RLock
from tests.outboxes import Losses, in_memory, places
from tests.power import Choice, Left, PowerFailureError, RecordedDisk

#: Everything that a process does.
ALL_ACTIONS = (
    *("more", "sync", "front", "letter", "sync", "done", "die", "append", "sync", "die elsewhere", "more", "sync"),
    *("letter", "die", "front", "lose files", "lose the lock", "more", "sync", "done", "die elsewhere", "sync"),
)
#: And how often, in proportion.
ACTIONS = (
    ("append",) * 6
    + ("sync",) * 3
    + ("done", "front", "letter", "die", "die elsewhere", "lose files", "lose the lock", "more")
)
ROW_BYTES = (20, 5_000, 30_000)


@pytest.fixture(scope="module", autouse=True)
def _segments_are_merged() -> Iterator[None]:
    """However few there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "_FEW", 1)
        yield


class History:
    """Processes one after the other, and what they were promised.

    Attributes:
        promised: rows of which a `sync` has returned, and which are not settled.
    """

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self.directory = directory
        self.chance = chance
        self.promised: set[bytes] = set()
        self.rows: dict[bytes, tuple[Stream, Place]] = {}
        self.number = 0
        self.lock = RLock()
        self.outbox = _outbox(directory, "first")

    def do(self, action: str) -> None:
        getattr(self, f"_{action.replace(' ', '_')}")()

    def _append(self) -> None:
        self.number += 1
        row = b"%s%d:" % (self.chance.choice([b"row", b"row", b"strange"]), self.number)
        row = row.ljust(self.chance.choice(ROW_BYTES), b".")
        stream = self.chance.choice([stream for stream in STREAMS if not stream.dead])
        self.rows[row] = (stream, self.outbox.append(stream, row))

    def _more(self) -> None:
        for _ in range(5):
            self._append()

    def _sync(self) -> None:
        self.outbox.sync(self.lock)
        self.promised.update(self.rows)

    def _done(self) -> None:
        if self.rows:
            row = self.chance.choice(list(self.rows))
            self.promised.discard(row)
            self.outbox.set_state(self.rows.pop(row)[1], DONE)

    def _front(self) -> None:
        """A retreat: some go before all others."""
        front = {stream: self.outbox.front(stream) for stream in STREAMS}
        for row in self.chance.sample(list(self.rows), min(3, len(self.rows))):
            stream, before = self.rows[row]
            after = front[stream].append(row, SENT)
            self.outbox.set_state(after, WAITING)
            self.outbox.supersede(before, after)
            self.rows[row] = (stream, after)

    def _letter(self) -> None:
        """A broker refuses a record for good."""
        if self.rows:
            row = self.chance.choice(list(self.rows))
            stream, before = self.rows[row]
            dead = Stream(stream.category, dead=True)
            after = self.outbox.append(dead, row)
            self.outbox.supersede(before, after)
            self.rows[row] = (dead, after)

    def _die(self, configuration: str = "first") -> None:
        """A kill: another process takes over."""
        self.outbox.abandon()
        self.outbox = _outbox(self.directory, configuration)
        self.outbox.adopt(Adopter(self.lock, lambda *_: None))
        self.rows = {}
        for stream in STREAMS:
            self.rows |= {self.outbox.read(place): (stream, place) for place in places(self.outbox, stream)}

    def _die_elsewhere(self) -> None:
        self._die("second")

    def _lose_files(self) -> None:
        """Somebody removes the segments; they are written anew."""
        self._lose("*.segment")

    def _lose_the_lock(self) -> None:
        """Somebody removes what says whose a directory is; the segments go to another one."""
        self._lose("owner")

    def _lose(self, names: str) -> None:
        rows, self.promised = self.promised, set()  # for a moment nobody can keep that
        for path in list(self.directory.glob(f"*/*/*/*-*-*-*-*/{names}")):
            disk.remove(path)
        self.outbox.check()
        self.outbox.sync(self.lock)
        self.promised = rows | set(self.rows)


def _judge(_stream: Stream, payload: bytes) -> Fate:
    return Fate.SET_ASIDE if payload.startswith(b"strange") else Fate.TAKEN


def _outbox(directory: Path, configuration: str, *, takes_all: bool = False) -> Outbox:
    owner = {"pid": 7, "bootstrap_servers": "a:1", "topic_prefix": "", "namespace": "n"}
    judge = (lambda _stream, _payload: Fate.TAKEN) if takes_all else _judge
    path, most = directory / "below" / "outbox", 64 << 20
    return Outbox(path, configuration, most, owner, Losses(), judge, dead_max_bytes=most // 2, power=True)


def _found(directory: Path) -> set[bytes]:
    """All that is there, be it set aside."""
    outbox = _outbox(directory, "third", takes_all=True)
    outbox.adopt(Adopter(RLock(), lambda *_: None))
    found = {outbox.read(place) for stream in STREAMS for place in places(outbox, stream)}
    outbox.close()
    for path in directory.glob(f"below/outbox/*/{SET_ASIDE}/*"):
        with suppress(NotASegmentError):
            found.update(payload for _, payload in Segment.copy(path).live_rows())
    return found


def _live_through(actions: Sequence[str], fails_at: int, seed: int) -> None:
    """Have the power fail before a call to the disk, or at the end."""
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch, in_memory() as directory:
        recorded = RecordedDisk(directory, patch, fails_at, lambda _: chance.random() < 0.5)
        history = History(directory / "disk", chance)
        with suppress(PowerFailureError):
            for action in actions:
                history.do(action)
        recorded.fail()
        history.outbox.abandon()
        recorded.close()
    assert recorded.left is not None
    _holds(history.promised, _found_in(recorded, recorded.left))


def _found_in(recorded: RecordedDisk, left: Left) -> set[bytes]:
    with in_memory() as after:
        recorded.restore(left, after)
        return _found(after / "disk")


def _holds(promised: AbstractSet[bytes], found: set[bytes]) -> None:
    lost = promised - found
    assert not lost, f"lost: {sorted(row[:12] for row in lost)}"


@given(
    actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=40),
    fails_at=st.integers(1, 200),
    seed=st.integers(0, 2**32),
)
def test_what_a_call_returned_is_on_the_disk(actions: list[str], fails_at: int, seed: int) -> None:
    """Whatever processes have done, and whenever the power fails, each row of which a flush has returned is there."""
    _live_through(actions, fails_at, seed)


@pytest.mark.parametrize(
    "choose",
    [lambda _: False, lambda _: True, lambda change: change is not None and change.after is None],
    ids=["nothing else", "all else", "what went"],
)
def test_at_every_moment(choose: Choice) -> None:
    """So it is at each single call to the disk, whether the disk has got nothing else by then, all, or removals."""
    moments: list[tuple[Left, AbstractSet[bytes]]] = []
    contents: dict[bytes | None, bytes | None] = {}  # most are the same at many moments

    def look() -> None:
        left = {path: contents.setdefault(content, content) for path, content in recorded.leave().items()}
        moments.append((left, frozenset(history.promised)))

    with pytest.MonkeyPatch.context() as patch, in_memory() as directory:
        recorded = RecordedDisk(directory, patch, 0, choose)
        history = History(directory / "disk", random.Random(0))
        recorded.before_each_call = look
        for action in ALL_ACTIONS:
            history.do(action)
        look()
        history.outbox.abandon()
        recorded.close()
    assert len(moments) > 50
    before: Left = {}
    found: set[bytes] = set()
    for left, promised in moments:
        if left != before:  # a call may have changed nothing of what would be left
            before, found = left, _found_in(recorded, left)
        _holds(promised, found)


def test_whose_it_is_is_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a cluster has answered, its ID is there after a power failure: by it others know whose the records are."""
    with in_memory() as directory:
        recorded = RecordedDisk(directory, monkeypatch, 0, lambda _: False)
        outbox, lock = _outbox(directory, "first"), RLock()
        outbox.append(STREAMS[0], b"row")
        outbox.sync(lock)
        outbox.reached("its own ID")
        outbox.sync(lock)
        left = recorded.leave()
        assert [b"its own ID" in (left[path] or b"") for path in left if path.name == "owner"] == [True]
        outbox.close()
        recorded.close()


def test_what_moved_to_a_disk_that_does_not_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row stays where it is on the disk while the one in its place is not; it is not sent twice meanwhile."""
    outbox, lock = _outbox(tmp_path, "first"), RLock()
    before = outbox.append(STREAMS[0], b"row")
    outbox.sync(lock)
    after = outbox.append(STREAMS[2], b"row")
    outbox.supersede(before, after)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "flush", fail)
        with pytest.raises(OutboxError, match="Input/output error"):
            outbox.sync(lock)
    assert outbox.is_sent(before)
    outbox.set_state(after, DONE)
    with pytest.raises(OutboxError, match="Input/output error"):
        outbox.sync(lock)
    assert not outbox.is_sent(before)  # delivered, and so are both
    outbox.abandon()
