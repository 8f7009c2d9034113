"""What stands in a segment's file: docs/outbox-format.md has it byte for byte, and what a reader makes of it.

A row is copied with the state NOT_COMMITTED; then its state is set, and that one byte is the commit. The kernel keeps
what is in the map when the process is killed. The states are far apart, so that a bit that flips on the disk makes no
state of another. The payload's CRC begins from the segment's own random salt, and the row's from that: bytes that an
application logged, or that another segment held, are never taken for a row that waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path
from secrets import randbits
from struct import Struct
from typing import NamedTuple
from zlib import crc32

NOT_COMMITTED = 0
WAITING = 0b0000_1111  # to be delivered
SENT = 0b0011_0011  # on its way, in this process; after a crash it waits
DONE = 0b0011_1100

VERSION = 1
HEADER_BYTES = 40
ROW_BYTES = 16  # before its payload

TOUCHED_AT = HEADER_BYTES - 4
STATE_AT, TRIES_AT = 2, 3  # in a row
#: How often a row is tried that is tried more often, as far as it tells.
MOST_TRIES = 255
MARKER = 0xFFF5

_MAGIC = b"OTELKFK\xf5"
_HEADER = Struct("<8sIQQI")
_HEADER_CHECK = Struct("<I")
_ROW = Struct("<HBBIII")
_CHECKED = Struct("<HI")  # with the CRC of the payload these make `check`
# As functions: a method of an imported object is called more slowly.
pack_row, unpack_row, pack_checked = _ROW.pack, _ROW.unpack_from, _CHECKED.pack


class NotASegmentError(ValueError):
    """A file is no segment that this version can read: says what was expected and what was got.

    Attributes:
        rows: how many records are lost with it, as far as can be told.
    """

    def __init__(self, problem: str, rows: int = 0) -> None:
        super().__init__(problem)
        self.rows = rows


class Row(NamedTuple):
    """A row whose header is right.

    Attributes:
        state: its state.
        size: the bytes of its payload.
        crc: of its payload.
        end: where the next one begins.
    """

    state: int
    size: int
    crc: int
    end: int


def new_header(allocated: int, created: int, salt: int) -> bytes:
    """The header of a segment of so many bytes, made then."""
    packed = _HEADER.pack(_MAGIC, VERSION, allocated, created, salt)
    return packed + _HEADER_CHECK.pack(crc32(packed))


def read_header(content: bytes) -> tuple[int, int, int]:
    """How many bytes were allocated, when it was made, and the salt.

    Raises:
        NotASegmentError: it is no segment's header.
    """
    if len(content) < HEADER_BYTES or not content.startswith(_MAGIC):
        raise NotASegmentError("expected the header of a segment, got other bytes")
    _, version, allocated, created, salt = _HEADER.unpack_from(content)
    # With ours in its place, the checksum tells a damaged version from another one, which may have it elsewhere.
    check = crc32(_HEADER.pack(_MAGIC, VERSION, allocated, created, salt))
    is_right = _HEADER_CHECK.unpack_from(content, _HEADER.size)[0] == check
    if version != VERSION and not is_right:
        raise NotASegmentError(f"expected format version {VERSION}, got {version}")
    if version != VERSION or not is_right:
        raise NotASegmentError("expected an undamaged header, got one whose CRC is wrong")
    return allocated, created, salt


def row_bytes(payload_bytes: int) -> int:
    """The bytes that a row takes in a segment."""
    return (ROW_BYTES + payload_bytes + 7) & ~7


def row_at(memory: mmap | bytes, offset: int, size: int) -> Row | None:
    """The row that stands there in a segment of that size, if its header is right."""
    if offset + ROW_BYTES > size:
        return None
    marker, state, _, payload_bytes, crc, check = unpack_row(memory, offset)
    if marker != MARKER or check != crc32(pack_checked(marker, payload_bytes), crc):
        return None
    return Row(state, payload_bytes, crc, offset + row_bytes(payload_bytes))


def is_right(memory: mmap | bytes, offset: int, row: Row, size: int, salt: int) -> bool:
    """Whether the payload of a row is what it was."""
    start = offset + ROW_BYTES
    end = start + row.size
    # A copy: while a view of the map exists, a forked child cannot close it.
    return end <= size and crc32(memory[start:end], salt) == row.crc


def settle_on_disk(path: Path, offset: int, payload: bytes = b"") -> bool:
    """Make a row of a file DONE; a process that has it open finds out by `settled_by_others`.

    Args:
        path: the file.
        offset: where the row is.
        payload: what it holds, or the beginning of that.

    Returns:
        Whether that row is there: whoever owns the file may have put another one in its place.

    Raises:
        OSError: the file is gone, or cannot be written to.
    """
    with _row_on_disk(path, offset, payload) as descriptor:
        if descriptor is None:
            return False
        os.pwrite(descriptor, bytes([DONE]), offset + STATE_AT)
        os.pwrite(descriptor, randbits(32).to_bytes(4, "little"), TOUCHED_AT)
    return True


def count_try_on_disk(path: Path, offset: int, payload: bytes) -> None:
    """A row of a file is tried again, by somebody who does not own the file; args and errors as of `settle_on_disk`."""
    with _row_on_disk(path, offset, payload) as descriptor:
        if descriptor is not None:
            (tries,) = os.pread(descriptor, 1, offset + TRIES_AT)
            os.pwrite(descriptor, bytes([min(tries + 1, MOST_TRIES)]), offset + TRIES_AT)


@contextmanager
def _row_on_disk(path: Path, offset: int, payload: bytes) -> Iterator[int | None]:
    """The descriptor of a file with a row in it; None where another one is in its place."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor if os.pread(descriptor, len(payload), offset + ROW_BYTES) == payload else None
    finally:
        os.close(descriptor)
