"""A row remembers how often it was tried again, wherever it goes; and its file is the one of every release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from otel_kafka_exporter.outbox import DONE, SENT, WAITING, Fate, Outbox, decode_row
from otel_kafka_exporter.outbox.mapped_file import MappedFile
from otel_kafka_exporter.outbox.outbox import Adopter
from otel_kafka_exporter.outbox.segment import Segment
from otel_kafka_exporter.outbox.segment_format import TRIES_AT, new_header
from otel_kafka_exporter.outbox.stream import Stream, segment_name
from otel_kafka_exporter.process import RLock
from tests.outboxes import AUDIT, CONFIGURATION, Losses, adopt, make_outbox, places

RELEASED = sorted((Path(__file__).parents[2] / "released").glob("*/*.segment"))


def tries(outbox: Outbox, stream: Stream = AUDIT) -> list[int]:
    return [outbox.tries(place) for place in places(outbox, stream)]


def test_it_counts_to_255_and_not_below_0() -> None:
    """The count neither runs over nor under; that of a row that has gone is 0."""
    outbox = make_outbox(None)
    place = outbox.append(AUDIT, b"row")
    outbox.count_try(place, -1)
    assert outbox.tries(place) == 0
    for _ in range(300):
        outbox.count_try(place)
    assert outbox.tries(place) == 255
    outbox.count_try(place, -1)
    assert outbox.tries(place) == 254
    outbox.close()
    outbox.count_try(place)
    assert outbox.tries(place) == 0


@pytest.mark.parametrize("power", [False, True])
def test_the_row_that_takes_its_place_was_tried_as_often(tmp_path: Path, *, power: bool) -> None:
    """A row that goes before others, or becomes a dead letter, takes the count along."""
    outbox = make_outbox(tmp_path, power=power)
    before = outbox.append(AUDIT, b"row", SENT)
    outbox.count_try(before, 7)
    after = outbox.front(AUDIT).append(b"row")
    outbox.supersede(before, after)
    letter = outbox.append(Stream("audit", dead=True), b"row")
    outbox.supersede(after, letter)
    assert outbox.tries(letter) == 7
    outbox.sync(RLock())
    outbox.close()


def test_what_is_merged_and_set_aside_keeps_it(tmp_path: Path) -> None:
    """So does what is copied into another file, be it to be delivered or to be looked at."""
    for number in range(20):
        left = make_outbox(tmp_path)
        for name in (b"row", b"strange"):
            left.count_try(left.append(AUDIT, b"%s %d" % (name, number)), number)
        left.close()

    def judge(_stream: Stream, payload: bytes) -> Fate:
        return Fate.SET_ASIDE if payload.startswith(b"strange") else Fate.TAKEN

    outbox = Outbox(tmp_path, CONFIGURATION, 1 << 24, {}, Losses(), judge)
    outbox.adopt(Adopter(RLock(), lambda *_: None))
    assert tries(outbox) == list(range(20))
    found = set()
    for path in (tmp_path / CONFIGURATION / "set-aside").iterdir():
        segment = Segment.copy(path)
        found |= {(payload, segment.tries(offset)) for offset, payload in segment.live_rows()}
    assert found == {(b"strange %d" % number, number) for number in range(20)}


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.parent.name)
def test_every_released_file_is_adopted(tmp_path: Path, path: Path) -> None:
    """What earlier versions have left is taken over, as tried at the first."""
    box = tmp_path / CONFIGURATION / "00000000-0000-4000-8000-000000000000"
    box.mkdir(0o700, parents=True)
    box.parent.chmod(0o700)
    shutil.copyfile(path, box / segment_name(AUDIT, 1))
    (box / segment_name(AUDIT, 1)).chmod(0o600)
    outbox = make_outbox(tmp_path)
    assert adopt(outbox) == {AUDIT: 3}
    assert tries(outbox) == [0, 0, 0]
    found = [decode_row(outbox.read(place), "audit").record for place in places(outbox, AUDIT)]
    assert [record.value for record in found] == [b'{"number": %d}' % number for number in (0, 1, 3)]


def test_an_earlier_version_reads_this_ones(tmp_path: Path) -> None:
    """A file of this version is byte for byte what the released one wrote, but for the count, which that ignores."""
    released = Segment.copy(RELEASED[-1])
    header = RELEASED[-1].read_bytes()
    size, created, salt = released.size, released.created, int.from_bytes(header[28:32], "little")
    path = tmp_path / "a"
    ours = Segment(MappedFile.create(path, size, new_header(size, created, salt)), 1, size, created, salt)
    rows = released._rows(header)
    for (offset, row), state in zip(rows, (WAITING, SENT, DONE, WAITING), strict=True):
        assert ours.append(header[offset + 16 : offset + 16 + row.size], state) == offset
        ours.count_tries(offset, 9)
    content = bytearray(path.read_bytes())
    for offset in ours._offsets():
        assert content[offset + TRIES_AT] == 9
        content[offset + TRIES_AT] = 0
    assert content == header
