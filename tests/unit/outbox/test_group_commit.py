"""Rows that outlive a power failure: who waits for the disk, and for how many flushes."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import disk
from otel_kafka_exporter.outbox.descriptor import Descriptor
from otel_kafka_exporter.outbox.group_commit import GroupCommit
from otel_kafka_exporter.outbox.outbox import Outbox
from otel_kafka_exporter.outbox.segment import DONE
from otel_kafka_exporter.outbox.stream import Place, Stream
from otel_kafka_exporter.process import RLock
from tests.outboxes import AUDIT, CONFIGURATION, SECURITY, adopt, boxes, make_outbox


class SlowDisk:
    """A disk whose flushes take until they are let go, one at a time.

    Attributes:
        begun: how many flushes of files have begun, of which `let_go` ends one.
        let_go: ends one.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.flushed: list[int] = []
        patch.setattr(disk, "flush", self._flush)

    def _flush(self, descriptor: int) -> None:
        self.flushed.append(os.fstat(descriptor).st_ino)
        self.begun.release()
        assert self.let_go.acquire(timeout=30)
        os.fdatasync(descriptor)


class Writers:
    """Threads that put rows into an outbox, as log calls do."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.lock = RLock()
        self.appended = threading.Semaphore(0)

    def append(self, stream: Stream = AUDIT) -> Place:
        with self.lock:
            return self.outbox.append(stream, b"row")

    def write(self) -> None:
        self.append()
        self.appended.release()
        self.outbox.sync(self.lock)


@pytest.mark.parametrize("threads", [1, 8, 64])
def test_however_many_wait_they_share_one_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """On a slow disk, all threads whose rows come while a flush is under way are done with the one that follows."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    writers.append()
    outbox.sync(writers.lock)  # the directories
    slow = SlowDisk(monkeypatch)
    with ThreadPoolExecutor(threads + 1) as pool:
        first = pool.submit(writers.write)
        assert slow.begun.acquire(timeout=30)
        others = [pool.submit(writers.write) for _ in range(threads)]
        for _ in range(threads + 1):
            assert writers.appended.acquire(timeout=30)
        assert not any(future.done() for future in (first, *others))
        slow.let_go.release()
        first.result(30)
        assert slow.begun.acquire(timeout=30)
        # One may have come to wait only now, though its row is covered: it would be the third flush's.
        slow.let_go.release(2)
        for future in others:
            future.result(30)
    assert len(slow.flushed) in {2, 3}


def test_nothing_is_flushed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has put nothing there since the last flush does not wait for the disk."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    writers.append()
    outbox.sync(writers.lock)
    slow = SlowDisk(monkeypatch)
    outbox.sync(writers.lock)
    assert slow.flushed == []


def test_all_that_was_touched_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call has put into several files is flushed in each of them."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    slow = SlowDisk(monkeypatch)
    slow.let_go.release(30)
    for stream in (AUDIT, SECURITY, Stream("application"), Stream("audit", dead=True)):
        writers.append(stream)
    outbox.sync(writers.lock)
    names = {path.stat().st_ino: path.name.split(".0")[0].split(".5")[0] for path in boxes(tmp_path)[0].iterdir()}
    assert sorted(names[each] for each in slow.flushed) == ["application", "audit", "audit.dead", "owner", "security"]


def test_without_power_nothing_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outbox whose rows need not survive a power failure waits for no disk."""
    outbox = make_outbox(tmp_path)
    writers = Writers(outbox)
    slow = SlowDisk(monkeypatch)
    writers.write()
    assert slow.flushed == []


def test_a_disk_that_does_not_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that failed is an error for every row of that segment from then on: the kernel may have dropped them."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    writers.append()
    failing = {next(path.stat().st_ino for path in boxes(tmp_path)[0].glob("audit*"))}
    flushed = []

    def fail(descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        if number in failing:
            raise OSError(5, "Input/output error")
        flushed.append(number)

    monkeypatch.setattr(disk, "flush", fail)
    with pytest.raises(OutboxError, match="Input/output error"):
        outbox.sync(writers.lock)
    failing.clear()
    place = writers.append(SECURITY)
    with pytest.raises(OutboxError, match="Input/output error"):
        outbox.sync(writers.lock)
    assert place.segment.is_synced(place.offset)  # of another segment


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process has all that it may have."""
    gc.collect()  # the outboxes of other tests, whose files would be closed meanwhile
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    taken: list[int] = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_moment_without_descriptors(tmp_path: Path) -> None:
    """Where a new file's directory cannot be opened to be flushed that is an error, and the next flush does both."""
    dead = make_outbox(tmp_path)
    dead.append(SECURITY, b"left")
    dead.close()
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    first = writers.append()
    with no_descriptors(), ThreadPoolExecutor(4) as pool:
        for sync in [pool.submit(outbox.sync, writers.lock) for _ in range(4)]:
            with pytest.raises(OutboxError, match="Too many open files"):
                sync.result(30)
    assert not first.segment.is_synced(first.offset)
    outbox.sync(writers.lock)
    assert first.segment.is_synced(first.offset)
    assert adopt(outbox) == {SECURITY: 1}


def test_a_directory_that_has_gone_for_a_moment(tmp_path: Path) -> None:
    """A flush into a directory that somebody has removed is an error until the directory is there again."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    place = writers.append()
    shutil.rmtree(tmp_path / CONFIGURATION)
    with pytest.raises(OutboxError, match="No such file"):
        outbox.sync(writers.lock)
    outbox.check()
    outbox.sync(writers.lock)
    assert place.segment.is_synced(place.offset)


def test_a_disk_that_does_not_take_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the flush of its own directory has failed each call says so, and rows are flushed all the same."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    place = writers.append()
    owner = (boxes(tmp_path)[0] / "owner").stat().st_ino

    def fail(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == owner:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "flush", fail)
    for _ in range(2):
        with pytest.raises(OutboxError, match="Input/output error"):
            outbox.sync(writers.lock)
        assert place.segment.is_synced(place.offset)
        place = writers.append()


def test_what_goes_while_it_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that goes, or whose file is written anew, while its flush is under way makes nobody wait for ever."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    writers.append(SECURITY)
    writers.append()
    outbox.sync(writers.lock)
    slow = SlowDisk(monkeypatch)
    writers.append(SECURITY)
    writers.append()
    with ThreadPoolExecutor(3) as pool:
        syncs = [pool.submit(outbox.sync, writers.lock) for _ in range(3)]
        assert slow.begun.acquire(timeout=30)
        for path in boxes(tmp_path)[0].glob("audit*"):
            path.unlink()
        outbox.check()
        slow.let_go.release(30)
        outbox.close()
        for sync in syncs:
            sync.result(30)
    flushed = len(slow.flushed)
    outbox.sync(writers.lock)
    assert len(slow.flushed) == flushed


def test_who_interrupts_the_holder_of_the_lock_flushes_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler waits for no flush that can end only when the frame goes on that it has interrupted."""
    slow = SlowDisk(monkeypatch)
    commit = GroupCommit(Descriptor(os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)), ())
    with ThreadPoolExecutor() as threads:
        other = threads.submit(commit.wait)
        assert slow.begun.acquire(timeout=30)
        with commit._lock:
            slow.let_go.release(2)
            commit.wait()
        other.result(30)
    assert len(slow.flushed) == 2
    commit.close()


def closing(writers: Writers) -> None:
    with writers.lock:
        writers.outbox.close()


def test_who_waits_while_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shutdown does not answer those who wait for the disk, before their rows are there: be they first or next."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    writers.append()
    outbox.sync(writers.lock)
    slow = SlowDisk(monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(writers.write)
        assert slow.begun.acquire(timeout=30)
        next_one = pool.submit(writers.write)
        assert writers.appended.acquire(timeout=30)
        assert writers.appended.acquire(timeout=30)
        closer = pool.submit(closing, writers)
        assert slow.begun.acquire(timeout=30)  # another flush, which has begun behind both rows
        assert not any(future.done() for future in (first, next_one, closer))
        slow.let_go.release(3)
        for future in (first, next_one, closer):
            future.result(30)
    # Where the first is over before the one at the end, the next one does a third.
    assert len(slow.flushed) in {2, 3}


def test_who_comes_after_it_was_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has put a row there just before the end, and asks just after, has it on the disk, with whose it is."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    slow = SlowDisk(monkeypatch)
    slow.let_go.release(30)
    writers.append()
    writers.append(SECURITY)
    closing(writers)
    outbox.sync(writers.lock)
    names = {path.stat().st_ino: path.name.split(".")[0] for path in boxes(tmp_path)[0].iterdir()}
    assert sorted(names[each] for each in slow.flushed) == ["audit", "owner", "security"]


@pytest.mark.parametrize("delivered", [True, False])
def test_a_disk_that_does_not_take_it_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, delivered: bool
) -> None:
    """Where the last flush fails the one who closes it is told, and so is whoever waits; not if all was delivered."""
    outbox = make_outbox(tmp_path, power=True)
    writers = Writers(outbox)
    place = writers.append()
    if delivered:
        outbox.set_state(place, DONE)

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "flush", fail)
        with nullcontext() if delivered else pytest.raises(OutboxError, match="Input/output error"):
            closing(writers)
        with nullcontext() if delivered else pytest.raises(OutboxError, match="Input/output error"):
            outbox.sync(writers.lock)
    assert adopt(make_outbox(tmp_path)) == ({} if delivered else {AUDIT: 1})


def test_what_was_superseded_is_settled_at_the_end(tmp_path: Path) -> None:
    """A row in whose place there is another one is not there twice because the process ended before the next flush."""
    outbox = make_outbox(tmp_path, power=True)
    before = outbox.append(AUDIT, b"row")
    outbox.supersede(before, outbox.front(AUDIT).append(b"row"))
    outbox.close()
    assert adopt(make_outbox(tmp_path)) == {AUDIT: 1}
