"""The outbox: its rows, their order, its files and its bounds."""

from __future__ import annotations

import json
import os
import stat
from mmap import mmap
from pathlib import Path

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import segment, segment_format, storage
from otel_kafka_exporter.outbox.outbox import Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING
from otel_kafka_exporter.outbox.segment_format import settle_on_disk
from otel_kafka_exporter.outbox.stream import STREAMS, Place, Stream, parse_segment_name, segment_name
from tests.interrupting import interrupt_at_signal_point
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    CONFIGURATION,
    DEAD,
    QUARTER,
    SECURITY,
    SEGMENT_BYTES,
    Losses,
    adopt,
    all_waiting,
    boxes,
    make_outbox,
    places,
    segments,
    waiting,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fill(outbox: Outbox, stream: Stream, segments: int, letter: bytes = b"x") -> list[Place]:
    """Rows that fill so many segments of the least size, or what is as much."""
    return [outbox.append(stream, letter * QUARTER) for _ in range(4 * segments)]


# Rows


@pytest.mark.parametrize("in_memory", [False, True])
def test_rows_come_in_their_order(tmp_path: Path, *, in_memory: bool) -> None:
    """Each stream gives its rows in the order they were put there, over many segments."""
    outbox = make_outbox(None if in_memory else tmp_path, 1 << 24)
    rows = [b"%d" % n * (n % 50) for n in range(5000)]
    for at, row in enumerate(rows):
        outbox.append(STREAMS[at % len(STREAMS)], row)
    for at, stream in enumerate(STREAMS):
        assert waiting(outbox, stream) == rows[at :: len(STREAMS)]
    assert list(tmp_path.iterdir()) == [] or not in_memory


@pytest.mark.parametrize("in_memory", [False, True])
def test_rows_put_before_others(tmp_path: Path, *, in_memory: bool) -> None:
    """A front's rows come before all that were there, in their own order; a later front's before those."""
    outbox = make_outbox(None if in_memory else tmp_path, 1 << 24)
    outbox.append(APPLICATION, b"a")
    first = outbox.front(APPLICATION)
    outbox.append(APPLICATION, b"b")
    large = [b"%d" % n * 3000 for n in range(100)]  # more than one segment's
    for row in large:
        first.append(row)
    second = outbox.front(APPLICATION)
    second.append(b"0")
    outbox.append(APPLICATION, b"c")
    second.append(b"1")
    assert waiting(outbox) == [b"0", b"1", *large, b"a", b"b", b"c"]


def test_a_front_whose_rows_are_done_goes_on(tmp_path: Path) -> None:
    """A front can be appended to after all that it had was delivered."""
    outbox = make_outbox(tmp_path)
    outbox.append(APPLICATION, b"last")
    front = outbox.front(APPLICATION)
    outbox.set_state(front.append(b"0"), DONE)
    front.append(b"1")
    front.append(b"2")
    assert waiting(outbox) == [b"1", b"2", b"last"]


def test_only_what_waits_is_found(tmp_path: Path) -> None:
    """Rows on their way are not found until they wait again; finished segments are gone."""
    outbox = make_outbox(tmp_path)
    found = fill(outbox, APPLICATION, 3)
    outbox.append(APPLICATION, b"sent", SENT)
    for place in found[:6]:
        outbox.set_state(place, SENT)
    assert places(outbox, APPLICATION) == found[6:]
    outbox.set_state(found[1], WAITING)
    assert places(outbox, APPLICATION) == [found[1], *found[6:]]
    before = len(segments(tmp_path))
    for place in found:
        outbox.set_state(place, DONE)
    assert len(segments(tmp_path)) < before
    assert not outbox.exists(found[0])
    outbox.set_state(found[0], WAITING)  # nothing: it has gone
    assert waiting(outbox) == []
    with pytest.raises(ValueError, match="closed"):
        outbox.read(found[0])


def test_looking_on_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """To drain takes a few looks at each row, however many are on their way, from a place or from the start."""

    looks = 0

    def unpack_row(memory: mmap, offset: int) -> tuple[int, ...]:
        nonlocal looks
        looks += 1
        return segment_format.unpack_row(memory, offset)

    outbox = make_outbox(None, 1 << 24)
    rows = 20_000
    for _ in range(rows):
        outbox.append(APPLICATION, b"row")
    monkeypatch.setattr(segment, "unpack_row", unpack_row)
    place = None
    for n in range(rows):
        place = outbox.next_waiting(APPLICATION, place if n % 2 else None)
        assert place is not None
        outbox.set_state(place, SENT)
    assert outbox.next_waiting(APPLICATION, place) is None
    assert rows <= looks < 4 * rows


def test_usage(tmp_path: Path) -> None:
    """Usage tells the bytes that are allocated, the rows that wait, and since when the oldest segment is there."""
    outbox = make_outbox(tmp_path)
    assert outbox.usage().bytes == 0
    assert outbox.usage().oldest is None
    place = outbox.append(AUDIT, b"a")
    created = place.segment.created
    outbox.append(DEAD, b"b")
    usage = outbox.usage()
    assert (usage.bytes, usage.oldest) == (2 * SEGMENT_BYTES, created)
    assert usage.waiting == {stream: int(stream in {AUDIT, DEAD}) for stream in STREAMS}
    outbox.set_state(place, DONE)
    oldest = outbox.usage().oldest
    assert oldest is not None
    assert oldest > created


def test_names_sort_as_orders_do() -> None:
    """A segment's name tells its stream and order; other names tell nothing."""
    for stream in STREAMS:
        assert parse_segment_name(segment_name(stream, 12)) == (stream, 12)
        assert segment_name(stream, 9) < segment_name(stream, 10)
    for name in ("owner", "audit.12.segment", "other.000000000000000012.segment", segment_name(AUDIT, 1) + ".new"):
        assert parse_segment_name(name) is None


# Files


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    """Neither making an outbox nor looking into it makes a file."""
    outbox = make_outbox(tmp_path / "outbox")
    assert adopt(outbox) == {}
    outbox.check()
    assert outbox.next_waiting(APPLICATION) is None
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_files_are_for_this_user_only(tmp_path: Path) -> None:
    """Directories that were made are 0700, files 0600; a directory of the user's own stays as it is."""
    (tmp_path / "own").mkdir(0o755)
    directory = tmp_path / "own" / "made" / "too"
    make_outbox(directory).append(AUDIT, b"row")
    assert mode(tmp_path / "own") == 0o755
    made = [path for path in (tmp_path / "own").rglob("*") if path.is_dir()]
    assert len(made) == 4
    assert {mode(path) for path in made} == {0o700}
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {mode(path) for path in files} == {0o600}


def test_who_owns_it(tmp_path: Path) -> None:
    """The owner's file says what the process says of itself, and the version of the format."""
    outbox = make_outbox(tmp_path)
    outbox.append(AUDIT, b"row")
    (box,) = boxes(tmp_path)
    assert json.loads((box / "owner").read_text()) == {"version": 1, "pid": 7, "host": "h"}


def test_nothing_is_left_when_all_is_done(tmp_path: Path) -> None:
    """An outbox that is closed with nothing but DONE rows leaves no file."""
    outbox = make_outbox(tmp_path)
    for stream in STREAMS:
        outbox.set_state(outbox.append(stream, b"row", SENT), DONE)
    outbox.close()
    assert list((tmp_path / CONFIGURATION).iterdir()) == []


# Bounds


def test_the_oldest_application_records_give_way(tmp_path: Path) -> None:
    """Beyond its bound an outbox gives up the oldest application segment, and tells of it; the newest always fit."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 4 * SEGMENT_BYTES, losses)
    rows = []
    for n in range(60):
        rows.append(b"%02d" % n * (QUARTER // 2))
        outbox.append(APPLICATION, rows[-1])
        assert outbox.usage().bytes <= 4 * SEGMENT_BYTES
        left = waiting(outbox)
        assert left == rows[len(rows) - len(left) :]
        assert losses.total() == len(rows) - len(left)
    assert set(losses) == {(APPLICATION, "outbox_full")}
    assert 4 < len(left) <= 16


def test_what_is_on_its_way_is_not_lost(tmp_path: Path) -> None:
    """Of an evicted segment only the rows that wait are lost; the places of the others are gone."""
    losses = Losses()
    outbox = make_outbox(tmp_path, SEGMENT_BYTES, losses)
    places = [outbox.append(APPLICATION, bytes(QUARTER), state) for state in (SENT, WAITING, DONE, WAITING)]
    outbox.append(APPLICATION, bytes(QUARTER))
    assert losses == {(APPLICATION, "outbox_full"): 2}
    assert [outbox.exists(place) for place in places] == [False] * 4


def test_audit_and_security_never_give_way(tmp_path: Path) -> None:
    """For an audit row all application rows give way, their dead letters too, oldest first; audit rows do not."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 8 * SEGMENT_BYTES, losses)
    outbox.append(DEAD, b"dead")
    outbox.append(APPLICATION, b"row")
    outbox.append(SECURITY, b"kept")
    rows = [b"%d" % n * 3000 for n in range(200)]
    kept: list[bytes] = []

    def append_all() -> None:
        for row in rows:
            outbox.append(AUDIT, row)
            kept.append(row)
            assert (APPLICATION, "outbox_full") not in losses or (DEAD, "outbox_full") in losses

    with pytest.raises(OutboxError, match=r"expected room.*set outbox_max_bytes higher") as caught:
        append_all()
    assert caught.value.reason == "outbox_full"
    assert losses == {(DEAD, "outbox_full"): 1, (APPLICATION, "outbox_full"): 1}
    assert all_waiting(outbox) == {SECURITY: [b"kept"], AUDIT: kept}
    with pytest.raises(OutboxError, match="expected room"):
        outbox.append(APPLICATION, b"row")
    outbox.append(SECURITY, b"there is room in its segment")


def test_nothing_gives_way_in_vain(tmp_path: Path) -> None:
    """A row that would not fit anyway costs no other."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 4 * SEGMENT_BYTES, losses)
    outbox.append(APPLICATION, b"row")
    outbox.append(AUDIT, b"row")
    with pytest.raises(OutboxError, match="expected room"):
        outbox.append(AUDIT, bytes(4 * SEGMENT_BYTES))
    with pytest.raises(OutboxError, match="expected room"):
        outbox.append(APPLICATION, bytes(8 * SEGMENT_BYTES))
    assert not losses
    assert waiting(outbox) == [b"row"]


def test_a_large_row_has_a_segment_of_its_size(tmp_path: Path) -> None:
    """A row that is larger than segments are gets one that it fits."""
    outbox = make_outbox(tmp_path, 1 << 24)
    large = os.urandom(3_000_000)
    outbox.append(AUDIT, b"small")
    outbox.append(AUDIT, large)
    outbox.append(AUDIT, b"small, too")
    assert waiting(outbox, AUDIT) == [b"small", large, b"small, too"]


def test_what_is_done_goes_first(tmp_path: Path) -> None:
    """Segments whose rows are all DONE make room before anything that waits gives way."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 3 * SEGMENT_BYTES, losses)
    outbox.append(APPLICATION, b"waits")
    for stream in (AUDIT, SECURITY):
        outbox.set_state(outbox.append(stream, b"done"), DONE)
    outbox.append(DEAD, b"letter")
    outbox.append(AUDIT, b"again")
    assert not losses
    assert all_waiting(outbox) == {APPLICATION: [b"waits"], DEAD: [b"letter"], AUDIT: [b"again"]}


def test_the_front_is_the_oldest(tmp_path: Path) -> None:
    """What was put before others counts as at least as old as they, and gives way before them."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 2 * SEGMENT_BYTES, losses)
    outbox.append(APPLICATION, b"new")
    outbox.front(APPLICATION).append(b"old")
    outbox.append(AUDIT, b"audit")
    assert waiting(outbox) == [b"new"]


def test_few_files_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many segments would fit, no more are open at a time than a process can have files."""
    monkeypatch.setattr(storage, "MOST_SEGMENTS", 10)
    losses = Losses()
    outbox = make_outbox(tmp_path, 1 << 24, losses)
    for n in range(50):
        outbox.front(APPLICATION).append(b"%d" % n)
    assert (len(waiting(outbox)), losses.total()) == (10, 40)
    assert len(segments(tmp_path)) == 10


# Signals


@pytest.mark.parametrize("size", [100, QUARTER])
def test_ctrl_c_while_appending(tmp_path: Path, size: int) -> None:
    """Ctrl-C at any moment of an append, a new segment included, leaves its row there or not there, and all others."""
    point, interrupted = 0, True
    row = b"x" * size
    while interrupted:
        point += 1
        directory = tmp_path / str(point)
        outbox = make_outbox(directory)
        before = [b"%d" % n * QUARTER for n in range(4)]
        for payload in before:
            outbox.append(AUDIT, payload)
        interrupted = interrupt_at_signal_point(point, lambda: outbox.append(AUDIT, row))  # noqa: B023
        outbox.append(AUDIT, b"after")
        found = waiting(outbox, AUDIT)
        assert found in ([*before, b"after"], [*before, row, b"after"])
        outbox.close()
        again = make_outbox(directory)
        adopt(again)
        assert waiting(again, AUDIT) == found
        again.close()
    assert point > 5


# In memory


def test_in_memory_there_is_nothing_to_flush() -> None:
    """Without a directory nothing is flushed, checked or adopted, and the bound holds as it does on a disk."""
    losses = Losses()
    outbox = make_outbox(None, 4 * SEGMENT_BYTES, losses)
    fill(outbox, APPLICATION, 8)
    outbox.sync(outbox.append(APPLICATION, b"row"))
    outbox.check()
    assert adopt(outbox) == {}
    assert losses.total()
    assert outbox.usage().bytes <= 4 * SEGMENT_BYTES
    outbox.abandon()
    assert waiting(outbox) == []
    outbox.close()


# Others


def test_what_an_operator_settles_is_found_out(tmp_path: Path) -> None:
    """A process that has a segment open is told once of the rows that somebody else has settled in its file."""
    outbox = make_outbox(tmp_path)
    first, second, third = (outbox.append(AUDIT, b"%d" % n) for n in range(3))
    outbox.append(DEAD, b"letter")
    outbox.set_state(third, SENT)
    assert outbox.check() == {}
    dead, audit = segments(tmp_path)
    settle_on_disk(audit, first.offset)
    assert outbox.check() == {AUDIT: 1}
    assert outbox.check() == {}
    assert waiting(outbox, AUDIT) == [b"1"]
    settle_on_disk(audit, second.offset)
    settle_on_disk(audit, third.offset)
    outbox.set_state(third, WAITING)
    settle_on_disk(dead, first.offset)
    assert outbox.check() == {AUDIT: 1, DEAD: 1}
    assert waiting(outbox, AUDIT) == [b"2"]


def test_a_segment_goes_when_an_operator_has_settled_all_of_it(tmp_path: Path) -> None:
    """Its room is free again, although its process has never touched it."""
    outbox = make_outbox(tmp_path)
    rows = fill(outbox, DEAD, 2)
    full = segments(tmp_path)[0]
    for place in rows:
        if place.segment.path == full:
            settle_on_disk(full, place.offset)
    before = outbox.usage().bytes
    assert sum(outbox.check().values()) == 4
    assert not full.exists()
    assert outbox.usage().bytes == before - SEGMENT_BYTES


def test_an_adoption_can_be_left_and_taken_up_again(tmp_path: Path) -> None:
    """Between two segments its process may do what it likes, close included; what is left goes to the next one."""
    dead = make_outbox(tmp_path, 1 << 24)
    fill(dead, AUDIT, 3)
    rows = waiting(dead, AUDIT)
    dead.close()
    outbox = make_outbox(tmp_path, 1 << 24)
    steps = outbox.adopt()
    assert next(steps)[0] == AUDIT
    outbox.append(AUDIT, b"new")
    steps.close()
    assert 0 < outbox.waiting(AUDIT) < len(rows)
    outbox.close()
    again = make_outbox(tmp_path, 1 << 24)
    assert adopt(again) == {AUDIT: len(rows) + 1}
    assert sorted(waiting(again, AUDIT)) == sorted([*rows, b"new"])
