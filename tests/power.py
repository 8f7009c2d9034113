"""What a power failure leaves: the outbox's calls to the disk are recorded, and only what they flushed is sure."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_kafka_exporter.outbox import disk

BLOCK = 4096


class PowerFailureError(BaseException):
    """The power fails, within a call to the disk."""


@dataclass
class Change:
    """A name that came, went, or changed.

    Attributes:
        before: it; None where it came.
        after: what it is now; None where it went.
        inode: the file; None for a directory.
        flushed: whether the directory was flushed that it is in; in which it was, where it went.
    """

    before: Path | None
    after: Path | None
    inode: int | None
    flushed: bool = False


#: What is on a disk, by path; directories are None.
Left = dict[Path, bytes | None]
#: Whether a change is there that was not flushed, or, of None, a block.
Choice = Callable[[Change | None], bool]


class RecordedDisk:
    """A disk below a directory, with what was flushed of it. It is the real one, and its calls are passed on.

    Args:
        root: the directory, which is there for good.
        patch: puts it below the outbox.
        fails_at: the power fails before the call of this number; never, unless given.
        choose: whether what was not flushed is there, then.

    Attributes:
        left: what a power failure has left, by path; directories are None.
        before_each_call: called before each call to the disk.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, fails_at: int, choose: Choice) -> None:
        self.root = root
        self.left: Left | None = None
        self.before_each_call: Callable[[], None] = lambda: None
        self._fails_at = fails_at
        self._choose = choose
        self._calls = 0
        self._changes: list[Change] = []
        self._flushed: dict[int, bytes] = {}
        self._open: dict[int, int] = {}  # a descriptor of each file, which keeps what is in it
        for record in (self.create, self.make_directory, self.rename, self.remove, self.remove_directory):
            patch.setattr(disk, record.__name__, record)
        patch.setattr(disk, "flush", self.flush)
        patch.setattr(disk, "flush_directory", self.flush_directory)

    def close(self) -> None:
        """Forget it all, but for what was left."""
        for descriptor in self._open.values():
            os.close(descriptor)

    def _call(self) -> None:
        self.before_each_call()
        self._calls += 1
        if self.left is None and self._calls == self._fails_at:
            self.fail()
            raise PowerFailureError

    def create(self, path: Path, flags: int) -> int:
        self._call()
        is_new = not os.path.lexists(path)
        descriptor = _create(path, flags)
        if is_new:
            inode = os.fstat(descriptor).st_ino
            self._open[inode] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._changes.append(Change(None, path, inode))
        return descriptor

    def make_directory(self, path: Path) -> None:
        self._call()
        _make_directory(path)
        self._changes.append(Change(None, path, None))

    def rename(self, path: Path, target: Path) -> None:
        self._call()
        inode = None if path.is_dir() else path.lstat().st_ino
        _rename(path, target)
        self._changes.append(Change(path, target, inode))

    def remove(self, path: Path) -> None:
        self._call()
        inode = path.lstat().st_ino
        _remove(path)
        self._changes.append(Change(path, None, inode))

    def remove_directory(self, path: Path) -> None:
        self._call()
        _remove_directory(path)
        self._changes.append(Change(path, None, None))

    def flush(self, descriptor: int) -> None:
        self._call()
        self._flushed[os.fstat(descriptor).st_ino] = _content(descriptor)

    def flush_directory(self, path: Path) -> None:
        self._call()
        for change in self._changes:
            if path == (change.after or change.before or self.root).parent:
                change.flushed = True

    def fail(self) -> None:
        """The power fails, unless it has already."""
        if self.left is None:
            self.left = self.leave()

    def leave(self) -> Left:
        """What a power failure would leave just now, as `left` has it."""
        return {path: None if inode is None else self._leave(inode) for path, inode in self._names().items()}

    def _names(self) -> dict[Path, int | None]:
        """What was not flushed is there or not, in the order in which it came; a name never without its directory."""
        names: dict[Path, int | None] = {self.root: None}
        for change in self._changes:
            if not change.flushed and not self._choose(change):
                continue
            before, after = change.before, change.after
            if before is not None:
                if change.inode is None and after is None and any(path.parent == before for path in names):
                    continue  # a directory that is not empty
                if change.flushed or names.get(before, -1) == change.inode:
                    if after is not None and not change.flushed and after.parent not in names:
                        continue
                    if names.get(before, -1) == change.inode:
                        del names[before]
                else:
                    continue
            if after is not None and after.parent in names:
                names[after] = change.inode
        return names

    def _leave(self, inode: int) -> bytes:
        """Each block is as it was at the last flush, or as it is now; zeros where there was none."""
        now, flushed = _content(self._open[inode]), self._flushed.get(inode, b"")
        if not flushed and self._choose(None):
            return b""
        flushed = flushed.ljust(len(now), b"\0")
        blocks = range(0, len(now), BLOCK)
        return b"".join((now if self._choose(None) else flushed)[at : at + BLOCK] for at in blocks)

    def restore(self, left: Left, root: Path) -> None:
        """Write what was left to another directory."""
        for path, content in sorted(left.items()):
            copy = root / path.relative_to(self.root)
            if content is None:
                copy.mkdir(0o700, exist_ok=True)
            else:
                copy.write_bytes(content)
                copy.chmod(0o600)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


_create, _make_directory, _rename = disk.create, disk.make_directory, disk.rename
_remove, _remove_directory = disk.remove, disk.remove_directory
