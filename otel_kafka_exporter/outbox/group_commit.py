"""One flush to the disk for all threads that wait for one at the same time."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from otel_kafka_exporter.process import LOCK_SECONDS, Flag, OsThread, RLock, get_ident, in_greenlet, owns

from . import descriptor as descriptors
from . import disk
from .descriptor import Descriptor


class _Flush:
    """One flush of a file. It is done by whoever comes to it first, so that nobody waits for what he has to do himself.

    Attributes:
        number: how many there were of this file, this one included.
        over: set at its end.
        flusher: the thread that does it; under gevent, the greenlet. None before one has begun.
        thread: the operating system's, in which it does.
    """

    def __init__(self) -> None:
        self.number = 0
        self.over = Flag()
        self.flusher: int | None = None
        self.thread = 0

    def is_interrupted(self) -> bool:
        """Whether who does it is at something else: in a finalizer, say, that waits for what who asks this has."""
        frame = sys._current_frames().get(self.thread)  # noqa: SLF001 - documented, in spite of its name
        is_at_it = frame is not None and (
            frame.f_code.co_filename in _OF_A_FLUSH or frame.f_code is disk.flush.__code__  # wherever that is from
        )
        return not is_at_it


#: Where a thread is that flushes, and not at something else.
_OF_A_FLUSH = frozenset((__file__, disk.__file__, descriptors.__file__))


class GroupCommit:
    """Flushes one file. While a flush is under way, those who come later wait for the next one, and share it.

    It owns the descriptor, so that the file can be closed while a flush of it is under way. With its lock held nothing
    is called: a finalizer might come in between, and wait for a thread that waits for the lock.

    Args:
        descriptor: of the file.
        directories: in which it is named: the first flush is one of these too, since a file that no directory names
            after a power failure is lost. The highest comes first.
    """

    def __init__(self, descriptor: Descriptor, directories: Sequence[Path]) -> None:
        self._descriptor = descriptor
        self._directories = directories
        self._lock = RLock()
        self._begun = 0  # the number of the flush that began last
        self._ended = 0
        self._under_way: _Flush | None = None
        self._closed = False
        self._error: OSError | None = None  # for ever
        self._failed: tuple[int, OSError] | None = None  # the last flush that may be tried again, and why

    def renamed(self, directories: Sequence[Path]) -> None:
        """The file is named in other directories, of which the next flush is one too."""
        self._directories = directories

    def wait(self) -> None:
        """Return when what was written to the file before this call is on the disk, or the file has been closed.

        Raises:
            OSError: it could not be written. The kernel may have dropped what it could not write, so a later flush
                would prove nothing: every call raises from now on. Where only a directory could not be opened, the
                next call tries again.
        """
        under_way = self._under_way
        if under_way is not None and under_way.flusher == threading.get_ident():
            # A signal handler within the flush: nobody else will do it, and it goes on only after this.
            self._flush_file()
            return
        if owns(self._lock):
            # A signal handler, or a finalizer, with the lock held: whoever flushes needs it at the end.
            self._flush()
            return
        with self._lock:
            needed = self._begun + 1  # the one under way may have begun too early for us
        while not self._over(needed):
            if not self._flush_or_wait(needed):
                self._flush_beside()
                return
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror)
        failed = self._failed
        if self._ended < needed and failed is not None and not self._closed:
            raise OSError(failed[1].errno, failed[1].strerror, failed[1].filename)

    def flush(self) -> None:
        """As `wait`, but by a flush of its own, beside that which may be under way: it waits for no other thread.

        For who holds a lock that others need. Those who wait at this moment have what they wait for, too.

        Raises:
            OSError: as of `wait`.
        """
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror)
        if self._closed:
            return
        with self._lock:
            self._begun += 1
            number = self._begun
        try:
            self._flush()
        except OSError as error:
            if not isinstance(error, disk.NotOpenedError):
                self._error = error
            raise
        with self._lock:
            if self._ended < number:  # noqa: PLR1730 - no call
                self._ended = number

    def _flush_beside(self) -> None:
        """As `flush`, while another one is under way that nobody waits for."""
        try:
            self._flush()
        except OSError:
            if not self._closed:  # else it was closed behind a flush of all there was
                raise

    def _over(self, needed: int) -> bool:
        has_failed = self._failed is not None and self._failed[0] >= needed
        return self._ended >= needed or has_failed or self._error is not None or self._closed

    def _flush_or_wait(self, needed: int) -> bool:
        """Flush, or wait for who does; False where that one is interrupted."""
        ours = _Flush()
        begun: _Flush | None = None
        try:
            with self._lock:
                flush = self._under_way
                if flush is None and self._ended < needed and self._error is None and not self._closed:
                    begun = flush = self._under_way = ours
                    ours.number = self._begun = self._begun + 1
            if flush is None:
                return True
            is_others = in_greenlet() and (begun is None or self._start(begun))
            if is_others or not self._do(flush):
                while not flush.over.wait(LOCK_SECONDS):
                    if flush.flusher is not None and flush.is_interrupted():
                        return False
            return True
        finally:
            if begun is not None and begun.flusher is None:  # Ctrl-C: the next one that waits begins anew
                self._end(begun, ended=False)

    def _start(self, flush: _Flush) -> bool:
        """Have a thread do it: other greenlets go on meanwhile, and what they write shares the next flush."""
        try:
            OsThread(partial(self._do, flush)).start()
        except RuntimeError:  # there is none to be had
            return False
        return True

    def _do(self, flush: _Flush) -> bool:
        """Do it; False where somebody else does."""
        ident, thread = threading.get_ident(), get_ident()
        ended = False
        error = None
        try:
            with self._lock:
                if flush.flusher is not None:
                    return False
                flush.flusher, flush.thread = ident, thread
            self._flush()
            ended = True
        except OSError as caught:
            error = caught
        finally:
            if flush.flusher == ident:
                self._end(flush, ended=ended, error=error)
        return True

    def _end(self, flush: _Flush, *, ended: bool, error: OSError | None = None) -> None:
        """A flush is over; nothing the second time."""
        failed = (flush.number, error) if isinstance(error, disk.NotOpenedError) else None
        is_last = False
        with self._lock:
            if ended and self._ended < flush.number:
                self._ended = flush.number
            if self._under_way is flush:
                self._under_way = None
                is_last = self._closed
                if failed is not None:
                    self._failed = failed
                elif error is not None:
                    self._error = error
        if is_last:
            self._descriptor.close()
        flush.over.set()

    def _flush_file(self) -> None:
        if not self._descriptor.intact():
            raise OSError(errno.EBADF, "somebody has closed the file's descriptor")
        disk.flush(self._descriptor.number)

    def _flush(self) -> None:
        self._flush_file()
        directories = self._directories
        for directory in directories:
            disk.flush_directory(directory)
        if self._directories is directories:  # else it was renamed meanwhile
            self._directories = ()

    def close(self) -> None:
        """Close the file, at the end of the flush that is under way if there is one; who waits returns."""
        with self._lock:
            was_closed, under_way = self._closed, self._under_way
            self._closed = True
        if under_way is not None:
            under_way.over.set()
        elif not was_closed:
            self._descriptor.close()

    def abandon(self) -> None:
        """Close the file in a forked child, where the lock may be held by a thread that is not there."""
        if not self._closed:
            self._closed = True
            self._descriptor.close()
