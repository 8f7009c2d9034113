"""One file of rows: what is in it after whatever happened to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING, NotASegmentError, Segment
from otel_kafka_exporter.outbox.segment_format import HEADER_BYTES, NOT_COMMITTED, ROW_BYTES, row_bytes
from tests.interrupting import interrupt_after
from tests.strategies import QUICK

SIZE = 16_384
PAYLOADS = [b"first", b"", b"third" * 9, b"12345678", b"fifth"]


@pytest.fixture(params=["file", "memory"])
def segment(request: pytest.FixtureRequest, tmp_path: Path) -> Segment:
    return Segment.create(tmp_path / "a.segment" if request.param == "file" else None, SIZE, 1)


def written(path: Path, payloads: list[bytes], size: int = SIZE) -> list[int]:
    """A segment with these rows that its process has left."""
    segment = Segment.create(path, size, 1)
    offsets = [append(segment, payload) for payload in payloads]
    segment.close()
    return offsets


def append(segment: Segment, payload: bytes, state: int = WAITING) -> int:
    offset = segment.append(payload, state)
    assert offset is not None
    return offset


def waiting(segment: Segment) -> list[bytes]:
    found = []
    offset = segment.next_waiting()
    while offset is not None:
        found.append(segment.read(offset))
        offset = segment.next_waiting(offset)
    assert len(found) == segment.waiting
    return found


def reopened(path: Path) -> Segment:
    return Segment.open(path, 1)


def test_rows_come_in_their_order(segment: Segment) -> None:
    """Rows are read as they were appended."""
    for payload in PAYLOADS:
        append(segment, payload)
    assert waiting(segment) == PAYLOADS
    segment.close()
    assert segment.closed


def test_states(segment: Segment) -> None:
    """Only rows that wait are found; counts follow each change, there and back."""
    offsets = [append(segment, payload) for payload in PAYLOADS]
    sent = append(segment, b"sent", SENT)
    assert (segment.waiting, segment.sent) == (5, 1)
    segment.set_state(offsets[0], SENT)
    segment.set_state(offsets[2], DONE)
    assert (segment.waiting, segment.sent) == (3, 2)
    assert waiting(segment) == [b"", b"12345678", b"fifth"]
    segment.set_state(offsets[0], WAITING)
    segment.set_state(sent, WAITING)
    segment.set_state(sent, WAITING)
    assert waiting(segment) == [b"first", b"", b"12345678", b"fifth", b"sent"]
    for offset in (*offsets, sent):
        assert segment.live
        segment.set_state(offset, DONE)
    assert not segment.live
    assert segment.next_waiting() is None


def test_a_row_that_does_not_fit(segment: Segment) -> None:
    """A row for which there is no room changes nothing; a smaller one may still fit, to the last byte."""
    append(segment, bytes(SIZE // 2))
    assert segment.append(bytes(SIZE // 2)) is None
    left = SIZE - HEADER_BYTES - row_bytes(SIZE // 2)
    assert segment.append(bytes(left - ROW_BYTES + 1)) is None
    append(segment, b"x" * (left - ROW_BYTES))
    assert segment.append(b"") is None
    assert waiting(segment) == [bytes(SIZE // 2), b"x" * (left - ROW_BYTES)]


def test_a_segment_that_is_full_to_the_last_byte(tmp_path: Path) -> None:
    """A full one is read without looking for more."""
    path = tmp_path / "a"
    written(path, [b"x" * (SIZE - HEADER_BYTES - ROW_BYTES)])
    again = reopened(path)
    assert (len(waiting(again)), again.damaged) == (1, 0)


def test_after_a_crash_what_was_sent_waits(tmp_path: Path) -> None:
    """In another process rows have the states they were left in, and what was on its way waits again."""
    segment = Segment.create(tmp_path / "a", SIZE, 1)
    states = [WAITING, SENT, DONE, SENT, WAITING]
    for payload, state in zip(PAYLOADS, states, strict=True):
        append(segment, payload, state)
    created = segment.created
    segment.close()
    again = reopened(tmp_path / "a")
    assert waiting(again) == [PAYLOADS[at] for at in (0, 1, 3, 4)]
    assert (again.sent, again.damaged, again.created) == (0, 0, created)


def test_a_row_that_was_not_committed_is_not_there(tmp_path: Path) -> None:
    """A row whose copying was cut short, at any byte, ends the segment, and is no damage."""
    offsets = written(tmp_path / "a", PAYLOADS)
    whole = (tmp_path / "a").read_bytes()
    start, end = offsets[-1], offsets[-1] + row_bytes(len(PAYLOADS[-1]))
    uncommitted = whole[: start + 2] + bytes([NOT_COMMITTED]) + whole[start + 3 :]
    for copied in range(start, end + 1):
        (tmp_path / "a").write_bytes(uncommitted[:copied] + bytes(SIZE - copied))
        again = reopened(tmp_path / "a")
        assert (waiting(again), again.damaged) == (PAYLOADS[:-1], 0)
        again.close()


def test_every_flipped_bit(tmp_path: Path) -> None:
    """Whatever bit of a row flips, it is lost and counted, or delivered as it was; the others are not touched."""
    offsets = written(tmp_path / "a", PAYLOADS)
    whole = bytearray((tmp_path / "a").read_bytes())
    lost = 0
    for at, payload in enumerate(PAYLOADS):
        for byte in range(offsets[at], offsets[at] + ROW_BYTES + len(payload)):
            for bit in range(8):
                whole[byte] ^= 1 << bit
                (tmp_path / "a").write_bytes(whole)
                again = reopened(tmp_path / "a")
                found = waiting(again)
                if found != PAYLOADS:
                    assert found == PAYLOADS[:at] + PAYLOADS[at + 1 :]
                    assert again.damaged == 1
                    lost += 1
                again.close()
                whole[byte] ^= 1 << bit
    spare = 8 + 8  # the state, which is told by its other bits, and the byte that means nothing
    assert lost == sum(8 * (ROW_BYTES + len(payload)) - spare for payload in PAYLOADS)


def test_a_done_row_stays_done(tmp_path: Path) -> None:
    """Damage in a row that was delivered is nobody's loss, and the row does not come back."""
    segment = Segment.create(tmp_path / "a", SIZE, 1)
    offsets = [append(segment, payload) for payload in PAYLOADS]
    segment.set_state(offsets[2], DONE)
    segment.close()
    whole = bytearray((tmp_path / "a").read_bytes())
    for byte in [*range(offsets[2], offsets[2] + 2), *range(offsets[2] + 3, offsets[3])]:
        whole[byte] ^= 0xFF
        (tmp_path / "a").write_bytes(whole)
        again = reopened(tmp_path / "a")
        assert (waiting(again), again.damaged) == (PAYLOADS[:2] + PAYLOADS[3:], 0)
        again.close()
        whole[byte] ^= 0xFF


def test_a_file_that_was_cut_short(tmp_path: Path) -> None:
    """A file is read as far as it goes, and that it was cut is counted where rows may have been behind."""
    offsets = written(tmp_path / "a", PAYLOADS)
    whole = (tmp_path / "a").read_bytes()
    ends = [offset + ROW_BYTES + len(payload) for offset, payload in zip(offsets, PAYLOADS, strict=True)]
    for size in range(HEADER_BYTES, offsets[-1] + 64):
        (tmp_path / "a").write_bytes(whole[:size])
        again = reopened(tmp_path / "a")
        kept = sum(row_end <= size for row_end in ends)
        assert waiting(again) == PAYLOADS[:kept]
        # After the last row nothing is certain until a zero follows it.
        assert again.damaged == (kept < len(PAYLOADS) or size <= offsets[-1] + row_bytes(len(PAYLOADS[-1])))
        again.close()


def test_a_file_with_more_behind_it(tmp_path: Path) -> None:
    """What somebody appended to a file is not part of it."""
    written(tmp_path / "a", PAYLOADS)
    with (tmp_path / "a").open("ab") as file:
        file.write(b"\xf5\xff\x0f" * 1000)
    again = reopened(tmp_path / "a")
    assert (waiting(again), again.damaged, again.size) == (PAYLOADS, 0, SIZE)


def test_zeros_in_the_middle(tmp_path: Path) -> None:
    """Rows behind a page that the disk never got are still found."""
    written(tmp_path / "a", [b"%04d" % n * 60 for n in range(50)])
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:4096] + bytes(4096) + whole[8192:])
    again = reopened(tmp_path / "a")
    found = [int(payload[:4]) for payload in waiting(again)]
    assert found == [n for n in range(50) if n in found]
    assert found[0] == 0
    assert found[-1] == 49
    assert again.damaged


def test_rows_inside_rows(tmp_path: Path) -> None:
    """A payload that has whole segments in it is never taken for rows, even where its own header is damaged."""
    written(tmp_path / "a", PAYLOADS)
    whole = (tmp_path / "a").read_bytes()
    (offset, _) = written(tmp_path / "b", [b"x" * 8 + whole[HEADER_BYTES:1024], b"last"])
    damaged = bytearray((tmp_path / "b").read_bytes())
    damaged[offset + 5] ^= 1
    (tmp_path / "b").write_bytes(damaged)
    again = reopened(tmp_path / "b")
    assert (waiting(again), again.damaged) == ([b"last"], 1)


@pytest.mark.parametrize("at", range(HEADER_BYTES - 4))
def test_a_damaged_header(tmp_path: Path, at: int) -> None:
    """A file whose header is damaged in any byte is refused, with what was expected."""
    written(tmp_path / "a", PAYLOADS)
    content = bytearray((tmp_path / "a").read_bytes())
    content[at] ^= 0x10
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(NotASegmentError, match="expected"):
        reopened(tmp_path / "a")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "make", [Path.mkdir, make_pipe, make_link, Path.touch, lambda path: path.write_bytes(b"short")]
)
def test_what_is_no_segment(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """Whatever else has a segment's name is refused, without waiting for anything."""
    make(tmp_path / "a")
    with pytest.raises(NotASegmentError, match="expected"):
        reopened(tmp_path / "a")


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    """A segment that is open cannot be opened by another, and can as soon as it is closed."""
    segment = Segment.create(tmp_path / "a", SIZE, 1)
    with pytest.raises(BlockingIOError):
        reopened(tmp_path / "a")
    segment.close()
    reopened(tmp_path / "a").close()


def test_only_for_this_user(tmp_path: Path) -> None:
    """A file is readable for its user only, and all of it is allocated."""
    Segment.create(tmp_path / "a", SIZE, 1)
    status = (tmp_path / "a").stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 >= SIZE


def test_where_the_file_system_knows_no_allocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without posix_fallocate, as on macOS, zeros are written; every byte is allocated all the same."""
    monkeypatch.delattr(os, "posix_fallocate")
    segment = Segment.create(tmp_path / "a", SIZE, 1)
    append(segment, b"x")
    assert (tmp_path / "a").stat().st_blocks * 512 >= SIZE
    assert waiting(segment) == [b"x"]


def test_damage_that_is_found_when_it_is_read(segment: Segment) -> None:
    """A row that is damaged after it was found is a ValueError; once it is DONE the others go on."""
    offsets = [append(segment, payload) for payload in PAYLOADS]
    segment._memory[offsets[0] + ROW_BYTES] ^= 1
    with pytest.raises(ValueError, match="expected an undamaged row"):
        segment.read(offsets[0])
    assert segment.damaged
    segment.set_state(offsets[0], DONE)
    assert waiting(segment) == PAYLOADS[1:]


@QUICK
@given(st.lists(st.tuples(st.binary(max_size=600), st.sampled_from([WAITING, SENT, DONE]))), st.data())
def test_counts_and_order(rows: list[tuple[bytes, int]], data: st.DataObject) -> None:
    """Whatever rows do, the counts are right, and those that wait come in order, from the start or from anywhere."""
    segment = Segment.create(None, 65_536, 1)
    states = {}
    payloads = {}
    for payload, state in rows:
        offset = append(segment, payload, state)
        states[offset], payloads[offset] = state, payload
        if data.draw(st.booleans()):
            changed = data.draw(st.sampled_from(sorted(states)))
            states[changed] = data.draw(st.sampled_from([WAITING, SENT, DONE]))
            segment.set_state(changed, states[changed])
        expected = [offset for offset, state in states.items() if state == WAITING]
        after = data.draw(st.sampled_from([None, *states]))
        behind = [offset for offset in expected if after is None or offset > after]
        assert segment.next_waiting(after) == next(iter(behind), None)
        assert waiting(segment) == [payloads[offset] for offset in expected]
        assert segment.sent == sum(state == SENT for state in states.values())


@pytest.mark.parametrize("state", [WAITING, SENT])
def test_ctrl_c_while_appending(tmp_path: Path, state: int) -> None:
    """Ctrl-C anywhere in an append leaves the row there or not there, the others as they are, and room for more."""
    bytecodes, interrupted = 0, True
    while interrupted:
        bytecodes += 1
        path = tmp_path / str(bytecodes)
        segment = Segment.create(path, SIZE, 1)
        append(segment, b"before")
        interrupted = interrupt_after(bytecodes, lambda: segment.append(b"long " * 20, state))  # noqa: B023
        append(segment, b"after")
        live = segment.waiting + segment.sent
        found = waiting(segment)
        segment.close()
        again = reopened(path)
        rows = waiting(again)
        assert rows in ([b"before", b"after"], [b"before", b"long " * 20, b"after"])
        assert (again.damaged, len(rows)) == (0, live)
        assert found == (rows if state == WAITING else [b"before", b"after"])
        again.delete()
    assert bytecodes > 50


@pytest.mark.parametrize("state", [WAITING, SENT, DONE])
def test_ctrl_c_while_a_state_changes(state: int) -> None:
    """Ctrl-C anywhere in a change of state leaves the old state or the new one, and counts that fit."""
    bytecodes, interrupted = 0, True
    while interrupted:
        bytecodes += 1
        segment = Segment.create(None, SIZE, 1)
        offset = append(segment, b"changed", SENT)
        append(segment, b"other")
        interrupted = interrupt_after(bytecodes, lambda: segment.set_state(offset, state))  # noqa: B023
        before = (segment.waiting, segment.sent) == (1, 1)
        after = (segment.waiting, segment.sent) == (1 + (state == WAITING), state == SENT)
        assert before or after
        assert len(waiting(segment)) == segment.waiting
    assert bytecodes > 20


def test_a_removed_file_is_written_anew(tmp_path: Path) -> None:
    """Rows and places outlive the file; what comes later is in the new one."""
    segment = Segment.create(tmp_path / "a", SIZE, 1)
    offsets = [append(segment, payload) for payload in PAYLOADS]
    (tmp_path / "a").unlink()
    assert not segment.intact()
    segment.rewrite(tmp_path / "b")
    assert segment.intact()
    segment.set_state(offsets[0], DONE)
    append(segment, b"later")
    segment.sync()
    segment.close()
    assert waiting(reopened(tmp_path / "b")) == [*PAYLOADS[1:], b"later"]


def test_delete_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    """A file that took the segment's name is not deleted with it."""
    segment = Segment.create(tmp_path / "a", SIZE, 1)
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_text("somebody's")
    segment.delete()
    assert (tmp_path / "a").read_text() == "somebody's"


def test_no_file_is_left_when_one_cannot_be_made(tmp_path: Path) -> None:
    """A segment whose making fails leaves no file and no open descriptor."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "full").touch()
    descriptors = sorted(Path("/dev/fd").iterdir())
    with pytest.raises(OSError, match="directory"):
        Segment.create(tmp_path / "a", SIZE, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert sorted(Path("/dev/fd").iterdir()) == descriptors


def test_killed(tmp_path: Path) -> None:
    """What was committed is there after a SIGKILL, with nothing flushed."""
    program = (
        "import os, signal, sys; from pathlib import Path; from otel_kafka_exporter.outbox.segment import Segment\n"
        f"segment = Segment.create(Path(sys.argv[1]), {SIZE}, 1)\n"
        "for n in range(100): segment.append(b'%d' % n)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path / "a"], check=False).returncode < 0
    assert waiting(reopened(tmp_path / "a")) == [b"%d" % n for n in range(100)]
