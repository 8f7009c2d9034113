"""Locks of files, by which processes know of each other. Windows has none of this kind, and so no outbox."""

from __future__ import annotations

import errno

try:
    import fcntl
except ImportError:
    HAS_FILE_LOCKS = False
else:
    HAS_FILE_LOCKS = True


def lock_file(descriptor: int, *, shared: bool = False) -> None:
    """Take the lock of an open file, until all of its descriptors are closed; waits for nobody.

    Args:
        descriptor: of the file.
        shared: whether others may share it.

    Raises:
        BlockingIOError: another process has it.
        OSError: there are no such locks, here or on the file's file system.
    """
    if not HAS_FILE_LOCKS:
        raise OSError(errno.ENOTSUP, "this operating system has no flock()")
    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
