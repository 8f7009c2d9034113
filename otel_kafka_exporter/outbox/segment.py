"""One file of the outbox: rows, one behind the other (`segment_rows`), in a mapped file of a fixed size."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from secrets import randbits

from .mapped_file import MappedFile
from .segment_format import (
    DONE,
    HEADER_BYTES,
    SENT,
    STATE_AT,
    WAITING,
    NotASegmentError,
    new_header,
    read_header,
)
from .segment_rows import CutShortError, SegmentRows
from .segment_scan import count_rows, scan
from .trust import UntrustedError, read_file

__all__ = ["DONE", "SENT", "WAITING", "CutShortError", "NotASegmentError", "Segment"]


class Segment(SegmentRows):
    """One open segment: where its rows come from, and where they stay. Not thread-safe, but for `sync`."""

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
        file = MappedFile.create(path, size, new_header(size, created, salt))
        return cls(file, order, size, created, salt)

    @classmethod
    def open(cls, path: Path, order: int) -> Segment:
        """An existing one, to be read and settled but not appended to. What was SENT is WAITING.

        Raises:
            NotASegmentError: it is no segment of this version.
            BlockingIOError: another process has it open.
            OSError: the file cannot be opened.
        """
        segment = cls.lock(path)
        segment.order = order
        segment.load()
        return segment

    @classmethod
    def lock(cls, path: Path) -> Segment:
        """An existing one that is nobody else's from here on. It is empty until `load` has found out what is in it.

        Raises:
            NotASegmentError: it is no file that can be a segment's.
            BlockingIOError: another process has it open.
            OSError: the file cannot be opened.
        """
        try:
            file = MappedFile.open(path)
        except ValueError as error:
            raise NotASegmentError(str(error), 1) from error
        except UntrustedError as error:
            raise NotASegmentError(str(error)) from error
        return cls(file, 0, 0, 0, 0)

    def load(self, breathe: Callable[[], object] = lambda: None) -> None:
        """Find out what is in one that was locked. What was SENT is WAITING. It is closed by any error.

        Args:
            breathe: is called again and again, so that other threads go on.

        Raises:
            NotASegmentError: it is no segment of this version.
        """
        content = b""
        try:
            content = self._file.content()
            allocated, self.created, self._salt = read_header(content[:HEADER_BYTES])
            self.size = min(len(content), allocated)
            self._found(scan(content, self.size, self._salt, allocated, breathe))
            self._send_again(content)
        except NotASegmentError as error:
            error.rows = max(1, count_rows(content))
            self._file.close()
            raise
        except OSError as error:
            self._file.close()
            raise NotASegmentError(f"expected a file that the disk can read, got: {error.strerror}", 1) from error
        except BaseException:  # Ctrl-C too; it goes on from here
            self._file.close()
            raise

    @classmethod
    def copy(cls, path: Path, breathe: Callable[[], object] = lambda: None) -> Segment:
        """A copy in memory of an existing one, to look at while its process goes on with it.

        Args:
            path: its file.
            breathe: as of `load`.

        Raises:
            NotASegmentError: it is no segment of this version.
            OSError: it cannot be read, or is no file.
        """
        content = read_file(path)
        allocated, created, salt = read_header(content[:HEADER_BYTES])
        content = content[:allocated]
        segment = cls(MappedFile.create(None, len(content), content), 0, len(content), created, salt)
        segment._scan(allocated, breathe)
        return segment

    def sync(self) -> None:
        """Return when every row that is committed by now is on the disk. Threads may call it at any time.

        Raises:
            OSError: the disk did not take them.
        """
        written = (self._names, self._tail)
        if written != self._synced:
            file = None
            while file is not self._file:  # another one, once it was written anew meanwhile
                file = self._file
                file.sync()
            self._synced = written

    def flush(self) -> None:
        """As `sync`, but it waits for no other thread. Unlike that, it is not for any time.

        Raises:
            OSError: the disk did not take them.
        """
        written = (self._names, self._tail)
        if written != self._synced:
            self._file.flush()
            self._synced = written

    def is_synced(self, offset: int) -> bool:
        """Whether a row is on the disk, as far as is known."""
        names, tail = self._synced
        return names == self._names and offset < tail

    def intact(self) -> bool:
        """Whether its path still names its file, which is whole."""
        return self._is_whole() and self._file.intact()

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
        self._is_whole()
        lost, self._file = self._file, MappedFile.create(path, self.size, self._memory[: self._tail])
        self._use(self._file)
        self._names += 1
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

    def _send_again(self, content: bytes) -> None:
        """Make every row WAITING that is not DONE; a state that nobody sets came from a flipped bit.

        One that waits already is not written to: an operator may settle a dead letter at this moment.

        Args:
            content: what was found in the file.
        """
        waiting = self.waiting + self.sent
        for offset, row in self._rows(content):
            if row.state in {DONE, WAITING}:
                continue
            if not self._is_whole():  # its rows were counted anew
                return
            if self._memory[offset + STATE_AT] not in {DONE, WAITING}:
                self._memory[offset + STATE_AT] = WAITING
        self.waiting, self.sent = waiting, 0
