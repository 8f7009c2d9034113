"""A file of a fixed size in memory: made whole or not at all, locked, and with every byte allocated."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from struct import Struct

from otel_kafka_exporter.process import lock_file

from . import disk
from .descriptor import Descriptor, close_map, map_file, size_teller
from .group_commit import GroupCommit
from .trust import UntrustedError, check_file

NEW = ".new"  # behind the name of a file that is being made

# FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_NOCOW_FL of linux/fs.h.
_FLAGS = Struct("@l")
_DIRECTION = _FLAGS.size << 16 | ord("f") << 8
_GET_FLAGS, _SET_FLAGS, _NO_COPY_ON_WRITE = 2 << 30 | _DIRECTION | 1, 1 << 30 | _DIRECTION | 2, 0x00800000

# A directory, a symbolic link, a socket, another user's.
_NOT_OURS = {errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM}


class MappedFile:
    """A mapped file, or memory that is nobody else's and goes with the process.

    Attributes:
        memory: its bytes; writing to them cannot fail, since they are allocated, if `is_whole` says so just before.
        path: where it is; None for memory only.
        closed: whether its memory can no longer be used.
        number: its descriptor; -1 for memory only.
        told_size: tells what size it has at present, as of `size_teller`.
        least: what that tells while it is whole, at least.
    """

    def __init__(self, memory: mmap.mmap, path: Path | None = None, descriptor: int = -1) -> None:
        self.memory = memory
        self.path = path
        self.closed = False
        self._size = len(memory)
        self._is_cut = False
        self.number = descriptor
        self.told_size = size_teller(descriptor)
        self.least = -1 if path is None else self._size
        self._descriptor: Descriptor | None = None
        if path is not None:
            self._descriptor = Descriptor(descriptor)
            self._identity = self._descriptor.identity
            self._commit = GroupCommit(self._descriptor, (path.parent,))

    @classmethod
    def create(cls, path: Path | None, size: int, content: bytes) -> MappedFile:
        """A new one; it gets its name when it is allocated, mapped and locked and has its first content.

        Raises:
            OSError: it cannot be made, or the disk is full.
        """
        if path is None:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory[: len(content)] = content
            return cls(memory)
        new = path.with_name(path.name + NEW)
        descriptor = disk.create(new, os.O_TRUNC)
        try:
            lock_file(descriptor)
            _write_in_place(descriptor)
            _allocate(descriptor, size)
            memory = map_file(descriptor, size)
            memory[: len(content)] = content
            made = cls(memory, path, descriptor)
            disk.rename(new, path)
        except BaseException:  # Ctrl-C too; it goes on from here
            os.close(descriptor)
            with suppress(FileNotFoundError):
                disk.remove(new)
            raise
        return made

    @classmethod
    def open(cls, path: Path) -> MappedFile:
        """An existing one.

        Raises:
            BlockingIOError: another process has it open.
            UntrustedError: it is no file, or not of this user, or others may write to it.
            ValueError: there is nothing in it.
            OSError: it cannot be opened now.
        """
        try:
            # Without O_NONBLOCK a pipe of that name would wait for its other end.
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _NOT_OURS:
                raise UntrustedError(f"expected a file of this user, got: {error.strerror}") from error
            raise
        try:
            check_file(path, descriptor)
            lock_file(descriptor)
            size = os.fstat(descriptor).st_size
            if not size:
                raise ValueError("expected a file with something in it, got an empty one")  # noqa: TRY301 - closed below
            return cls(map_file(descriptor, size), path, descriptor)
        except BaseException:  # Ctrl-C too; it goes on from here
            os.close(descriptor)
            raise

    def is_whole(self) -> bool:
        """Whether it has its size yet: behind the end of a file that somebody has cut short, its memory kills us.

        To be asked before each use of the memory. False once, it stays so.
        """
        return self.told_size() >= self.least or self._has_its_size()

    def _has_its_size(self) -> bool:
        if self.path is None or self._is_cut:
            return True
        try:
            if self._descriptor is not None and self._descriptor.intact():
                return os.fstat(self.number).st_size >= self._size
            if self._is_named():
                return self.path.lstat().st_size >= self._size
        except PermissionError:  # as of `disk.is_at`
            return True
        except OSError:
            return False
        return True  # it was removed, and nobody can find it any more

    def detach(self, content: bytes) -> None:
        """Go on in memory only, with this at its beginning: until it is written anew, nothing of it survives."""
        close_map(self.memory, self._present_size())
        self._is_cut = True
        self.least = -1
        self.memory = mmap.mmap(-1, self._size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory[: len(content)] = content

    def content(self) -> bytes:
        """What is in the file, be it cut short. What the disk cannot give is an error here, and none in the memory.

        Raises:
            OSError: the disk cannot read it.
        """
        if self._descriptor is None or self._is_cut:
            return self.memory[:]
        with ExitStack() as opened:
            number = self.number
            if not self._descriptor.intact():
                number = os.open(str(self.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                opened.callback(os.close, number)
            chunks, offset = [], 0
            while chunk := os.pread(number, min(1 << 20, self._size - offset), offset):
                chunks.append(chunk)
                offset += len(chunk)
        return b"".join(chunks)

    def sync(self) -> None:
        """Return when what was written by now is on the disk. Threads may call it at any time.

        Raises:
            OSError: the disk did not take it.
        """
        if self.path is not None:
            self._commit.wait()

    def flush(self) -> None:
        """As `sync`, but it waits for no other thread.

        Raises:
            OSError: the disk did not take it.
        """
        if self.path is not None:
            self._commit.flush()

    def intact(self) -> bool:
        """Whether its path still names it, and it was not cut short."""
        return not self._is_cut and self._is_named()

    def _is_named(self) -> bool:
        return self.path is None or disk.is_at(self.path, self._identity)

    def move(self, path: Path) -> None:
        """Give it another path on the same file system.

        Raises:
            OSError: it cannot be moved there.
        """
        if self.path is not None:
            disk.rename(self.path, path)
            self.path = path
            self._commit.renamed((path.parent,))

    def delete(self) -> None:
        """Remove and close it."""
        if self.path is not None and self._is_named():
            with suppress(OSError):  # on a disk that has become read-only, say: it is found and delivered again then
                disk.remove(self.path)
        self.close()

    def close(self) -> None:
        """Leave it as it is."""
        if not self.closed:
            self.closed = True
            self._close_memory()
            if self.path is not None:
                self._commit.close()

    def abandon(self) -> None:
        """Close it in a forked child, whose parent goes on with it."""
        if not self.closed:
            self.closed = True
            self._close_memory()
            if self.path is not None:
                self._commit.abandon()

    def _present_size(self) -> int:
        """The size of its file: somebody may have cut it short, or put something behind it."""
        if self._descriptor is not None and self._descriptor.intact():
            return os.fstat(self.number).st_size
        return self._size

    def _close_memory(self) -> None:
        if self.path is None or self._is_cut:
            self.memory.close()
        else:
            close_map(self.memory, self._present_size())


def _write_in_place(descriptor: int) -> None:
    """Have a file's blocks be written where they are, as `chattr +C` does, while there are none yet.

    On btrfs each store into a page that was written back takes another block otherwise, and a full disk has none:
    that is a SIGBUS. Other file systems refuse it, and need it not.
    """
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - not on every system

        with suppress(OSError):
            (flags,) = _FLAGS.unpack(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_FLAGS.size)))
            fcntl.ioctl(descriptor, _SET_FLAGS, _FLAGS.pack(flags | _NO_COPY_ON_WRITE))


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):  # not on macOS
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:  # a file system that knows no such call
                raise
        else:
            return
    written = 0
    while written < size:
        written += os.pwrite(descriptor, bytes(min(size - written, 1 << 20)), written)
