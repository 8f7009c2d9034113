"""One file of the outbox: rows, one behind the other, in a mapped file of a fixed size.

    header  magic 8 bytes, version u32, bytes u64, created u64 (Unix ns), salt u32, CRC-32 of these u32;
            4 bytes that change whenever somebody else settles a row
    row     marker u16, state u8, spare u8, payload bytes u32, CRC-32 of the payload u32, check u32; payload; to 8 bytes
    free    zeros

A row is copied with the state NOT_COMMITTED; then its state is set, and that one byte is the commit. The kernel keeps
what is in the map when the process is killed. The states are far apart, so that a bit that flips on the disk makes no
state of another. Both CRCs begin from the segment's own random salt: bytes that an application logged, or that another
segment held, are never taken for a row.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import randbits
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from .mapped_file import MappedFile

NOT_COMMITTED = 0
WAITING = 0b0000_1111  # to be delivered
SENT = 0b0011_0011  # on its way, in this process; after a crash it waits
DONE = 0b0011_1100

VERSION = 1
HEADER_BYTES = 40
ROW_BYTES = 16  # before its payload

_TOUCHED_AT = HEADER_BYTES - 4

_MAGIC = b"OTELKFK\xf5"
_HEADER = Struct("<8sIQQI")
_HEADER_CHECK = Struct("<I")
_ROW = Struct("<HBBIII")
_CHECKED = Struct("<HI")
_MARKER = 0xFFF5
_MARKER_BYTES = _MARKER.to_bytes(2, "little")  # never in UTF-8
_STATE_AT = 2
_SETTLED = bytes([NOT_COMMITTED]), bytes([DONE]), b""  # the last where a file was cut short


class NotASegmentError(ValueError):
    """A file is no segment that this version can read: says what was expected and what was got."""


class _Row(NamedTuple):
    state: int
    size: int
    crc: int
    end: int


def settle_on_disk(path: Path, offset: int) -> None:
    """Make a row of a file DONE; a process that has it open finds out by `settled_by_others`.

    Raises:
        OSError: the file is gone, or cannot be written to.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, bytes([DONE]), offset + _STATE_AT)
        os.pwrite(descriptor, randbits(32).to_bytes(4, "little"), _TOUCHED_AT)
    finally:
        os.close(descriptor)


def row_bytes(payload_bytes: int) -> int:
    """The bytes that a row takes in a segment."""
    return (ROW_BYTES + payload_bytes + 7) & ~7


class Segment:
    """One open segment. Not thread-safe, but for `sync`.

    Attributes:
        order: its place among the segments of its stream.
        created: when it was made, in Unix nanoseconds.
        size: its bytes.
        waiting: rows that are WAITING.
        sent: rows that are SENT.
        damaged: rows that are lost to damage.
    """

    def __init__(self, file: MappedFile, order: int, size: int, created: int, salt: int) -> None:
        self.order = order
        self.created = created
        self.size = size
        self.waiting = 0
        self.sent = 0
        self.damaged = 0
        self._file = file
        self._memory = file.memory
        self._salt = salt
        self._tail = HEADER_BYTES  # behind the last row
        self._first = HEADER_BYTES  # no row before it is WAITING
        self._gaps: dict[int, int] = {}  # from where damage begins to the row behind
        self._touched = file.memory[_TOUCHED_AT:HEADER_BYTES]

    @classmethod
    def create(cls, path: Path | None, size: int, order: int, created: int = 0) -> Segment:
        """A new one.

        Args:
            path: its file; None keeps it in memory.
            size: how many bytes to allocate.
            order: its place among the segments of its stream.
            created: in Unix nanoseconds; now, unless given.

        Raises:
            OSError: the file cannot be made, or the disk is full.
        """
        created = created or time.time_ns()
        salt = randbits(32)
        header = _HEADER.pack(_MAGIC, VERSION, size, created, salt)
        file = MappedFile.create(path, size, header + _HEADER_CHECK.pack(crc32(header)))
        return cls(file, order, size, created, salt)

    @classmethod
    def open(cls, path: Path, order: int) -> Segment:
        """An existing one, to be read and settled but not appended to. What was SENT is WAITING.

        Raises:
            NotASegmentError: it is no segment of this version.
            BlockingIOError: another process has it open.
            OSError: the file cannot be opened.
        """
        try:
            file = MappedFile.open(path)
        except ValueError as error:
            raise NotASegmentError(str(error)) from error
        try:
            allocated, created, salt = _read_header(file.memory[:HEADER_BYTES])
            segment = cls(file, order, min(len(file.memory), allocated), created, salt)
            segment._scan(allocated)
            segment._send_again()
        except BaseException:  # Ctrl-C too; it goes on from here
            file.close()
            raise
        return segment

    @classmethod
    def copy(cls, path: Path) -> Segment:
        """A copy in memory of an existing one, to look at while its process goes on with it.

        Raises:
            NotASegmentError: it is no segment of this version.
            OSError: the file cannot be read.
        """
        content = path.read_bytes()
        allocated, created, salt = _read_header(content[:HEADER_BYTES])
        segment = cls(MappedFile.create(None, len(content), content), 0, len(content), created, salt)
        segment._scan(allocated)
        return segment

    @property
    def path(self) -> Path | None:
        """Its file; None when it is in memory only."""
        return self._file.path

    @property
    def closed(self) -> bool:
        """Whether it was closed or deleted."""
        return self._file.closed

    @property
    def live(self) -> bool:
        """Whether any row in it is not DONE."""
        return self.waiting > 0 or self.sent > 0

    def append(self, payload: bytes, state: int = WAITING) -> int | None:
        """Add a row, and commit it; where it is, or None when there is no room for it."""
        offset = self._tail
        size = len(payload)
        tail = offset + ((size + 23) & ~7)  # row_bytes(), without a call
        if tail > self.size:
            return None
        memory = self._memory
        try:
            crc = crc32(payload, self._salt)
            row = _ROW.pack(_MARKER, NOT_COMMITTED, 0, size, crc, crc32(_CHECKED.pack(_MARKER, size), crc)) + payload
            memory[offset : offset + ROW_BYTES + size] = row
            memory[offset + _STATE_AT] = state
            self._tail = tail
            if state == WAITING:
                self.waiting += 1
            elif state == SENT:
                self.sent += 1
        except BaseException:  # Ctrl-C too; it goes on from here
            # Ctrl-C, between any two of these: what stands there counts, and what was not committed goes.
            self._scan(self.size)
            memory[self._tail : max(tail, self._tail)] = bytes(max(tail - self._tail, 0))
            raise
        return offset

    def set_state(self, offset: int, state: int) -> None:
        """Change the state of a row."""
        at = offset + _STATE_AT
        if self._gaps and offset in self._gaps:
            return
        try:
            before = self._memory[at]
            self._memory[at] = state
            self.waiting += (state == WAITING) - (before == WAITING)
            self.sent += (state == SENT) - (before == SENT)
            if state == WAITING and offset < self._first:
                self._first = offset
        except BaseException:  # Ctrl-C too; it goes on from here
            self._scan(self.size)
            raise

    def settled_by_others(self) -> int:
        """How many rows that were WAITING somebody else has settled, since this was asked last.

        Each state is one byte: where both settle a row at the same moment, it is DONE, and counted here or there.
        """
        touched = self._memory[_TOUCHED_AT:HEADER_BYTES]
        if touched == self._touched:
            return 0
        self._touched = touched
        waiting = self.waiting
        states = Counter(self._memory[offset + _STATE_AT] for offset in self._offsets())
        self.waiting, self.sent = states[WAITING], states[SENT]
        return waiting - self.waiting

    def read(self, offset: int) -> bytes:
        """The payload of a row.

        Raises:
            ValueError: it is damaged, or the segment is closed.
        """
        row = self._row(offset)
        if row is None or not self._is_right(offset, row):
            self.damaged += 1
            raise ValueError(f"expected an undamaged row at byte {offset} of {self.path or 'memory'}, got a wrong CRC")
        start = offset + ROW_BYTES
        return self._memory[start : start + row.size]

    def next_waiting(self, after: int | None = None) -> int | None:
        """Where the first row is that is WAITING, or the first behind another row."""
        if not self.waiting:
            return None
        first = self._first
        offset = first if after is None or after < first else self._end(after)
        memory, gaps, tail = self._memory, self._gaps, self._tail
        found = None
        while offset < tail:
            if offset in gaps:
                offset = gaps[offset]
                continue
            _, state, _, size, _, _ = _ROW.unpack_from(memory, offset)
            if state == WAITING:
                found = offset
                break
            offset += (size + 23) & ~7
        if after is None or after < first:
            self._first = offset
        return found

    def live_rows(self) -> Iterator[tuple[int, bytes]]:
        """Where each row is that is not DONE, and its payload."""
        for offset in self._offsets():
            if self._memory[offset + _STATE_AT] != DONE:
                yield offset, self.read(offset)

    def _offsets(self) -> Iterator[int]:
        offset = HEADER_BYTES
        while offset < self._tail:
            if offset in self._gaps:
                offset = self._gaps[offset]
                continue
            yield offset
            offset = self._end(offset)

    def sync(self) -> None:
        """Return when every row that is committed by now is on the disk. Threads may call it at any time.

        Raises:
            OSError: the disk did not take them.
        """
        file = None
        while file is not self._file:  # another one, once it was written anew meanwhile
            file = self._file
            file.sync()

    def intact(self) -> bool:
        """Whether its path still names its file."""
        return self._file.intact()

    def move(self, path: Path) -> None:
        """Give its file another path on the same file system.

        Raises:
            OSError: it cannot be moved there.
        """
        self._file.move(path)

    def rewrite(self, path: Path) -> None:
        """Write it to a new file, where its own was lost.

        Raises:
            OSError: that file cannot be made.
        """
        lost, self._file = self._file, MappedFile.create(path, self.size, self._memory[: self._tail])
        self._memory = self._file.memory
        lost.close()

    def delete(self) -> None:
        """Delete its file, and close it."""
        self._file.delete()

    def close(self) -> None:
        """Leave its file as it is."""
        self._file.close()

    def abandon(self) -> None:
        """Close it in a forked child, whose parent goes on with it."""
        self._file.abandon()

    def _row(self, offset: int) -> _Row | None:
        """The row that stands there, if its header is right."""
        if offset + ROW_BYTES > self.size:
            return None
        marker, state, _, size, crc, check = _ROW.unpack_from(self._memory, offset)
        if marker != _MARKER or check != crc32(_CHECKED.pack(marker, size), crc):
            return None
        return _Row(state, size, crc, offset + row_bytes(size))

    def _end(self, offset: int) -> int:
        size: int = _ROW.unpack_from(self._memory, offset)[3]
        return offset + row_bytes(size)

    def _is_right(self, offset: int, row: _Row) -> bool:
        start = offset + ROW_BYTES
        end = start + row.size
        # A copy: while a view of the map exists, a forked child cannot close it.
        return end <= self.size and crc32(self._memory[start:end], self._salt) == row.crc

    def _find(self, offset: int) -> int | None:
        """The next committed row at or behind a place where none is."""
        while (offset := self._memory.find(_MARKER_BYTES, offset, self.size)) >= 0:
            row = None if offset % 8 else self._row(offset)
            if row is not None and row.state != NOT_COMMITTED and self._is_right(offset, row):
                return offset
            offset += 1
        return None

    def _scan(self, allocated: int) -> None:
        """Count the rows that stand there, and find the damage and the end.

        A row that was not committed is the end, unless there are committed ones behind: then it is damaged.
        """
        states, gaps = Counter[int](), {}
        offset, damaged, lost = HEADER_BYTES, 0, False
        while offset < self.size:
            row = self._row(offset)
            if row is not None and row.state == NOT_COMMITTED:
                row = None
            if row is not None and (row.state == DONE or self._is_right(offset, row)):
                states[row.state] += 1
                offset, lost = row.end, False
                continue
            next_offset = self._find(offset + 8) if row is None else row.end
            state = self._memory[offset + _STATE_AT : offset + _STATE_AT + 1]
            lost = state != _SETTLED[1] if next_offset is not None else state not in _SETTLED
            damaged += lost
            if next_offset is None:
                break
            gaps[offset] = next_offset
            offset = next_offset
        if self.size < allocated and not lost and self._memory[offset : offset + 1] != b"\0":
            damaged += 1  # the file was cut short, and nothing shows that no row was behind
        self.sent = states.pop(SENT, 0)
        self.waiting = states.total() - states[DONE]
        self.damaged, self._gaps = damaged, gaps
        self._tail, self._first = min(offset, self.size), HEADER_BYTES

    def _send_again(self) -> None:
        """Make every row WAITING that is not DONE; a state that nobody sets came from a flipped bit."""
        for offset in self._offsets():
            if self._memory[offset + _STATE_AT] != DONE:
                self._memory[offset + _STATE_AT] = WAITING
        self.waiting, self.sent = self.waiting + self.sent, 0


def _read_header(header: bytes) -> tuple[int, int, int]:
    """How many bytes were allocated, when it was made, and the salt."""
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        raise NotASegmentError("expected the header of a segment, got other bytes")
    _, version, allocated, created, salt = _HEADER.unpack_from(header)
    if version != VERSION:
        raise NotASegmentError(f"expected format version {VERSION}, got {version}")
    if _HEADER_CHECK.unpack_from(header, _HEADER.size)[0] != crc32(header[: _HEADER.size]):
        raise NotASegmentError("expected an undamaged header, got one whose CRC is wrong")
    return allocated, created, salt
