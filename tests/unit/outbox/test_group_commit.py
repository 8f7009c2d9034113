"""Rows that outlive a power failure: who waits for the disk, and for how many flushes."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otel_kafka_exporter.errors import OutboxError
from tests.outboxes import (
    AUDIT,
    SECURITY,
    boxes,
    make_outbox,
    waiting,
)


def test_threads_share_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of threads that wait at the same time are flushed together, and each is flushed after it was written."""
    outbox = make_outbox(tmp_path, 1 << 24)
    lock = threading.Lock()
    flushed: list[list[bytes]] = []
    let_go = threading.Semaphore(0)

    def flush(_descriptor: int) -> None:
        with lock:
            flushed.append(waiting(outbox, AUDIT))
        assert let_go.acquire(timeout=30)

    monkeypatch.setattr("otel_kafka_exporter.outbox.group_commit._flush", flush)
    done: list[bytes] = []

    def work(worker: int) -> None:
        for n in range(20):
            row = b"%d-%d" % (worker, n)
            with lock:
                place = outbox.append(AUDIT, row)
            outbox.sync(place)
            assert any(row in rows for rows in flushed)
            done.append(row)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, worker) for worker in range(8)]
        while not all(future.done() for future in running):
            let_go.release()
            threading.Event().wait(0.001)
    for future in running:
        future.result()
    assert len(done) == 160
    assert len(flushed) < 80


def test_a_disk_that_does_not_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that failed is an error for every row of that segment from then on: the kernel may have dropped them."""
    outbox = make_outbox(tmp_path)
    place = outbox.append(AUDIT, b"row")

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("otel_kafka_exporter.outbox.group_commit._flush", fail)
        with pytest.raises(OutboxError, match="Input/output error"):
            outbox.sync(place)
    with pytest.raises(OutboxError, match="Input/output error"):
        outbox.sync(place)
    outbox.sync(outbox.append(SECURITY, b"of another segment"))


def test_what_goes_while_it_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that goes, or whose file is written anew, while its flush is under way makes nobody wait for ever."""
    outbox = make_outbox(tmp_path)
    flushing, let_go = threading.Event(), threading.Event()
    flushed = []

    def flush(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        flushing.set()
        assert let_go.wait(30)
        os.fdatasync(descriptor)

    monkeypatch.setattr("otel_kafka_exporter.outbox.group_commit._flush", flush)
    gone = outbox.append(SECURITY, b"row")
    place = outbox.append(AUDIT, b"row")
    with ThreadPoolExecutor(3) as pool:
        syncs = [pool.submit(outbox.sync, where) for where in (place, gone, place)]
        assert flushing.wait(30)
        for path in boxes(tmp_path)[0].glob("audit*"):
            path.unlink()
        outbox.check()
        outbox.close()
        let_go.set()
        for sync in syncs:
            sync.result(30)
    assert outbox.sync(gone) is None  # type: ignore[func-returns-value]
    assert len(flushed) <= 3
