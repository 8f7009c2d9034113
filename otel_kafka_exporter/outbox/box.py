"""The directory in which one process keeps its segments, and the lock that says that it lives.

    <outbox_dir>/<configuration>/<uuid>/owner                     locked for as long as the process lives
    <outbox_dir>/<configuration>/<uuid>/<stream>.<order>.segment
    <outbox_dir>/<configuration>/set-aside/                       what cannot be read, for a person to look at

A lock is the kernel's (flock), so it ends with the process, however that ends. Each segment's file is locked as well,
so that even without `owner` nobody takes it from a process that lives.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast
from uuid import uuid4

from otel_kafka_exporter.process import lock_file, making_locks, note

from . import disk
from .descriptor import Descriptor
from .directories import OWNER, make_directories
from .group_commit import GroupCommit
from .mapped_file import NEW
from .segment import NotASegmentError, Segment
from .segment_format import HEADER_BYTES, VERSION, row_bytes
from .stream import parse_segment_name
from .trust import UntrustedError, check_directory, check_file

SET_ASIDE = "set-aside"
_ATTEMPTS = 10


class Box:
    """One process's directory, whose lock is held.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = Descriptor(descriptor)
        self._commit = GroupCommit(self._descriptor, (*reversed(path.parents), path))
        self._written = 1  # how often what it says has changed, and as of when that is on the disk
        self._synced = 0
        self._opened: Segment | None = None  # which is being finished

    @classmethod
    def make(cls, configuration: Path, owner: Mapping[str, object]) -> Box:
        """A new one, and the directories above it where there are none; all for this user only.

        Raises:
            UntrustedError: one of them is not to be trusted.
            OSError: it cannot be made.
        """
        for attempt in range(_ATTEMPTS):
            path = configuration / str(uuid4())
            try:
                make_directories(configuration)
                disk.make_directory(path)
            except FileNotFoundError:  # the last process that was there has just removed it
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            box = _lock(path, os.O_EXCL)
            if box is not None:
                try:
                    box.describe(owner)
                except BaseException:  # Ctrl-C too; it goes on from here
                    try:
                        box.remove()
                    finally:
                        box.release()
                    raise
                return box
            # Another process looked for what the dead left, and took this for that.
        raise OSError(errno.EAGAIN, "other processes took every new directory for a dead one's", str(configuration))

    @classmethod
    def take(cls, path: Path) -> Box | None:
        """A dead process's; None while it lives, or when another process takes it.

        Raises:
            UntrustedError: it is not to be trusted.
            OSError: it cannot be opened.
        """
        try:
            disk.remove_directory(path)  # it is empty when its maker, or who took it, died at the wrong moment
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            check_directory(path)
            return _lock(path)  # if somebody removed it, the segments still know whether they are used
        return None

    def describe(self, owner: Mapping[str, object]) -> None:
        """Write down whose it is. Its time stays as it was: it tells which of several processes came first.

        Raises:
            OSError: that is not possible.
        """
        if not self._descriptor.intact():
            raise OSError(errno.EBADF, "somebody has closed the descriptor", str(self.path / OWNER))
        descriptor = self._descriptor.number
        text = json.dumps({"version": VERSION, **owner}, default=str).encode()
        before = os.fstat(descriptor)
        # In one step, which no kill can cut in two; blanks take the place of what was longer.
        os.pwrite(descriptor, text.ljust(before.st_size), 0)
        if before.st_size:
            os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        self._written += 1

    def sync(self) -> None:
        """Return when it will be found after a power failure: the directory, those above it, and whose it is.

        Raises:
            OSError: the disk did not take it.
        """
        written = self._written
        if written != self._synced:
            self._commit.wait()
            self._synced = written

    def flush(self) -> None:
        """As `sync`, but it waits for no other thread.

        Raises:
            OSError: the disk did not take it.
        """
        if self._written != self._synced:
            self._commit.flush()
            self._synced = self._written

    def intact(self) -> bool:
        """Whether the directory and its lock are still there, and still held."""
        return self._is_there() and self._descriptor.intact()

    def _is_there(self) -> bool:
        return disk.is_at(self.path / OWNER, self._descriptor.identity)

    def names(self) -> list[str]:
        """What is in it, sorted, but for its lock and for segments that are not finished.

        One without rows is removed. One with rows was being written anew, in place of a file that somebody had removed:
        it is finished.
        """
        found = set()
        for path in self.path.iterdir():
            name = path.name
            if name.endswith(NEW) and parse_segment_name(name.removesuffix(NEW)):
                name = self._finish(path)
            found.add(name)
        return sorted(found - {OWNER, ""})

    def _finish(self, path: Path) -> str:
        """The name from now on of a segment that was not finished; empty where it goes, or is another's to finish."""
        try:
            with making_locks():
                segment = self._opened = Segment.lock(path)
            segment.load()
        except BlockingIOError:
            return ""  # somebody is about to
        except NotASegmentError:
            try:
                disk.remove(path)
            except FileNotFoundError:
                pass
            except OSError:
                return path.name  # a directory, which is set aside like whatever else is not ours
            return ""
        try:
            if not segment.live and not segment.damaged:
                segment.delete()
                return ""
            finished = path.with_name(path.name.removesuffix(NEW))
            if os.path.lexists(finished):
                return path.name
            segment.move(finished)
            return finished.name
        finally:
            with making_locks():
                segment.close()
                self._opened = None

    def set_aside(self, name: str, problem: str) -> None:
        """Move a file to where a person finds it.

        Raises:
            UntrustedError: the place is not to be trusted.
            OSError: it cannot be moved.
        """
        target = self._place_aside(name)
        disk.rename(self.path / name, target)
        note("outbox_set_aside", "A file of the outbox was set aside as %s: %s", target, problem)

    def set_rows_aside(self, name: str, rows: Sequence[tuple[bytes, int]], problem: str) -> None:
        """Keep rows of a file, in a segment of their own, where a person finds them.

        Args:
            name: the file's.
            rows: their payloads, and how often each was tried again.
            problem: what was expected and what was got.

        Raises:
            UntrustedError: the place is not to be trusted.
            OSError: it cannot be written to.
        """
        target = self._place_aside(name)
        size = HEADER_BYTES + sum(row_bytes(len(payload)) for payload, _ in rows)
        segment = Segment.create(target, size, 0)
        try:
            for payload, tries in rows:
                segment.count_tries(cast("int", segment.append(payload)), tries)
            segment.sync()  # the rows are settled where they were
        finally:
            segment.close()
        note("outbox_rows_set_aside", "%d records of the outbox were set aside as %s: %s", len(rows), target, problem)

    def _place_aside(self, name: str) -> Path:
        directory = self.path.parent / SET_ASIDE
        with suppress(FileExistsError):
            disk.make_directory(directory)
            disk.flush_directory(directory.parent)
        check_directory(directory)
        target = directory / f"{self.path.name}.{name}"
        number = 0
        while os.path.lexists(target):
            number += 1
            target = directory / f"{self.path.name}.{name}.{number}"
        return target

    def remove(self) -> None:
        """Remove the directory, once no segment is in it; what is not ours is set aside.

        Raises:
            OSError: it cannot be removed.
        """
        for name in self.names():
            self.set_aside(name, "expected nothing but segments in an outbox's directory")
        if self._is_there():
            disk.remove(self.path / OWNER)
        disk.remove_directory(self.path)
        with suppress(OSError):  # others are there, or something was set aside
            disk.remove_directory(self.path.parent)

    def release(self) -> None:
        """Give the lock up. Never raises."""
        self._commit.close()

    def abandon(self) -> None:
        """Give it up in a forked child, whose parent goes on with it. Never raises."""
        if self._opened is not None:
            self._opened.abandon()
        self._commit.abandon()


def _lock(path: Path, flags: int = 0) -> Box | None:
    try:
        descriptor = disk.create(path / OWNER, flags | os.O_NONBLOCK)
    except (FileNotFoundError, FileExistsError):
        return None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:  # a symbolic link, a directory, a socket
            raise UntrustedError(f"expected a file, got something else: {path / OWNER}") from error
        raise
    try:
        check_file(path / OWNER, descriptor)
        lock_file(descriptor)
        box = Box(path, descriptor)
        if box.intact():
            return box
        # Who held the lock before has removed it.
    except BlockingIOError:
        pass
    except BaseException:  # Ctrl-C too; it goes on from here
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
