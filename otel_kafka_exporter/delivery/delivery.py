"""Records handed over, and what becomes of them: the way in, and the thread that sees to the rest.

A record's way: it is built; if its category is durable it is written to the outbox; it is given to librdkafka; its
report, served by the background thread or by a caller that waits, takes it to its outcome. Where anything is in the
way, it waits in the outbox, behind what is there already. What has failed, and what waits, is `recovery`'s.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from types import FrameType
from typing import Any

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.outbox import OnLoss, Outbox
from otel_kafka_exporter.process import (
    DeliveryStats,
    Metrics,
    OutboxUsage,
    after_fork_in_child,
    in_own_thread,
    locked,
    monotonic,
    notice_fork,
    tell,
)
from otel_kafka_exporter.records import Category

from .background import Background
from .building import Builder, Source
from .closing import Closing
from .entry import Batch, Entry
from .intake import Intake
from .lateness import Lateness
from .losses import Losses
from .maintenance import Maintenance
from .recovery import Recovery
from .retreat import SLICE_SECONDS, Retreat
from .sending import Sending
from .state import DeliveryState
from .waiting import Waiting

#: Who logs without a pause serves reports in one call of so many, when more than so many records are open: the
#: interpreter is given to one report at a time, so that the background thread alone would never catch up.
_SELDOM, _LET_BE = 128, 512
_OFTEN, _MANY = 8, 4096
#: Records of a batch that are built, and then handed over under one lock.
_CHUNK = 64


class Delivery:
    """Delivers records, and accounts for each.

    Args:
        producer: takes them to Kafka.
        metrics: told of what happens.
        delivery_wait: seconds after which a record without its acknowledgement is overdue; a batch waits for so long.
        partition_of: tells a key's partition, given how many there are; None where nothing does.
        full_queue_wait: seconds that a single record waits for room in the local queue.
        batch_queue_wait: seconds that one of a batch does; what is left of `delivery_wait` unless given.
        outbox: makes the outbox of a process, given what is to be told of losses; None for none.
        durable: the categories whose records are in the outbox before they are on their way.
        on_round: called in whichever thread has served reports, with no lock held.
    """

    def __init__(
        self,
        producer: KafkaProducer,
        metrics: Metrics,
        *,
        delivery_wait: float = 2.0,
        partition_of: Callable[[bytes, int], int] | None = None,
        full_queue_wait: float = 0.05,
        batch_queue_wait: float = math.inf,
        outbox: Callable[[OnLoss], Outbox] | None = None,
        durable: Collection[Category] = (),
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._producer = producer
        self._metrics = metrics
        self._delivery_wait = delivery_wait
        self._partition_of = partition_of
        self._full_queue_wait = full_queue_wait
        self._batch_queue_wait = batch_queue_wait
        self._make_outbox = outbox
        self._durable = durable
        self._on_round = on_round
        self._begin(self._new_state())
        after_fork_in_child(self._after_fork)
        metrics.observe(self)

    def _new_state(self) -> DeliveryState:
        return DeliveryState(self._make_outbox, self._durable, self._partition_of, self._producer.reports)

    def _after_fork(self) -> None:
        """A child starts from nothing: what its parent has in hand is its parent's."""
        parents, state = self._state, self._new_state()
        state.closed = parents.closed
        if parents.outbox is not None:
            parents.outbox.abandon()
        # A handler that forks goes back into the call that it has interrupted, here too: that call sends nothing.
        parents.closed, parents.outbox = True, None
        self._sending.end()
        self._begin(state)

    def _begin(self, state: DeliveryState) -> None:
        self._state = state
        self._sending = sending = Sending(state, self._producer)
        retreat = Retreat(state, self._producer)
        lateness = Lateness(state, self._producer, self._delivery_wait)
        self._recovery = Recovery(state, self._producer, sending, retreat, lateness, self._delivery_wait)
        self._maintenance = Maintenance(state, self._producer)
        self._background = Background(
            *(state, self._recovery, self._maintenance, self._producer),
            *(self._on_round, self._look_after, self._at_worker_exit),
        )
        self._waiting = Waiting(
            *(state, self._producer, self._recovery, lateness, self._background, self._delivery_wait, self._look_after),
            has_outbox=self._make_outbox is not None,
        )
        self._intake = Intake(state, self._producer, sending)
        self._losses = Losses(state, self._producer)
        self._calls = 0
        self._usage: OutboxUsage | None = None
        self._closing = Closing(
            *(state, self._producer, self._recovery, retreat, self._background, self._intake, self._waiting),
            self._maintenance,
            self._look_after,
            self._losses.tell_rest,
            lambda: self.stats().in_flight,
        )

    def stats(self) -> DeliveryStats:
        """How many records are in which state."""
        notice_fork()
        # Where others keep the lock, one that is being moved may be in neither place.
        return locked(self._state.lock, self._stats, self._stats)

    def _stats(self) -> DeliveryStats:
        return self._state.ledger.stats(len(self._intake.deferred))

    def trouble(self) -> str:
        """What keeps it from delivering at present, as far as is known, to be put behind a sentence; or nothing."""
        return self._producer.trouble.cause(self._state.acknowledged)

    def outbox_usage(self) -> OutboxUsage | None:
        """What the outbox holds; None without one. Where others keep the lock, what was found last."""
        self._usage = locked(self._state.lock, self._present_usage, lambda: self._usage)
        return self._usage

    def _present_usage(self) -> OutboxUsage | None:
        if self._state.outbox is None:
            return None
        usage = self._state.outbox.usage()
        return OutboxUsage(usage.bytes, sum(usage.waiting.values()), usage.oldest or 0, self._state.stranded)

    # The way in

    def hand_over(self, source: Source, builder: Builder[Source], batch: Batch | None = None) -> None:
        """Take one record, and return without waiting for its outcome, at most `full_queue_wait` later.

        With `durability=power` that waits for the disk, too.

        Args:
            source: what it is made of.
            builder: makes it.
            batch: is told of its outcome.
        """
        self.put(source, builder, batch)
        if self._state.needs_disk:
            self._state.sync()

    def put(self, source: Source, builder: Builder[Source], batch: Batch | None = None) -> None:
        """As `hand_over`, but for the disk: `sync` is due."""
        notice_fork()
        try:
            # With an outbox, a record that cannot be framed yet waits there, and not its caller.
            wait_until = monotonic() + self._full_queue_wait if self._make_outbox is None else 0.0
            self._intake.take_one(source, builder, batch, wait_until, self._full_queue_wait)
        finally:
            self._background.notice()
        self._calls += 1
        if not self._calls % _OFTEN and not self._state.is_interrupted():
            open_ = self._state.with_client()
            if open_ > _MANY or (open_ > _LET_BE and not self._calls % _SELDOM):
                self._background.stand_back()
                self._producer.poll(0)
        if self._state.closed:
            self._losses.tell()

    def begin(self, source: Source, builder: Builder[Source], batch: Batch) -> tuple[Entry | None, bool]:
        """Take one record for a caller that is told of its outcome, and wait for nothing, not for the disk either.

        Call `hurry` when the last of several has been handed over. One that is kept is on the disk after a `sync` only.

        Returns:
            Its entry, unless it is at rest at once, or somewhere in between; and whether there was room for it: else
            call `try_again` until that says yes, or `give_up`.
        """
        notice_fork()
        entry, room = self._intake.offer(source, builder, batch)
        if room:
            self._background.await_hurry()
        return entry, room

    def hold(self, source: Source, builder: Builder[Source], batch: Batch) -> Entry | None:
        """Take one record as `begin` does, where others wait for room: it is not sent before `try_again` says so."""
        notice_fork()
        return self._intake.hold(source, builder, batch)

    def try_again(self, entry: Entry) -> bool:
        """Send an entry for which there was no room; whether it has its place now."""
        return self._intake.try_again(entry)

    def is_interrupted(self) -> bool:
        """Whether this is a signal handler or a finalizer, within a call of this thread's: nothing is sent before that
        goes on.
        """
        return self._intake.must_defer()

    def give_up(self, entry: Entry) -> None:
        """Do without room: an entry waits in the outbox, or is dropped."""
        self._intake.give_up(entry)

    @property
    def needs_disk(self) -> bool:
        """Whether what is kept is to survive a power failure, so that whoever tells of that calls `sync` first."""
        return self._state.needs_disk

    def sync(self) -> bool:
        """With `durability=power`, return when what is kept by now is on the disk; whether it is."""
        return self._state.sync()

    def hurry(self) -> None:
        """Somebody waits for what was handed over: have it sent without lingering."""
        self._background.hurry()

    def reachable(self, seconds: float) -> str | None:
        """None when the cluster answers within so many seconds, else why it does not. Warms the producer."""
        if self._producer.reachable("", seconds):
            return None
        return self._producer.trouble.text or "no answer"

    def deliver(self, sources: Sequence[Source], builder: Builder[Source]) -> bool:
        """Deliver records; returns when each has its outcome, about `delivery_wait` later at most.

        Args:
            sources: what the records are made of.
            builder: makes one.

        Returns:
            Whether every record was delivered or is kept. One that is neither yet is still accounted for.
        """
        notice_fork()
        started = monotonic()
        deadline = started + self._delivery_wait
        batch = Batch()
        try:
            self._background.stand_back()
            rest_of_them = iter(sources)
            while batch.taken < len(sources) and (chunk := tuple(islice(rest_of_them, _CHUNK))):
                room_by = min(deadline, monotonic() + self._batch_queue_wait)
                self._intake.take(chunk, builder, batch, room_by, deadline)
                self._background.notice()
            self._state.lock.bounded(self._waiting.wait, batch, deadline)
        finally:
            self._background.come_back()
            # Only after Ctrl-C in a thread of the application's that logs. Those on their way stay so.
            if rest := len(sources) - batch.taken:
                self._intake.count_lost("interrupted", rest)
        self._state.sync()
        self._metrics.exported(monotonic() - started)
        self._state.lock.bounded(self._look_after)
        return not batch.failed and not batch.open

    # The wait for outcomes

    def _look_after(self) -> None:
        """Do what could not be done in the middle of something else, and say what there is to say."""
        if self._intake.has_deferred and not self._state.is_interrupted():
            self._intake.start_deferred()
        self._on_round()
        tell()
        self._losses.tell()

    def flush(self, seconds: float) -> bool:
        """Wait until nothing is in flight, at most for so long; whether that came about."""
        notice_fork()
        started = monotonic()
        while locked(self._state.lock, self._open, lambda: 1):
            if (left := started + seconds - monotonic()) <= 0 or self._is_to_go_on():
                return False
            self._state.lock.bounded(self._waiting.serve, left, started)
        return True

    def _is_to_go_on(self) -> bool:
        """Whether this is a signal handler or a finalizer, and what is waited for goes on only when it is over."""
        return self._state.is_interrupted() or in_own_thread()

    def _open(self) -> int:
        """How many records have no outcome. Expects the lock to be held, without which one may be in neither place."""
        return self._state.ledger.in_flight + len(self._intake.deferred)

    def _at_worker_exit(self) -> None:
        self.flush(self._delivery_wait)

    def drain(self, seconds: float) -> bool:
        """Deliver what waits in the outbox, that of dead processes too, for at most so long; whether none is left."""
        deadline = monotonic() + seconds
        self._producer.reachable("", seconds)  # by which it tells what was left for it
        while True:
            self._maintenance.adopt()
            if self._is_empty():
                return True
            self._background.notice()
            while not self._is_empty():  # then what there was no room for is adopted
                if (left := deadline - monotonic()) <= 0:
                    return False
                self._state.attention.wait(min(left, SLICE_SECONDS))

    def _is_empty(self) -> bool:
        stats = self.stats()
        return not stats.spooled + stats.in_flight

    def close(self, seconds: float) -> None:
        """Take no more records; wait for those on their way for at most so many seconds, and keep the rest.

        From a signal handler that has interrupted a call that hands over a record it returns at once, and is done when
        that call is over; the process's exit waits for it.
        """
        notice_fork()
        self._closing.close(seconds, self._interrupted())

    def _interrupted(self) -> FrameType | None:
        """The call of this thread's that hands over a record, and that a signal handler has interrupted, if any."""
        frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented, in spite of its name
        while frame is not None:
            if frame.f_code in _HAND_OVER and frame.f_locals.get("self") is self and _hands_over(frame.f_locals):
                return frame
            frame = frame.f_back
        return None


#: The code of what hands records over.
_HAND_OVER = tuple(
    method.__code__
    for method in (
        *(Delivery.hand_over, Delivery.put, Delivery.begin, Delivery.hold, Delivery.try_again),
        *(Delivery.give_up, Delivery.deliver),
    )
)


def _hands_over(variables: Mapping[str, Any]) -> bool:
    """Whether such a call is still at it: one for several records may be waiting for their outcomes by now."""
    if "sources" not in variables:
        return True
    return "batch" not in variables or variables["batch"].taken < len(variables["sources"])
