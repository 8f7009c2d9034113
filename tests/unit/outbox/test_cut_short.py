"""Files that somebody cuts short while they are in use, as `logrotate` with `copytruncate` does: nobody dies of it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from otel_kafka_exporter.outbox.outbox import Adopter, Fate, Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING, CutShortError, Segment
from otel_kafka_exporter.outbox.segment_format import HEADER_BYTES, row_bytes
from otel_kafka_exporter.outbox.stream import Stream
from otel_kafka_exporter.process import RLock, lock_file
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    CONFIGURATION,
    QUARTER,
    Losses,
    adopt,
    boxes,
    make_outbox,
    places,
    segments,
    set_aside,
    waiting,
)

ROWS = [b"%d:" % n + b"." * 6_000 for n in range(8)]
#: To what a file is cut: nothing, within its header, within a row, and behind half of them.
LENGTHS = [0, 20, 8_000, 25_000]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "use",
    [
        lambda segment, _: segment.append(b"row"),
        lambda segment, offsets: segment.set_state(offsets[-1], DONE),
        lambda segment, offsets: segment.is_sent(offsets[-1]),
        lambda segment, offsets: segment.is_done(offsets[-1]),
        lambda segment, _: segment.next_waiting(),
        lambda segment, _: segment.settled_by_others(),
        lambda segment, _: list(segment.live_rows()),
        lambda segment, _: segment.intact(),
        lambda segment, _: segment.sync(),
    ],
    ids=["append", "set_state", "is_sent", "is_done", "next_waiting", "settled", "live_rows", "intact", "sync"],
)
def test_whatever_comes_next_survives_it(tmp_path: Path, length: int, use: object) -> None:
    """Whatever is done first to a file that was cut short, the process lives, and what was before the cut is there."""
    path = tmp_path / "segment"
    segment = Segment.create(path, 65_536, 0)
    offsets = [segment.append(row, WAITING) for row in ROWS]
    os.truncate(path, length)
    use(segment, offsets)  # type: ignore[operator]
    assert segment.append(b"row") is None  # what was there is nobody's to write over
    there = [row for offset, row in zip(offsets, ROWS, strict=True) if offset + 16 + len(row) <= length]  # type: ignore[operator]
    assert [row for _, row in segment.live_rows()] == there
    assert segment.waiting == len(there)
    assert segment.cut_off == len(ROWS) - len(there)
    segment.close()


def test_a_row_of_a_file_that_is_read(tmp_path: Path) -> None:
    """To read a row that was cut off is damage, and no more."""
    path = tmp_path / "segment"
    segment = Segment.create(path, 65_536, 0)
    offset = segment.append(b"row")
    assert offset is not None
    os.truncate(path, 0)
    with pytest.raises(ValueError, match="expected an undamaged row"):
        segment.read(offset)
    assert not segment.has(offset)


@pytest.mark.parametrize("length", LENGTHS)
def test_an_outbox_goes_on_in_another_file(tmp_path: Path, length: int) -> None:
    """What comes next is kept and survives; what was cut off is counted once, and what is left is written anew."""
    outbox = make_outbox(tmp_path)
    before = [outbox.append(AUDIT, b"before %d" % n + b"." * 6_000) for n in range(8)]
    flying = outbox.append(AUDIT, b"on its way", SENT)
    (path,) = segments(tmp_path)
    os.truncate(path, length)
    after = outbox.append(AUDIT, b"after")
    assert not outbox.exists(flying)
    outbox.check()
    lost = outbox.cut_off()
    left = [place for place in before if outbox.exists(place)]
    assert lost == {AUDIT: len(before) - len(left)}
    assert outbox.cut_off() == {}
    outbox.set_state(flying, DONE)  # its report comes late
    assert places(outbox, AUDIT) == [*left, after]
    expected = waiting(outbox, AUDIT)
    outbox.abandon()
    another = make_outbox(tmp_path)
    assert adopt(another) == {AUDIT: len(expected)}
    assert waiting(another, AUDIT) == expected
    assert len(set_aside(tmp_path)) == bool(left)  # for a person to see what somebody did
    another.close()


def test_all_of_it_is_cut_at_once(tmp_path: Path) -> None:
    """A job that empties every file in the directory costs what was in there, and nothing that comes after."""
    outbox = make_outbox(tmp_path, 1 << 22)
    for n in range(12):
        outbox.append(AUDIT, (b"%d" % n).ljust(QUARTER, b"."))
    for path in boxes(tmp_path)[0].iterdir():
        os.truncate(path, 0)
    outbox.check()
    assert outbox.cut_off() == {AUDIT: 12}
    place = outbox.append(AUDIT, b"after")
    assert places(outbox, AUDIT) == [place]
    outbox.abandon()
    assert sum(adopt(make_outbox(tmp_path)).values()) == 1


def test_a_dead_process_left_it(tmp_path: Path) -> None:
    """What a dead process left is read without its map: cut short at any moment, it costs what was cut off."""
    dead = make_outbox(tmp_path)
    for row in ROWS:
        dead.append(AUDIT, row)
    dead.abandon()
    os.truncate(segments(tmp_path)[0], 25_000)
    outbox = make_outbox(tmp_path)
    assert adopt(outbox) == {AUDIT: 4}
    assert waiting(outbox, AUDIT) == ROWS[:4]


def test_a_file_of_the_application_with_a_segments_number_is_left_alone(tmp_path: Path) -> None:
    """A daemon closes all descriptors, and opens a file that gets a segment's number: nothing moves in it."""
    segment = Segment.create(tmp_path / "segment", 65_536, 0)
    offset = segment.append(b"row")
    assert offset is not None
    number = segment._file.number
    os.close(number)
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"line\n" * 100_000)
    spare = os.open(theirs, os.O_RDONLY)
    os.dup2(spare, number)
    try:
        os.lseek(number, 10, os.SEEK_SET)
        segment.append(b"another")
        segment.set_state(offset, DONE)
        list(segment.live_rows())
        assert os.lseek(number, 0, os.SEEK_CUR) == 10
    finally:
        for each in {spare, number}:
            os.close(each)
    segment.close()


class Cutting:
    """A judge that cuts a file short once, in the middle of its rows.

    Attributes:
        judged: how many rows.
    """

    def __init__(self, path: Path, length: int, *, sets_aside: bool = False) -> None:
        self.judged = 0
        self._path = path
        self._length = length
        self._sets_aside = sets_aside  # the first row

    def __call__(self, _stream: Stream, payload: bytes) -> Fate:
        self.judged += 1
        if self.judged == 2:
            os.truncate(self._path, self._length)
        return Fate.SET_ASIDE if self._sets_aside and payload == ROWS[0] else Fate.TAKEN


@pytest.mark.parametrize("sets_aside", [False, True])
@pytest.mark.parametrize("state", [WAITING, SENT])
@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_cut_while_it_is_adopted(tmp_path: Path, length: int, state: int, *, sets_aside: bool) -> None:
    """Cut short while its rows are judged, a dead process's file costs what was cut off, and that is counted."""
    dead = make_outbox(tmp_path)
    for row in ROWS:
        dead.append(AUDIT, row, state)
    dead.append(APPLICATION, b"intact")
    dead.abandon()
    losses, adopted = Losses(), Counter[Stream]()
    (path,) = (tmp_path / CONFIGURATION).rglob("audit.*")
    outbox = Outbox(tmp_path, CONFIGURATION, 1 << 20, {}, losses, Cutting(path, length, sets_aside=sets_aside))
    adopter = Adopter(RLock(), lambda stream, rows: adopted.update({stream: rows}))
    for _ in range(2):
        outbox.adopt(adopter)
        outbox.check()
    there = [row for row in ROWS[sets_aside:] if HEADER_BYTES + (ROWS.index(row) + 1) * row_bytes(len(row)) <= length]
    assert waiting(outbox, AUDIT) == there
    assert waiting(outbox, APPLICATION) == [b"intact"]
    assert adopted == Counter({AUDIT: len(there), APPLICATION: 1}) + Counter(outbox.cut_off())
    assert not sets_aside or losses[AUDIT, "outbox_damaged"] > 0
    outbox.close()


def test_it_is_cut_while_the_bound_reads_it(tmp_path: Path) -> None:
    """A file that is cut short while the bound of the directory looks at it is left to who adopts it."""
    dead = make_outbox(tmp_path)
    for row in ROWS:
        dead.append(APPLICATION, row)
    dead.abandon()
    (path,) = segments(tmp_path)
    losses = Losses()
    outbox = Outbox(tmp_path, CONFIGURATION, 1 << 20, {}, losses, Cutting(path, 0), directory_max_bytes=1)
    outbox.keep_bound(Adopter(RLock(), lambda *_: None))
    assert not losses
    assert path.exists()
    outbox.close()


@pytest.mark.parametrize("length", [0, 65_536 + 1])
def test_a_file_of_another_size_is_let_go_of(tmp_path: Path, length: int) -> None:
    """Whatever size somebody has given to a file, it is nobody's once it is closed."""
    path = tmp_path / "segment"
    segment = Segment.create(path, 65_536, 0)
    segment.append(b"row")
    os.truncate(path, length)
    segment.intact()
    segment.close()
    descriptor = os.open(path, os.O_RDWR)
    lock_file(descriptor)
    os.close(descriptor)


def test_a_row_that_changes_while_it_is_adopted(tmp_path: Path) -> None:
    """A row that is another one once its file was read is not taken over; the next time it is found to be damaged."""
    path = tmp_path / "segment"
    segment = Segment.create(path, 65_536, 0)
    segment.append(b"row")
    segment.close()
    segment = Segment.lock(path)
    segment.load()
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + 17)
        file.write(b"?")
    with pytest.raises(CutShortError, match="expected the row at byte"):
        list(segment.live_rows())
    segment.close()
    assert Segment.copy(path).damaged == 1
