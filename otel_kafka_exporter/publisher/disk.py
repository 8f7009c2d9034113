"""The disk, for tasks of event loops: a thread waits for it, so that no loop does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from otel_kafka_exporter.delivery import Entry
from otel_kafka_exporter.process import OsThread, RLock, after_fork_in_child, log


class Disk:
    """Has rows of the outbox written to the disk, by one thread at a time, for as many tasks as there are.

    Args:
        sync: returns whether an entry's row is on the disk, when that is known.
    """

    def __init__(self, sync: Callable[[Entry], bool]) -> None:
        self._sync = sync
        self._begin()
        after_fork_in_child(self._begin)

    def _begin(self) -> None:
        """Nobody waits yet, in this process."""
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._awaited: deque[tuple[Entry, Future[bool]]] = deque()
        self._is_at_it = False

    async def has(self, entry: Entry, seconds: float) -> bool:
        """Whether the disk has an entry's row, as far as is known within so many seconds."""
        future: Future[bool] = Future()
        with self._lock:
            self._awaited.append((entry, future))
            begins, self._is_at_it = not self._is_at_it, True
        if begins:
            try:
                OsThread(self._work).start()
            except RuntimeError:  # the interpreter is about to end
                self._work()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), max(0.0, seconds))
        except asyncio.TimeoutError:
            return False

    def _work(self) -> None:
        while (awaited := self._next()) is not None:
            entry, future = awaited
            try:
                is_there = self._sync(entry)
            except Exception as error:  # noqa: BLE001 - without this thread nobody would be told any more
                log.exception("an event is not known to be on the disk, by a fault of ours: %s", error)
                is_there = False
            if future.set_running_or_notify_cancel():  # else its task was cancelled, or waits no longer
                future.set_result(is_there)

    def _next(self) -> tuple[Entry, Future[bool]] | None:
        with self._lock:
            self._is_at_it = bool(self._awaited)
            return self._awaited.popleft() if self._awaited else None
