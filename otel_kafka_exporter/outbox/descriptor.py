"""Descriptors that are closed only while they are ours: a daemon may close all there are, and reuse their numbers."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable

#: Maps whose own descriptor is somebody else's by now. Closing them, or forgetting them, would close that one.
_kept: list[mmap.mmap] = []


class Descriptor:
    """A descriptor of a file.

    Attributes:
        number: as the system calls take it.
        identity: which file it is of.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.identity = _identity(number)

    def intact(self) -> bool:
        """Whether it is still open, and of the same file."""
        try:
            return _identity(self.number) == self.identity
        except OSError:
            return False

    def close(self) -> None:
        """Close it, unless somebody has done so. Never raises."""
        if self.intact():
            os.close(self.number)


def _identity(number: int) -> tuple[int, int]:
    status = os.fstat(number)
    return status.st_dev, status.st_ino


def _ioctl_that_keeps_the_interpreter() -> tuple[Callable[..., int], ctypes.c_ulong] | None:
    """The system call that tells how much of a file is left to be read, and what it is told for that.

    `os.fstat` gives it away, another thread takes it, and whoever logs gets it back later, up to milliseconds. None
    where files cannot be asked in this way.
    """
    if sys.platform != "linux":
        return None
    try:
        import termios  # noqa: PLC0415 - not on every system

        ioctl = ctypes.PyDLL(None).ioctl
    except (ImportError, OSError, AttributeError):  # or an interpreter without dynamic libraries
        return None
    return ioctl, ctypes.c_ulong(termios.FIONREAD)


_IOCTL = _ioctl_that_keeps_the_interpreter()


def size_teller(number: int) -> Callable[[], int]:
    """What tells the size of a file, given its descriptor; or -1 where that is closed, or of no file.

    It changes nothing, not the position in the file either: the descriptor may be another file's by now. How much is
    left to be read from there is the size of one that nobody reads by position, as we do not.
    """
    if _IOCTL is None:
        return lambda: _size(number)
    ioctl, request = _IOCTL
    left = ctypes.c_int()
    into, descriptor = ctypes.byref(left), ctypes.c_int(number)
    return lambda: -1 if ioctl(descriptor, request, into) else left.value


def _size(number: int) -> int:
    try:
        return os.fstat(number).st_size
    except OSError:
        return -1


def map_file(number: int, size: int) -> mmap.mmap:
    """A map of a file; from Python 3.13 on without a descriptor of its own."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(number, size, trackfd=False)
    return mmap.mmap(number, size)


def close_map(memory: mmap.mmap, size: int) -> None:
    """Close a map of a file of that size; before Python 3.13 not if its descriptor seems to be another file's."""
    if sys.version_info < (3, 13):
        try:
            is_ours = memory.size() == size
        except OSError:
            is_ours = False
        if not is_ours:
            _kept.append(memory)
            return
    memory.close()
