"""An outbox keeps to its bound: what is done makes room first, then application rows, oldest first, and no others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import encode_row, room
from otel_kafka_exporter.outbox.outbox import Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING
from otel_kafka_exporter.outbox.stream import Stream
from otel_kafka_exporter.records import KafkaRecord
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    DEAD,
    QUARTER,
    SECURITY,
    SEGMENT_BYTES,
    Losses,
    adopt,
    all_waiting,
    make_outbox,
    segments,
    waiting,
)


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
    """For an audit row all dead letters give way, then all application rows, oldest first; audit rows do not."""
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
            assert (APPLICATION, "outbox_full") not in losses or (DEAD, "dead_letters_full") in losses

    with pytest.raises(OutboxError, match=r"expected room.*set outbox_max_bytes higher") as caught:
        append_all()
    assert caught.value.reason == "outbox_full"
    assert losses == {(DEAD, "dead_letters_full"): 1, (APPLICATION, "outbox_full"): 1}
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
    monkeypatch.setattr(room, "MOST_SEGMENTS", 10)
    losses = Losses()
    outbox = make_outbox(tmp_path, 1 << 24, losses)
    for n in range(50):
        outbox.front(APPLICATION).append(b"%d" % n)
    assert (len(waiting(outbox)), losses.total()) == (10, 40)
    assert len(segments(tmp_path)) == 10


AUDIT_DEAD = Stream("audit", dead=True)


def test_dead_letters_keep_to_their_share(tmp_path: Path) -> None:
    """However many there are, they take their share; the oldest give way, of whatever category, and nothing live."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 32 * SEGMENT_BYTES, losses)
    outbox.append(APPLICATION, b"live")
    outbox.append(AUDIT, b"live, too")
    letters = [b"%03d" % number * 1_500 for number in range(300)]
    for number, letter in enumerate(letters):
        outbox.append((DEAD, AUDIT_DEAD)[number % 2], letter)
        assert outbox.usage().bytes <= (8 + 2) * SEGMENT_BYTES
    kept = {*waiting(outbox, DEAD), *waiting(outbox, AUDIT_DEAD)}
    assert 60 <= len(kept) < 300
    assert kept >= set(letters[-40:])
    assert set(losses) == {(DEAD, "dead_letters_full"), (AUDIT_DEAD, "dead_letters_full")}
    assert losses.total() == 300 - len(kept)
    assert (waiting(outbox), waiting(outbox, AUDIT)) == ([b"live"], [b"live, too"])


@pytest.mark.parametrize("stream", [APPLICATION, AUDIT, SECURITY])
def test_dead_letters_give_way_before_anything_that_is_live(tmp_path: Path, stream: Stream) -> None:
    """An outbox full of letters takes every live record; letters of audit events give way to application records."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 8 * SEGMENT_BYTES, losses)
    for number in range(2 * 4):
        outbox.append(AUDIT_DEAD, b"%d" % number * QUARTER)
    rows = [b"%02d" % number * (QUARTER // 2) for number in range(8 * 4 - 4)]
    for row in rows:
        outbox.append(stream, row)
    assert waiting(outbox, stream) == rows
    assert set(losses) == {(AUDIT_DEAD, "dead_letters_full")}


def test_no_live_record_gives_way_to_a_dead_letter(tmp_path: Path) -> None:
    """A letter for which there is no room is refused, though application records might give way."""
    losses = Losses()
    outbox = make_outbox(tmp_path, 4 * SEGMENT_BYTES, losses)
    for _ in range(4 * 4):
        outbox.append(APPLICATION, bytes(QUARTER))
    before = len(waiting(outbox))
    with pytest.raises(OutboxError) as caught:
        outbox.append(DEAD, b"letter")
    assert (caught.value.reason, len(waiting(outbox)), losses) == ("outbox_full", before, {})


def test_letters_that_are_adopted_keep_to_the_share(tmp_path: Path) -> None:
    """What dead processes have left of letters is taken over, and the oldest of all of them give way, counted."""
    letters = [b"%03d" % number * 5_000 for number in range(60)]
    for part in range(0, 60, 6):
        left = make_outbox(tmp_path)
        for letter in letters[part : part + 6]:
            left.append(DEAD, letter)
        left.close()
    losses = Losses()
    outbox = make_outbox(tmp_path, 16 * SEGMENT_BYTES, losses)
    taken = adopt(outbox)[DEAD]
    kept = waiting(outbox, DEAD)
    assert kept == letters[-len(kept) :]
    assert (taken, losses) == (60, {(DEAD, "dead_letters_full"): 60 - len(kept)})
    assert outbox.usage().bytes <= 4 * SEGMENT_BYTES


def row_of(age: float, now: int) -> bytes:
    return encode_row(KafkaRecord("t", b"k", b"v", [], 0, "audit", str(age)), "reason", now - int(age * 1e9))


def test_letters_have_an_age(tmp_path: Path) -> None:
    """Letters go when they are older than that, and nothing else does: neither younger ones nor records."""
    losses = Losses()
    outbox = Outbox(tmp_path, "c", 1 << 20, {}, losses, ages={AUDIT_DEAD: 60.0})
    now = time.time_ns()
    old, young = row_of(100, now), row_of(10, now)
    for number in range(600):
        segment = outbox.append(AUDIT_DEAD, old if number < 300 else young).segment
        segment.created = now - 100 * 10**9
    outbox.append(AUDIT, old).segment.created = 0
    outbox.append(DEAD, old).segment.created = 0
    lost = []
    for _ in range(4):
        outbox.check()
        lost.append(losses.total())
    assert lost == [256, 300, 300, 300]
    assert losses == {(AUDIT_DEAD, "dead_letters_expired"): 300}
    assert set(waiting(outbox, AUDIT_DEAD)) == {young}
    assert (len(waiting(outbox, AUDIT)), len(waiting(outbox, DEAD))) == (1, 1)


def test_application_records_may_have_an_age(tmp_path: Path) -> None:
    """Records that wait longer are lost, told apart from letters; what is on its way has its report to come."""
    losses = Losses()
    outbox = Outbox(tmp_path, "c", 1 << 20, {}, losses, ages={APPLICATION: 60.0})
    old = row_of(100, time.time_ns())
    places = [outbox.append(APPLICATION, old, state) for state in (SENT, WAITING, WAITING)]
    places[0].segment.created = time.time_ns() - 100 * 10**9
    outbox.check()
    assert losses == {(APPLICATION, "expired"): 2}
    assert outbox.is_sent(places[0])
    assert waiting(outbox) == []
