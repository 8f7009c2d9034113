"""The disk, for tasks of event loops: a thread waits for it, so that no loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from otel_kafka_exporter.process import OsThread, RLock, after_fork_in_child, log
from otel_kafka_exporter.records import WholeLogRecord


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
        self._worker: OsThread | None = None

    def take(self) -> Future[bool]:
        """Have what was handed over by now written to the disk; whether it is there, in time."""
        future: Future[bool] = Future()
        try:
            with self._lock:
                self._awaited.append(future)
                # A signal handler may have raised before an earlier one was begun.
                if self._worker is None or not self._worker.is_begun:
                    self._worker = OsThread(self._work)
                    self._worker.start()
        except RuntimeError:  # the interpreter is about to end
            self._work()
        return future

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
            if not awaited:
                self._worker = None
            return awaited


async def are_there(taken: Sequence[Future[bool]], seconds: float) -> bool:
    """Whether disks have what they took, as far as is known within so many seconds."""
    awaited = [asyncio.wrap_future(each) for each in taken if not each.done()]
    try:
        if awaited and seconds > 0:
            await asyncio.wait(awaited, timeout=seconds)
        return all(each.done() and each.result() for each in taken)
    finally:
        for each in awaited:
            each.cancel()  # so that nobody is told when its loop is closed


class TaskLogRecord(WholeLogRecord):
    """A log record of a task of an event loop: the call that emits it does not wait for the disk, its task does.

    Args:
        taken: is added to by each disk that takes it meanwhile, as of `Disk.take`.
        decisive: as of `WholeLogRecord`, like all the rest.
        attributes: as there.
        **fields: as there.

    Attributes:
        taken: as above.
    """

    def __init__(
        self, taken: list[Future[bool]], decisive: Mapping[str, Any], attributes: Mapping[str, Any], **fields: Any
    ) -> None:
        super().__init__(decisive, attributes, **fields)
        self.taken = taken
