"""An outbox keeps to its bound: what is done makes room first, then application rows, oldest first, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import storage
from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    DEAD,
    QUARTER,
    SECURITY,
    SEGMENT_BYTES,
    Losses,
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
