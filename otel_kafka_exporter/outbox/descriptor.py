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


def _seeker() -> Callable[[int, object, object], int]:
    """A way to ask for a file's size that keeps the interpreter, which `os.lseek` gives away: another thread takes it
    then, and whoever logs gets it back later, up to milliseconds.
    """
    try:
        found = ctypes.PyDLL(None).lseek
    except (OSError, AttributeError):  # an interpreter without dynamic libraries
        return _seek
    found.restype = ctypes.c_long
    return found


def _seek(number: int, _: object, __: object) -> int:
    try:
        return os.lseek(number, 0, os.SEEK_END)
    except OSError:
        return -1


#: Called with a descriptor, `NOTHING` and `TO_END`: the size of the file; -1 where it is closed, or of no file.
seek: Callable[[int, object, object], int] = _seeker()
NOTHING, TO_END = ctypes.c_long(0), ctypes.c_int(os.SEEK_END)


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
