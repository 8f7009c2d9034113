"""The disk, for tasks of event loops: a thread waits for it, so that no loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from otel_kafka_exporter.process import OsThread, RLock, after_fork_in_child, log


class Disk:
    """Has the outbox written to the disk, by one thread at a time, for as many tasks as there are.

    Those that come while it is at it share its next turn.

    Args:
        sync: returns when what was handed over by now is on the disk; whether it is.
    """

    def __init__(self, sync: Callable[[], bool]) -> None:
        self._sync = sync
        self._begin()
        after_fork_in_child(self._begin)

    def _begin(self) -> None:
        """Nobody waits yet, in this process."""
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._awaited: list[Future[bool]] = []
        self._is_at_it = False

    async def has_all(self, seconds: float) -> bool:
        """Whether the disk has what was handed over by now, as far as is known within so many seconds."""
        future: Future[bool] = Future()
        with self._lock:
            self._awaited.append(future)
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
        while awaited := self._next():
            try:
                is_there = self._sync()
            except Exception as error:  # noqa: BLE001 - without this thread nobody would be told any more
                log.exception("an event is not known to be on the disk, by a fault of ours: %s", error)
                is_there = False
            for future in awaited:
                if future.set_running_or_notify_cancel():  # else its task was cancelled, or waits no longer
                    future.set_result(is_there)

    def _next(self) -> list[Future[bool]]:
        with self._lock:
            awaited, self._awaited = self._awaited, []
            self._is_at_it = bool(awaited)
            return awaited
