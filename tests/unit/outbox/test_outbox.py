"""An outbox gives each stream's waiting rows in their order, whatever its process or another one does to them."""

from __future__ import annotations

from mmap import mmap
from pathlib import Path

import pytest

from otel_kafka_exporter.outbox import segment_format, segment_rows
from otel_kafka_exporter.outbox.outbox import Adopter, Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING
from otel_kafka_exporter.outbox.segment_format import settle_on_disk
from otel_kafka_exporter.outbox.stream import STREAMS, Place, Stream
from otel_kafka_exporter.process import RLock
from tests.interrupting import interrupt_at_signal_point
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    DEAD,
    QUARTER,
    SEGMENT_BYTES,
    Losses,
    adopt,
    make_outbox,
    places,
    segments,
    waiting,
)


def fill(outbox: Outbox, stream: Stream, segments: int, letter: bytes = b"x") -> list[Place]:
    """Rows that fill so many segments of the least size, or what is as much."""
    return [outbox.append(stream, letter * QUARTER) for _ in range(4 * segments)]


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
    monkeypatch.setattr(segment_rows, "unpack_row", unpack_row)
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
    outbox = make_outbox(None, 4 * SEGMENT_BYTES, losses, power=True)
    fill(outbox, APPLICATION, 8)
    outbox.append(APPLICATION, b"row")
    outbox.sync(RLock())
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
    assert outbox.adopt(Adopter(RLock(), lambda *_: None), until=0.0)
    outbox.append(AUDIT, b"new")
    assert 0 < outbox.waiting(AUDIT) < len(rows)
    outbox.close()
    again = make_outbox(tmp_path, 1 << 24)
    assert adopt(again) == {AUDIT: len(rows) + 1}
    assert sorted(waiting(again, AUDIT)) == sorted([*rows, b"new"])
