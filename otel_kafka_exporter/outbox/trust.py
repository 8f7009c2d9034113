"""Whose files the outbox takes: what is in them is sent with the service's credentials.

A directory or a file is trusted if it belongs to the user of the process, is no symbolic link, and nobody else may
write to it. Its group may, if the process is in it: volumes of Kubernetes with `fsGroup` are like that. The directory
that holds all outboxes may also be root's, who can do anything anyway.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

ROOT = 0


class UntrustedError(Exception):
    """A file or a directory is not to be trusted: says what was expected and what was got."""


def check_directory(path: Path, *, may_be_roots: bool = False) -> None:
    """Return if a directory is to be trusted.

    Raises:
        UntrustedError: it is not.
        OSError: it is not there, or cannot be looked at.
    """
    _check(path, path.lstat(), "a directory", stat.S_ISDIR, may_be_roots=may_be_roots)


def check_file(path: Path, descriptor: int) -> None:
    """Return if an open file is to be trusted. Open it with `O_NOFOLLOW` and `O_NONBLOCK`.

    Raises:
        UntrustedError: it is not.
    """
    _check(path, os.fstat(descriptor), "a file", stat.S_ISREG, may_be_roots=False)


def problem_of(directory: Path, configuration: str, least_bytes: int) -> str:
    """Why no outbox can be made in a directory; empty where nothing speaks against it. Nothing is made to find out.

    Args:
        directory: that of all outboxes.
        configuration: the name of the directory in it.
        least_bytes: what has to be free on its disk.
    """
    path = directory / configuration
    try:
        check_directory(directory, may_be_roots=True)
        check_directory(path)
    except UntrustedError as error:
        return str(error)
    except OSError:
        pass  # it is not there, and made when it is needed
    try:
        while not os.path.lexists(path):
            path = path.parent
        if not path.is_dir():
            return f"expected a directory, got something else: {path}"
        if not os.access(path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return f"expected a directory that user {os.geteuid()} can write to, got one that it cannot: {path}"
        disk = os.statvfs(path)
    except OSError as error:
        return f"expected a directory that user {os.geteuid()} can write to, got {error.strerror}: {path}"
    if disk.f_bavail * disk.f_frsize < least_bytes:
        return f"expected {least_bytes} bytes that are free on the disk, got fewer: {path}"
    return ""


def read_file(path: Path, most: int = -1) -> bytes:
    """What is in a file, whosever it is, for operators to look at. No link is followed, and no pipe waited for.

    Args:
        path: the file.
        most: how many bytes to read at most; all of them unless given.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "expected a file, got something else", str(path))
        return file.read(most)


def _check(
    path: Path, status: os.stat_result, kind: str, is_right: Callable[[int], bool], *, may_be_roots: bool
) -> None:
    mode, user = status.st_mode, os.geteuid()
    if not is_right(mode):
        got = "a symbolic link" if stat.S_ISLNK(mode) else "something else"
        raise UntrustedError(f"expected {kind}, got {got}: {path}")
    if status.st_uid != user and not (may_be_roots and status.st_uid == ROOT):
        raise UntrustedError(f"expected {kind} of this user ({user}), got one of user {status.st_uid}: {path}")
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and status.st_gid not in {os.getegid(), *os.getgroups()}):
        raise UntrustedError(f"expected {kind} that nobody else may write to, got mode {mode & 0o7777:04o}: {path}")
