"""Many processes that each leave a little: what is adopted takes few files, and nobody who logs waits for it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest

from otel_kafka_exporter.outbox import Fate, Judge
from otel_kafka_exporter.outbox.merging import Adopter
from otel_kafka_exporter.outbox.outbox import Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT
from otel_kafka_exporter.outbox.stream import Stream
from otel_kafka_exporter.process import RLock, log_lines
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    CONFIGURATION,
    DEAD,
    QUARTER,
    SEGMENT_BYTES,
    Losses,
    adopt,
    boxes,
    make_outbox,
    places,
    segments,
    waiting,
)


def leave(directory: Path, stream: Stream, *rows: bytes) -> None:
    left = make_outbox(directory)
    for row in rows:
        left.append(stream, row)
    left.close()


def judging(directory: Path, judge: Judge) -> Outbox:
    return Outbox(directory, CONFIGURATION, 1 << 24, {}, Losses(), judge)


class Interrupted:
    """A lock, of one thread; something comes in between when it has been let go so many times."""

    def __init__(self, after: int, action: Callable[[], object]) -> None:
        self._left = after
        self._action = action

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left -= 1
        if self._left == 0:
            self._action()


def test_many_processes_that_left_one_record_each(tmp_path: Path) -> None:
    """300 of them take a few files, in their order, and what comes next is adopted as well; no directory is left."""
    for number in range(300):
        leave(tmp_path, DEAD if number % 2 else AUDIT, b"%d" % number)
    outbox = make_outbox(tmp_path, 1 << 28)
    assert adopt(outbox) == {DEAD: 150, AUDIT: 150}
    assert waiting(outbox, DEAD) == [b"%d" % number for number in range(1, 300, 2)]
    assert waiting(outbox, AUDIT) == [b"%d" % number for number in range(0, 300, 2)]
    assert len(segments(tmp_path)) <= 20
    leave(tmp_path, AUDIT, b"next")
    assert adopt(outbox) == {AUDIT: 1}
    assert len(boxes(tmp_path)) == 1
    outbox.close()


def test_small_ones_keep_their_place_among_large_ones(tmp_path: Path) -> None:
    """What is merged stands between the files that were moved as they were, and before the process's own."""
    expected = []
    for number in range(40):
        rows = [b"%02d %d" % (number, part) + bytes(QUARTER if number % 5 == 4 else 0) for part in range(6)]
        expected += rows
        leave(tmp_path, AUDIT, *rows)
    outbox = make_outbox(tmp_path, 1 << 26)
    outbox.append(AUDIT, b"own")
    adopt(outbox)
    assert waiting(outbox, AUDIT) == [*expected, b"own"]
    for place in places(outbox, AUDIT):
        outbox.set_state(place, DONE)
    outbox.close()
    assert boxes(tmp_path) == []


def test_what_was_on_its_way_and_what_was_done(tmp_path: Path) -> None:
    """Rows that were SENT wait again when they are merged; those that were DONE are not sent once more."""
    for _ in range(20):
        left = make_outbox(tmp_path)
        left.append(AUDIT, b"done", DONE)
        left.append(AUDIT, b"sent", SENT)
        left.close()
    outbox = make_outbox(tmp_path)
    assert adopt(outbox) == {AUDIT: 20}
    assert Counter(waiting(outbox, AUDIT)) == {b"sent": 20}


def test_who_logs_never_waits_for_what_is_read(tmp_path: Path) -> None:
    """While rows are read and judged the lock is free: another thread has it for each of them."""
    leave(tmp_path, AUDIT, b"1", b"2", b"3")
    lock = threading.Lock()
    free: list[bool] = []

    def look() -> None:
        free.append(lock.acquire(timeout=10))
        lock.release()

    def judge(_stream: Stream, _payload: bytes) -> Fate:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return Fate.TAKEN

    outbox = judging(tmp_path, judge)
    outbox.adopt(Adopter(lock, lambda *_: None))
    assert free == [True, True, True]
    assert len(waiting(outbox, AUDIT)) == 3


@pytest.mark.parametrize("after", range(1, 40))
def test_an_outbox_is_closed_in_the_middle(tmp_path: Path, after: int) -> None:
    """A shutdown beside an adoption, at whatever moment, loses nothing; what was not sent may be there twice."""
    for number in range(14):
        leave(tmp_path, AUDIT, b"%d" % number)
    outbox = make_outbox(tmp_path)
    counted = []
    outbox.adopt(Adopter(Interrupted(after, outbox.close), lambda _, rows: counted.append(rows)))
    again = make_outbox(tmp_path)
    adopt(again)
    found = Counter(waiting(again, AUDIT))
    assert set(found) == {b"%d" % number for number in range(14)}
    assert found.total() <= 15
    assert sum(counted) <= 14


@pytest.mark.parametrize("after", range(20, 60, 2))
def test_what_was_merged_has_to_give_way_in_the_middle(tmp_path: Path, after: int) -> None:
    """Where the segment that rows are copied to is evicted meanwhile, they are counted as lost, or still there."""
    for number in range(20):
        leave(tmp_path, APPLICATION, b"%d" % number)
    losses = Losses()
    outbox = make_outbox(tmp_path, 16 * SEGMENT_BYTES, losses)
    taken = []

    def fill() -> None:
        for _ in range(16):
            outbox.append(AUDIT, bytes(SEGMENT_BYTES - 100))

    outbox.adopt(Adopter(Interrupted(after, fill), lambda _, rows: taken.append(rows)))
    lost = losses.total()
    assert sum(taken) == lost + outbox.waiting(APPLICATION)
    for place in places(outbox, AUDIT):
        outbox.set_state(place, DONE)
    assert sum(adopt(outbox).values()) == 20 - sum(taken)


def test_a_child_forked_in_the_middle_holds_nothing_back(tmp_path: Path) -> None:
    """A child that is forked while a segment is read keeps neither its lock nor its directory's from others."""
    leave(tmp_path, AUDIT, b"row")
    reader, writer = os.pipe()
    told, tell = os.pipe()
    children: list[int] = []

    def judge(_stream: Stream, _payload: bytes) -> Fate:
        child = os.fork()
        if not child:
            with suppress(BaseException):
                os.close(writer)
                outbox.abandon()
                os.write(tell, b"-")
                os.read(reader, 1)  # until the test is over
            os._exit(0)
        children.append(child)
        os.read(told, 1)
        return Fate.LEFT

    outbox = judging(tmp_path, judge)
    try:
        assert not outbox.adopt(Adopter(RLock(), lambda *_: None))
        outbox.close()
        assert adopt(make_outbox(tmp_path)) == {AUDIT: 1}
    finally:
        for descriptor in (writer, reader, told, tell):
            os.close(descriptor)
        for child in children:
            os.waitpid(child, 0)


def test_that_there_is_no_room_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for room is said, with the bound, and not in each pass anew; again when there was room meanwhile."""
    noted: dict[tuple[str, str], tuple[object, ...]] = {}
    monkeypatch.setattr(log_lines, "_noted", noted)
    leave(tmp_path, AUDIT, bytes(SEGMENT_BYTES))
    outbox = make_outbox(tmp_path, 2 * SEGMENT_BYTES)
    place = outbox.append(AUDIT, bytes(SEGMENT_BYTES))
    assert adopt(outbox) == {}
    [((_, message), arguments)] = noted.items()
    noted.clear()
    assert f"{2 * SEGMENT_BYTES} bytes are taken" in message % arguments
    adopt(outbox)
    assert noted == {}
    outbox.set_state(place, DONE)
    assert adopt(outbox) == {AUDIT: 1}
