"""What is made of a segment with bytes in it that do not belong there."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_kafka_exporter.outbox.segment import DONE, NotASegmentError, Segment
from otel_kafka_exporter.outbox.segment_format import ROW_BYTES, VERSION
from tests.outboxes import AUDIT, Losses, adopt, make_outbox, segments, set_aside

BYTES = 16_384


def made(path: Path, *rows: bytes, state: int | None = None) -> list[int]:
    segment = Segment.create(path, BYTES, 1)
    offsets = [segment.append(row) if state is None else segment.append(row, state) for row in rows]
    segment.close()
    return [offset for offset in offsets if offset is not None]


def test_a_done_row_of_another_segment_hides_nothing(tmp_path: Path) -> None:
    """Where a block of another segment got among the rows, its DONE row is damage; what it spans is read."""
    offsets = made(tmp_path / "a", b"first", b"second", b"third", b"fourth")
    (other,) = made(tmp_path / "b", b"x" * 100, state=DONE)
    content = bytearray((tmp_path / "a").read_bytes())
    content[offsets[1] : offsets[1] + ROW_BYTES] = (tmp_path / "b").read_bytes()[other : other + ROW_BYTES]
    (tmp_path / "a").write_bytes(content)
    segment = Segment.open(tmp_path / "a", 1)
    assert [row for _, row in segment.live_rows()] == [b"first", b"third", b"fourth"]
    assert (segment.waiting, segment.damaged) == (3, 1)


def test_a_done_row_whose_payload_never_reached_the_disk_is_no_damage(tmp_path: Path) -> None:
    """After a power failure a DONE row may have zeros for its payload: it is passed over, and nothing is lost."""
    offsets = made(tmp_path / "a", b"x" * 100, b"second", state=DONE)
    content = bytearray((tmp_path / "a").read_bytes())
    content[offsets[0] + ROW_BYTES : offsets[1]] = bytes(offsets[1] - offsets[0] - ROW_BYTES)
    (tmp_path / "a").write_bytes(content)
    segment = Segment.open(tmp_path / "a", 1)
    assert (segment.live, segment.damaged) == (False, 0)


def test_what_stands_behind_the_size_of_a_segment_is_no_part_of_it(tmp_path: Path) -> None:
    """Operators are shown what a process would deliver: nothing that was added behind the segment's own bytes."""
    outbox = make_outbox(tmp_path)
    outbox.append(AUDIT, b"row")
    outbox.close()
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content + content[40:])
    assert [row for _, row in Segment.copy(path).live_rows()] == [b"row"]
    assert adopt(make_outbox(tmp_path)) == {AUDIT: 1}


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_in_the_version_is_damage(tmp_path: Path, bit: int) -> None:
    """A damaged version is not taken for a version that somebody else can read, and its rows are counted."""
    made(tmp_path / "a", b"first", b"second")
    content = bytearray((tmp_path / "a").read_bytes())
    content[8] ^= 1 << bit
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(NotASegmentError, match="undamaged header") as caught:
        Segment.open(tmp_path / "a", 1)
    assert caught.value.rows == 2


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"OTELKFK\xf5" + (VERSION + 1).to_bytes(4, "little") + b"whatever it has there" * 10, 1),
        (b"OTELKFK\xf5", 1),
        (b"no segment at all", 1),
        (b"", 1),
    ],
)
def test_a_segment_that_cannot_be_read_is_counted(tmp_path: Path, content: bytes, rows: int) -> None:
    """An intact segment of an unknown version, or one without its header: set aside, and its rows are counted."""
    outbox = make_outbox(tmp_path)
    outbox.append(AUDIT, b"row")
    outbox.close()
    (path,) = segments(tmp_path)
    path.write_bytes(content)
    losses = Losses()
    assert adopt(make_outbox(tmp_path, losses=losses)) == {}
    assert losses == {(AUDIT, "outbox_damaged"): rows}
    assert len(set_aside(tmp_path)) == 1


def test_a_damaged_header_costs_as_many_rows_as_there_seem_to_be(tmp_path: Path) -> None:
    """With a segment's salt all of its rows are lost, and each is counted that was not delivered."""
    outbox = make_outbox(tmp_path)
    places = [outbox.append(AUDIT, b"%d" % n * 10) for n in range(5)]
    outbox.set_state(places[2], DONE)
    outbox.close()
    (path,) = segments(tmp_path)
    content = bytearray(path.read_bytes())
    content[28] ^= 1
    path.write_bytes(content)
    losses = Losses()
    assert adopt(make_outbox(tmp_path, losses=losses)) == {}
    assert losses == {(AUDIT, "outbox_damaged"): 4}
