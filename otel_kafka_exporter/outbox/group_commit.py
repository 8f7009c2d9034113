"""One flush to the disk for all threads that wait for one at the same time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Condition, get_ident

# macOS has none; its fsync() leaves more to the drive.
_flush = getattr(os, "fdatasync", os.fsync)


class GroupCommit:
    """Flushes one file. While a flush is under way, those who come later wait for the next one, and share it.

    It owns the descriptor, so that the file can be closed while a flush of it is under way.

    Args:
        descriptor: of the file.
        directories: where the file is, and what is above: the first flush is one of these too, since a file that no
            directory names after a power failure is lost.
    """

    def __init__(self, descriptor: int, directories: tuple[Path, ...]) -> None:
        self._descriptor = descriptor
        self._directories = directories
        self._changed = Condition()
        self._begun = 0  # the number of the flush that began last
        self._ended = 0
        self._flushing = False
        self._flusher = 0  # the thread that does
        self._closed = False
        self._error: OSError | None = None

    def wait(self) -> None:
        """Return when what was written to the file before this call is on the disk, or the file has been closed.

        Raises:
            OSError: it could not be written. The kernel may have dropped what it could not write, so a later flush
                would prove nothing: every call raises from now on.
        """
        if self._flushing and self._flusher == get_ident():
            # A signal handler within the flush: nobody else will do it, and it goes on only after this.
            _flush(self._descriptor)
            return
        with self._changed:
            needed = self._begun + 1  # the one under way may have begun too early for us
        while not self._over(needed):
            self._flush_or_wait(needed)
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror)

    def _over(self, needed: int) -> bool:
        return self._ended >= needed or self._error is not None or self._closed

    def _flush_or_wait(self, needed: int) -> None:
        number = 0  # of the flush that is ours to do
        ended = False
        error = None
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._over(needed) or not self._flushing)
                if self._over(needed):
                    return
                number = self._begun + 1
                self._begun = number
                self._flusher = get_ident()
                self._flushing = True
            self._flush()
            ended = True
        except OSError as caught:
            error = caught
        finally:  # on a Ctrl-C too: the next thread that waits does it then
            if number:
                with self._changed:
                    self._flushing = False
                    self._error = error
                    if ended:
                        self._ended = number
                    if self._closed:
                        os.close(self._descriptor)
                    self._changed.notify_all()

    def _flush(self) -> None:
        _flush(self._descriptor)
        for directory in self._directories:
            with suppress(PermissionError):  # one above ours, which we may pass and not read
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        self._directories = ()

    def close(self) -> None:
        """Close the file, at the end of the flush that is under way if there is one; who waits returns."""
        with self._changed:
            if not self._closed:
                self._closed = True
                if not self._flushing:
                    os.close(self._descriptor)
                self._changed.notify_all()

    def abandon(self) -> None:
        """Close the file in a forked child, where the lock may be held by a thread that is not there."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)
