"""The calls that change what names there are on the disk, and that flush it: every one of the outbox's.

What is not flushed may be there after a power failure or not, each name and each block by itself. Tests record these
calls, and make of them what a power failure leaves.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

# macOS has none; its fsync() leaves more to the drive.
_flush_data = getattr(os, "fdatasync", os.fsync)


class NotOpenedError(OSError):
    """A directory cannot be opened to be flushed: nothing is lost by that, and the next flush may well succeed."""


def create(path: Path, flags: int) -> int:
    """A descriptor of a file that is made for this user only, unless it is there; flags as of `os.open`."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def make_directory(path: Path) -> None:
    """Make a directory for this user only."""
    path.mkdir(0o700)


def rename(path: Path, target: Path) -> None:
    """Give a file or a directory another name."""
    path.rename(target)


def remove(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def remove_directory(path: Path) -> None:
    """Remove an empty directory."""
    path.rmdir()


def flush(descriptor: int) -> None:
    """Return when what is in a file is on the disk.

    Raises:
        OSError: the disk did not take it.
    """
    _flush_data(descriptor)


def flush_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk, as far as it can be asked for.

    Raises:
        NotOpenedError: it has gone, or there is no descriptor to be had at this moment.
        OSError: the disk did not take them.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # one above ours, which we may pass and not read
        return
    except OSError as error:
        raise NotOpenedError(error.errno, error.strerror, str(path)) from error
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that flushes no directories
            raise
    finally:
        os.close(descriptor)


def is_at(path: Path, identity: tuple[int, int]) -> bool:
    """Whether a file, by its device and number, is still at a path; so it is where this process may not look.

    A process that started as root and has become another user's since does not see what it still has open.
    """
    try:
        status = path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == identity
