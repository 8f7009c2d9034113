"""What is in a segment after whatever happened to it: rows, damage, and where it ends (docs/outbox-format.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from mmap import mmap
from typing import NamedTuple

from .segment_format import (
    DONE,
    HEADER_BYTES,
    MARKER,
    NOT_COMMITTED,
    SENT,
    STATE_AT,
    is_right,
    row_at,
)

#: After how many rows whoever reads them without hurry lets other threads go on: some tenths of a millisecond.
ROWS_A_BREATH = 64
_MARKER_BYTES = MARKER.to_bytes(2, "little")  # never in UTF-8
_SETTLED = bytes([NOT_COMMITTED]), bytes([DONE]), b""  # the last where a file was cut short


class Scan(NamedTuple):
    """What a segment holds.

    Attributes:
        waiting: rows that are neither SENT nor DONE.
        sent: rows that are SENT.
        damaged: rows that are lost to damage.
        gaps: from where damage begins to the row behind it.
        tail: behind the last row.
    """

    waiting: int
    sent: int
    damaged: int
    gaps: dict[int, int]
    tail: int


def scan(
    memory: mmap | bytes, end: int, salt: int, allocated: int, breathe: Callable[[], object] = lambda: None
) -> Scan:
    """Count the rows of a segment, and find the damage and the end.

    A row that was not committed is the end, unless there are committed ones behind: then it is damaged.

    Args:
        memory: its bytes.
        end: how many of them there are.
        salt: its own.
        allocated: how many there were when it was made.
        breathe: is called again and again, so that other threads go on.
    """
    states: Counter[int] = Counter()
    gaps: dict[int, int] = {}
    offset, damaged, lost, rows = HEADER_BYTES, 0, False, 0
    while offset < end:
        rows += 1
        if not rows % ROWS_A_BREATH:
            breathe()
        row = row_at(memory, offset, end)
        if row is not None and row.state == NOT_COMMITTED:
            row = None
        next_offset: int | None
        if row is None:
            next_offset = find_row(memory, offset + 8, end, salt)
            state = memory[offset + STATE_AT : offset + STATE_AT + 1]
            lost = state != _SETTLED[1] if next_offset is not None else state not in _SETTLED
        elif is_right(memory, offset, row, end, salt):
            next_offset, lost = row.end, False
        elif row.state != DONE:
            next_offset, lost = row.end, True
        else:
            # The payload of one that is DONE may never have come to the disk. But if another row is in it, this one
            # was not written here.
            within = find_row(memory, offset + 8, end, salt, row.end)
            next_offset, lost = row.end if within is None else within, within is not None
        damaged += lost
        if next_offset is None:
            break
        if row is None or lost:
            gaps[offset] = next_offset
        else:
            states[row.state] += 1
        offset = next_offset
    if end < allocated and not lost and memory[offset : offset + 1] != b"\0":
        damaged += 1  # the file was cut short, and nothing shows that no row was behind
    sent = states.pop(SENT, 0)
    return Scan(states.total() - states[DONE], sent, damaged, gaps, min(offset, end))


def count_rows(memory: mmap | bytes) -> int:
    """How many rows that are not DONE seem to be in a file whose header is lost, and with it what proves a payload."""
    found, offset = 0, 0
    while (offset := memory.find(_MARKER_BYTES, offset)) >= 0:
        row = None if offset % 8 else row_at(memory, offset, len(memory))
        found += row is not None and row.state not in {NOT_COMMITTED, DONE}
        offset = offset + 1 if row is None else max(offset + 1, row.end)
    return found


def find_row(memory: mmap | bytes, offset: int, size: int, salt: int, before: int | None = None) -> int | None:
    """The next committed row at or behind a place where none is, of those that begin before another place."""
    while (offset := memory.find(_MARKER_BYTES, offset, size if before is None else min(before, size))) >= 0:
        row = None if offset % 8 else row_at(memory, offset, size)
        if row is not None and row.state != NOT_COMMITTED and is_right(memory, offset, row, size, salt):
            return offset
        offset += 1
    return None
