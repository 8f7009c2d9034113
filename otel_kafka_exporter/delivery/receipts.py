"""Receipts: who waits for an event's delivery, and what delivery tells them.

An event carries its ID from the call that emits it to the report of the broker, through whichever processor; so a
waiter and delivery need nothing but that ID in common.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

from otel_kafka_exporter.errors import DeliveryError, DeliveryTimeout, NoPipelineError
from otel_kafka_exporter.process import DeliveryOutcome, Flag, RLock, call_in_child, running_loop


class Receipt(NamedTuple):
    """Where a broker has put an event; all in-sync replicas have it.

    Attributes:
        event_id: the envelope's.
        topic: the topic.
        partition: its partition.
        offset: its place in that.
        timestamp: Kafka's, in Unix milliseconds.
    """

    event_id: str
    topic: str
    partition: int
    offset: int
    timestamp: int


#: What becomes of an event that somebody waits for.
Result = Receipt | DeliveryError | DeliveryTimeout


class Waiter:
    """Waits for one event, from before it is emitted.

    Attributes:
        spooled: whether the event is in an outbox.
    """

    spooled = False

    def settle(self, outcome: Result) -> None:
        """Called in whichever thread serves the broker's report, once."""
        raise NotImplementedError


class ThreadWaiter(Waiter):
    """A thread that waits, and does nothing else."""

    def __init__(self) -> None:
        self._settled = Flag()
        self._outcome: Result | None = None

    def settle(self, outcome: Result) -> None:
        self._outcome = outcome
        self._settled.set()

    def outcome(self, seconds: float) -> Result | None:
        """What has become of the event; None when nothing has in time."""
        return self._outcome if self._settled.wait(seconds) else None


class TaskWaiter(Waiter):
    """A task that awaits, while others of its event loop go on."""

    def __init__(self) -> None:
        self._loop = running_loop()
        self._future: asyncio.Future[Result] = self._loop.create_future()

    def settle(self, outcome: Result) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody awaits anything any more
            self._loop.call_soon_threadsafe(self._resolve, outcome)

    def _resolve(self, outcome: Result) -> None:
        if not self._future.done():
            self._future.set_result(outcome)

    async def outcome(self, seconds: float) -> Result | None:
        """As a thread's."""
        await asyncio.wait([self._future], timeout=max(0.0, seconds))
        return self._future.result() if self._future.done() else None


#: By event ID; several where a caller tries again before it is answered. Delivery looks here only when there are any.
waiting: dict[str, tuple[Waiter, ...]] = {}
#: How many exporters have failed to deliver an event that is waited for.
_failures: dict[str, int] = {}
#: The exporters of this process that deliver, each with what tells why it does not, as far as that is known.
_pipelines: weakref.WeakKeyDictionary[object, Callable[[], str]] = weakref.WeakKeyDictionary()
_was_open = False
_lock = RLock()  # a signal handler may log while its own thread is in here


def _after_fork() -> None:
    """Whom the parent's threads wait for is nothing to a child, and one of them may have held the lock."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = RLock()
    waiting.clear()
    _failures.clear()


def pipeline_opened(pipeline: object, trouble: Callable[[], str]) -> None:
    """An exporter that delivers is there.

    Args:
        pipeline: it.
        trouble: tells what keeps it from delivering at present, to be put behind a sentence; or nothing.
    """
    global _was_open  # noqa: PLW0603 - one per process
    _was_open = True
    _pipelines[pipeline] = trouble


def pipeline_closed(pipeline: object) -> None:
    """It is shut down."""
    _pipelines.pop(pipeline, None)


def is_pipeline_open() -> bool:
    """Whether anything in this process delivers to Kafka."""
    return bool(_pipelines)


_AnyWaiter = TypeVar("_AnyWaiter", bound=Waiter)


@contextmanager
def expected(event_id: str, waiter: _AnyWaiter) -> Iterator[_AnyWaiter]:
    """Wait for an event that is emitted within.

    Raises:
        NoPipelineError: nothing in this process delivers to Kafka.
    """
    if not _pipelines:
        if _was_open:
            found = "one that is shut down. Emit before that"
        else:
            found = "none. Start it by opentelemetry-instrument with OTEL_LOGS_EXPORTER=onex_kafka"
            found += ", add one to the LoggerProvider"
        expectation = "a KafkaLogExporter or KafkaLogRecordProcessor in this process"
        raise NoPipelineError(f"wait: expected {expectation}, got {found}, or do not wait.")
    with _lock:
        waiting[event_id] = (*waiting.get(event_id, ()), waiter)
    try:
        yield waiter
    finally:
        _forget(event_id, waiter)


def receipt_of(event_id: str, waiter: Waiter, outcome: Result | None, seconds: float) -> Receipt:
    """The receipt.

    Raises:
        DeliveryTimeout: there is none in time; the event is still accounted for.
        DeliveryError: there will be none.
    """
    if isinstance(outcome, Receipt):
        return outcome
    if outcome is not None:
        raise outcome
    where = (
        "It is in the outbox, and is delivered later"
        if waiter.spooled
        else "It is not on disk: it is on its way yet, and counted whatever becomes of it"
    )
    troubles = "".join(dict.fromkeys(trouble() for trouble in list(_pipelines.values())))
    problem = f" within {seconds:g} s, got none yet{troubles}. {where}."
    raise DeliveryTimeout(event_id, problem, spooled=waiter.spooled)


def spooled(event_id: str, *, still: bool = True) -> None:
    """An exporter has the event in its outbox; or no longer, without having delivered it."""
    for waiter in waiting.get(event_id, ()):
        waiter.spooled = still


def delivered(receipt: Receipt) -> None:
    """A broker has the event."""
    _settle(receipt.event_id, receipt)


def failed(event_id: str, outcome: DeliveryOutcome, reason: str) -> None:
    """One exporter has dropped or dead-lettered the event; where there are several, another one may deliver it yet."""
    if event_id not in waiting:
        return
    _failures[event_id] = _failures.get(event_id, 0) + 1
    if _failures[event_id] >= len(_pipelines):
        _settle(event_id, DeliveryError(event_id, outcome, reason))


def _forget(event_id: str, waiter: Waiter) -> None:
    """It waits for the event no more."""
    with _lock:
        others = tuple(each for each in waiting.get(event_id, ()) if each is not waiter)
        if others:
            waiting[event_id] = others
        else:
            waiting.pop(event_id, None)
            _failures.pop(event_id, None)


def postponed(event_id: str) -> None:
    """The event will be delivered when that goes on which its own thread was interrupted in: waiting is in vain."""
    if event_id in waiting:
        problem = ", got none: it was emitted within a log call of the same thread, or a delivery, and follows that."
        _settle(event_id, DeliveryTimeout(event_id, problem, spooled=False))


def _settle(event_id: str, outcome: Result) -> None:
    for waiter in waiting.get(event_id, ()):
        waiter.settle(outcome)


call_in_child(_after_fork)
