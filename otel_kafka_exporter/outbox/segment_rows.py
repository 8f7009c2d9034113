"""The rows of one file of the outbox, one behind the other, in the memory that it is mapped to (`segment_format`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

from .mapped_file import MappedFile
from .segment_format import (
    DONE,
    HEADER_BYTES,
    MARKER,
    MOST_TRIES,
    NOT_COMMITTED,
    ROW_BYTES,
    SENT,
    STATE_AT,
    TOUCHED_AT,
    TRIES_AT,
    WAITING,
    Row,
    is_right,
    new_header,
    pack_checked,
    pack_row,
    row_at,
    row_bytes,
    unpack_row,
)
from .segment_scan import Scan, scan


class CutShortError(Exception):
    """What was found in a file is not there any more: who loads it anew finds out what is."""


class SegmentRows:
    """The rows of one open segment. Not thread-safe.

    Attributes:
        order: its place among the segments of its stream.
        created: when it was made, in Unix nanoseconds.
        size: its bytes.
        waiting: rows that are WAITING.
        sent: rows that are SENT.
        damaged: rows that are lost to damage.
        cut_off: rows that were WAITING, and are lost since somebody has cut the file short; None where nobody has.
    """

    def __init__(self, file: MappedFile, order: int, size: int, created: int, salt: int) -> None:
        self.order = order
        self.created = created
        self.size = size
        self.waiting = 0
        self.sent = 0
        self.damaged = 0
        self.cut_off: int | None = None
        self._survivors: frozenset[int] | None = None  # the rows that are there yet, once it was cut short
        self._use(file)
        self._salt = salt
        self._tail = HEADER_BYTES  # behind the last row
        self._first = HEADER_BYTES  # no row before it is WAITING
        self._gaps: dict[int, int] = {}  # from where damage begins to the row behind
        self._touched = file.memory[TOUCHED_AT:HEADER_BYTES]
        self._names = 0  # how often its bytes were written anew
        self._synced = (0, 0)  # as of when it is on the disk: the same, and behind which row

    def _use(self, file: MappedFile) -> None:
        self._file = file
        self._memory = file.memory
        self._told_size, self._least = file.told_size, file.least

    @property
    def path(self) -> Path | None:
        """Its file; None when it is in memory only."""
        return self._file.path

    @property
    def closed(self) -> bool:
        """Whether it was closed or deleted."""
        return self._file.closed

    @property
    def free(self) -> int:
        """The bytes behind its last row."""
        return self.size - self._tail

    @property
    def live(self) -> bool:
        """Whether any row in it is not DONE."""
        return self.waiting > 0 or self.sent > 0

    def has(self, offset: int) -> bool:
        """Whether a row that was put here is there yet."""
        return not self._file.closed and (self._survivors is None or offset in self._survivors)

    def _is_whole(self) -> bool:
        """Whether its memory can be used; where somebody has cut the file short, it is another one from here on.

        What can be read is kept in memory until it is written anew, and nothing is appended any more.
        """
        if self._file.is_whole():
            return True
        before = self.waiting
        try:
            content = self._file.content()[HEADER_BYTES : self._tail]
        except OSError:
            content = b""
        header = new_header(self.size, self.created, self._salt)
        self._file.detach(header.ljust(HEADER_BYTES, b"\0") + content)
        self._use(self._file)
        damaged = self.damaged
        self._scan(self.size)
        self.damaged = damaged
        for offset in self._gaps:
            self._memory[offset + STATE_AT] = DONE  # counted now, and by nobody who reads it later
        self._survivors = frozenset(self._offsets())
        self.cut_off = before - self.waiting
        return False

    def append(self, payload: bytes, state: int = WAITING) -> int | None:
        """Add a row, and commit it; where it is, or None when there is no room for it, or it was cut short."""
        offset = self._tail
        size = len(payload)
        tail = (offset + ROW_BYTES + size + 7) & ~7
        if tail > self.size:
            return None
        crc = crc32(payload, self._salt)
        row = pack_row(MARKER, NOT_COMMITTED, 0, size, crc, crc32(pack_checked(MARKER, size), crc)) + payload
        # As `_is_whole` does, without its call.
        if (self._told_size() < self._least and not self._is_whole()) or self._survivors is not None:
            return None
        memory = self._memory
        try:
            memory[offset : offset + ROW_BYTES + size] = row
            memory[offset + STATE_AT] = state
            self._tail = tail
            if state == WAITING:
                self.waiting += 1
            elif state == SENT:
                self.sent += 1
        except BaseException:  # Ctrl-C too; it goes on from here
            # Ctrl-C, between any two of these: what stands there counts, and what was not committed goes.
            self._scan(self.size)
            memory[self._tail : max(tail, self._tail)] = bytes(max(tail - self._tail, 0))
            self._names += 1  # what stands there from now on is not on the disk
            raise
        return offset

    def set_state(self, offset: int, state: int) -> None:
        """Change the state of a row; of one that is lost, nothing."""
        at = offset + STATE_AT
        if self._told_size() < self._least:
            self._is_whole()
        if (self._gaps and offset in self._gaps) or (self._survivors is not None and offset not in self._survivors):
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

    def tries(self, offset: int) -> int:
        """How often a row was tried again, which is there."""
        self._is_whole()
        return self._memory[offset + TRIES_AT]

    def count_tries(self, offset: int, tries: int) -> None:
        """A row was tried again so often more; of one that has gone, nothing."""
        if not self._file.closed:
            self._is_whole()
            if self.has(offset):
                at = offset + TRIES_AT
                self._memory[at] = max(0, min(self._memory[at] + tries, MOST_TRIES))

    def is_sent(self, offset: int) -> bool:
        """Whether a row is SENT."""
        self._is_whole()
        return self._memory[offset + STATE_AT] == SENT

    def is_done(self, offset: int) -> bool:
        """Whether a row is DONE."""
        self._is_whole()
        return self._memory[offset + STATE_AT] == DONE

    def settled_by_others(self) -> int:
        """How many rows that were WAITING somebody else has settled, since this was asked last.

        Each state is one byte: where both settle a row at the same moment, it is DONE, and counted here or there.
        """
        if not self._is_whole():
            return 0
        touched = self._memory[TOUCHED_AT:HEADER_BYTES]
        if touched == self._touched:
            return 0
        self._touched = touched
        waiting = self.waiting
        states = Counter(self._memory[offset + STATE_AT] for offset in self._offsets())
        self.waiting, self.sent = states[WAITING], states[SENT]
        return waiting - self.waiting

    def read(self, offset: int) -> bytes:
        """The payload of a row.

        Raises:
            ValueError: it is damaged, or the segment is closed.
        """
        self._is_whole()
        row = row_at(self._memory, offset, self.size)
        if row is None or not is_right(self._memory, offset, row, self.size, self._salt):
            self.damaged += 1
            raise ValueError(f"expected an undamaged row at byte {offset} of {self.path or 'memory'}, got a wrong CRC")
        start = offset + ROW_BYTES
        return self._memory[start : start + row.size]

    def next_waiting(self, after: int | None = None) -> int | None:
        """Where the first row is that is WAITING, or the first behind another row."""
        if not self.waiting or not self._is_whole():
            return None  # of one that was cut short: there are some the next time
        first = self._first
        offset = first if after is None or after < first else self._end(after)
        memory, gaps, tail = self._memory, self._gaps, self._tail
        found = None
        while offset < tail:
            if offset in gaps:
                offset = gaps[offset]
                continue
            _, state, _, size, _, _ = unpack_row(memory, offset)
            if state == WAITING:
                found = offset
                break
            offset += row_bytes(size)
        if after is None or after < first:
            self._first = offset
        return found

    def live_rows(self) -> Iterator[tuple[int, bytes]]:
        """Where each row is that is not DONE, and its payload, as of now, whoever cuts the file short meanwhile.

        Raises:
            CutShortError: somebody changes the file at this moment, or the disk cannot read it.
        """
        self._is_whole()
        try:
            content = self._file.content()
        except OSError as error:
            raise CutShortError(f"expected a file that the disk can read, got: {error.strerror}") from error
        for offset, row in self._rows(content):
            if row.state == DONE:
                continue
            if not is_right(content, offset, row, len(content), self._salt):
                raise CutShortError(f"expected the row at byte {offset} of {self.path or 'memory'}, got a wrong CRC")
            yield offset, content[offset + ROW_BYTES : offset + ROW_BYTES + row.size]

    def _rows(self, content: bytes) -> Iterator[tuple[int, Row]]:
        """Where each row is, as of a copy.

        Raises:
            CutShortError: not all of them are in it.
        """
        offset = HEADER_BYTES
        while offset < self._tail:
            if offset in self._gaps:
                offset = self._gaps[offset]
                continue
            row = row_at(content, offset, len(content))
            if row is None:
                raise CutShortError(f"expected the row at byte {offset} of {self.path or 'memory'}, got other bytes")
            yield offset, row
            offset = row.end

    def _offsets(self) -> Iterator[int]:
        self._is_whole()
        offset = HEADER_BYTES
        while offset < self._tail:
            if offset in self._gaps:
                offset = self._gaps[offset]
                continue
            yield offset
            offset = self._end(offset)

    def _end(self, offset: int) -> int:
        size: int = unpack_row(self._memory, offset)[3]
        return offset + row_bytes(size)

    def _scan(self, allocated: int, breathe: Callable[[], object] = lambda: None) -> None:
        """Count the rows that stand there, and find the damage and the end."""
        self._found(scan(self._memory, self.size, self._salt, allocated, breathe))

    def _found(self, found: Scan) -> None:
        self.waiting, self.sent, self.damaged, self._gaps = found.waiting, found.sent, found.damaged, found.gaps
        self._tail, self._first = found.tail, HEADER_BYTES
