"""Records handed over, and what becomes of them: the way in, and the thread that sees to the rest.

A record's way: it is built; if its category is durable it is written to the outbox; it is given to librdkafka; its
report, served by the background thread or by a caller that waits, takes it to its outcome. Where anything is in the
way, it waits in the outbox, behind what is there already. What has failed, and what waits, is `recovery`'s.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from .background import Background
from .entry import Batch, Entry
from .envelope import Category
from .errors import ConversionError
from .forks import after_fork_in_child
from .kafka_record import KafkaRecord
from .lane import Lane
from .outbox import OnLoss, Outbox
from .outcome import DeliveryStats, OutboxUsage
from .producer import KafkaProducer
from .recovery import SHUTDOWN, SLICE_SECONDS, Recovery
from .rows import encode_row
from .state import DeliveryState
from .telemetry import Metrics, warn

_Source = TypeVar("_Source", contravariant=True)  # noqa: PLC0105 - functions use it too

#: How long a caller that found the local queue full serves reports before it looks again.
_ROOM_SECONDS = 0.005
#: How long a caller waits for another thread that is deciding over failed records.
_TURN_SECONDS = 1.0
#: Records that wait in memory at most while those before them are sent again, where there is no outbox.
_LONGEST_AGAIN = 10_000


class Builder(Protocol[_Source]):
    """Makes Kafka records of what is handed over."""

    def build(self, source: _Source) -> KafkaRecord | None:
        """The record; None for one that must not be sent. Raises `ConversionError` where there cannot be one."""

    def letter(self, source: _Source) -> KafkaRecord:
        """The dead letter of one that cannot be built: as much of it as can be kept, redacted."""


class Delivery:
    """Delivers records, and accounts for each.

    Args:
        producer: takes them to Kafka.
        metrics: told of what happens.
        delivery_wait: seconds that a batch waits for its acknowledgements, and without any after which the cluster
            counts as away.
        message_timeout: seconds after which librdkafka gives a record up.
        full_queue_wait: seconds that a single record waits for room in the local queue.
        outbox: makes the outbox of a process, given what is to be told of losses; None for none.
        durable: the categories whose records are in the outbox before they are on their way.
        sync: whether they are on the disk, too, before the call returns.
    """

    def __init__(
        self,
        producer: KafkaProducer,
        metrics: Metrics,
        *,
        delivery_wait: float = 2.0,
        message_timeout: float = 300.0,
        full_queue_wait: float = 0.05,
        outbox: Callable[[OnLoss], Outbox] | None = None,
        durable: Collection[Category] = (),
        sync: bool = False,
    ) -> None:
        self._producer = producer
        self._metrics = metrics
        self._delivery_wait = delivery_wait
        self._message_timeout = message_timeout
        self._full_queue_wait = full_queue_wait
        self._make_outbox = outbox
        self._durable = durable
        self._sync = sync
        self._closed = False
        self._begin(DeliveryState(outbox, durable))
        after_fork_in_child(self._after_fork)
        metrics.observe(self)

    def _after_fork(self) -> None:
        """A child starts from nothing: what its parent has in hand is its parent's."""
        if self._state.outbox is not None:
            self._state.outbox.abandon()
        self._begin(DeliveryState(self._make_outbox, self._durable))

    def _begin(self, state: DeliveryState) -> None:
        self._state = state
        self._recovery = Recovery(state, self._producer, self._delivery_wait, self._message_timeout)
        self._background = Background(state, self._recovery, self._producer, self._at_worker_exit)
        # What was handed over by a signal handler or a finalizer while its own thread was in the middle of the same.
        self._deferred: deque[KafkaRecord] = deque()
        self._warned: Counter[str] = Counter()

    def stats(self) -> DeliveryStats:
        """How many records are in which state."""
        return self._state.stats()

    def outbox_usage(self) -> OutboxUsage | None:
        """What the outbox holds; None without one."""
        with self._state.lock:
            if self._state.outbox is None:
                return None
            usage = self._state.outbox.usage()
        return OutboxUsage(usage.bytes, sum(usage.waiting.values()), usage.oldest or 0)

    # The way in

    def hand_over(self, source: _Source, builder: Builder[_Source]) -> None:
        """Take one record, and return without waiting for its outcome, at most `full_queue_wait` later.

        Args:
            source: what it is made of.
            builder: makes it.
        """
        entry = self._take(source, builder, None, self._full_queue_wait)
        if self._sync and entry is not None:
            self._state.sync(entry)

    def deliver(self, sources: Sequence[_Source], builder: Builder[_Source]) -> bool:
        """Deliver records; returns when each has its outcome, about `delivery_wait` later at most.

        Args:
            sources: what the records are made of.
            builder: makes one.

        Returns:
            Whether every record was delivered or is kept.
        """
        started = time.monotonic()
        deadline = started + self._delivery_wait
        batch, handed_over, entry = Batch(), 0, None
        try:
            for source in sources:
                entry = self._take(source, builder, batch, deadline - time.monotonic()) or entry
                handed_over += 1
            if self._sync and entry is not None:
                self._state.sync(entry)  # the last of them: with it, all before it
            self._wait(batch, deadline)
        finally:
            # Only after Ctrl-C in a thread of the application's that logs. Those on their way stay so.
            if handed_over < len(sources):
                with self._state.lock:
                    self._state.ledger.accepted += len(sources) - handed_over
                    self._state.ledger.dropped["interrupted"] += len(sources) - handed_over
        self._metrics.exported(time.monotonic() - started)
        self._warn_of_losses()
        return not batch.failed

    def _take(
        self, source: _Source, builder: Builder[_Source], batch: Batch | None, room_within: float
    ) -> Entry | None:
        """Take one record; its entry, where that has a row in the outbox."""
        state = self._state
        try:
            record = builder.build(source)
        except ConversionError as error:
            self._refuse(builder.letter(source), error, batch)
            return None
        if record is None:
            with state.lock:
                state.ledger.accepted += 1
                state.dropped("own_log_line")
            if batch is not None:
                batch.failed += 1
            return None
        if state.lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - the threading module's own way to ask
            self._deferred.append(record)
            return None
        entry = self._start(record, batch, room_within)
        while self._deferred:
            self._start(self._deferred.popleft(), None, 0)
        return entry

    def _refuse(self, letter: KafkaRecord, error: ConversionError, batch: Batch | None) -> None:
        reason = f"conversion:{error.field}"
        with self._state.lock:
            self._state.ledger.accepted += 1
            kept = self._state.refuse(letter, reason)
            if batch is not None:
                batch.failed += not kept
        warn(reason, "log record %s, because of %s", "kept as a dead letter" if kept else "dropped", error)

    def _start(self, record: KafkaRecord, batch: Batch | None, room_within: float) -> Entry | None:
        state = self._state
        lane = state.lanes[record.category]
        row = encode_row(record, "", time.time_ns()) if lane.durable else None
        room = True
        with state.lock:
            state.ledger.accepted += 1
            if record.cuts:
                state.ledger.truncated += record.cuts
                if record.uncut is not None:
                    state.attach(record, record.uncut)
            if self._closed or state.away or lane.diverts(record.key):
                entry = state.outside(record, batch)
                self._divert(lane, entry, row)
            else:
                entry = state.enter(lane, record, row, batch)
                room = self._recovery.send(lane, entry)
        if not room:
            self._wait_for_room(lane, entry, room_within)
        self._background.notice()
        return entry if entry.place is not None else None

    def _divert(self, lane: Lane, entry: Entry, row: bytes | None = None, reason: str = "queue_full") -> None:
        """A record cannot be sent at once. Expects the lock to be held."""
        state = self._state
        if self._closed:
            state.drop(entry, SHUTDOWN)
        elif lane.paused and state.outbox is None and len(lane.again) < _LONGEST_AGAIN:
            lane.again.append(entry)
        else:
            state.keep(lane, entry, state.away or lane.blocked or reason, row=row)

    def _wait_for_room(self, lane: Lane, entry: Entry, seconds: float) -> None:
        """The local queue is full: serve reports until there is room, and give up after a while."""
        state = self._state
        deadline = time.monotonic() + seconds
        room = False
        try:
            while not room and time.monotonic() < deadline:
                self._producer.poll(_ROOM_SECONDS)
                with state.lock:
                    if state.away or lane.diverts(entry.record.key):
                        break
                    state.depart(lane, entry)
                    room = self._recovery.send(lane, entry)
        finally:
            if not room:
                with state.lock:
                    self._divert(lane, entry)

    # The wait for outcomes

    def _wait(self, batch: Batch, deadline: float) -> None:
        while batch.open and (left := deadline - time.monotonic()) > 0:
            self._serve(left)
        if batch.open:
            self._recovery.retreat_if(lambda: batch.open > 0, "delivery_timeout", _TURN_SECONDS)

    def _serve(self, seconds: float) -> None:
        """Serve reports for a moment, and decide over what has failed."""
        if self._state.attention.is_set() or not self._background.runs:
            self._recovery.step()
        if not self._producer.flush(min(seconds, SLICE_SECONDS)):
            self._state.attention.wait(min(seconds, SLICE_SECONDS))

    def flush(self, seconds: float) -> bool:
        """Wait until nothing is in flight, at most for so long; whether that came about."""
        deadline = time.monotonic() + seconds
        while self.stats().in_flight:
            if (left := deadline - time.monotonic()) <= 0:
                return False
            self._serve(left)
        return True

    def _at_worker_exit(self) -> None:
        self.flush(self._delivery_wait)

    def drain(self, seconds: float) -> bool:
        """Deliver what waits in the outbox, that of dead processes too, for at most so long; whether none is left."""
        deadline = time.monotonic() + seconds
        self._recovery.adopt()
        self._background.notice()
        while (stats := self.stats()).spooled + stats.in_flight:
            if (left := deadline - time.monotonic()) <= 0:
                return False
            self._state.attention.wait(min(left, SLICE_SECONDS))
        return True

    def close(self, seconds: float) -> None:
        """Take no more records; wait for those on their way for at most so many seconds, and keep the rest."""
        with self._state.lock:
            closed, self._closed = self._closed, True
        deadline = time.monotonic() + seconds
        while not closed and not self._state.away and self.stats().in_flight:
            if (left := deadline - time.monotonic()) <= 0:
                break
            self._serve(left)
        self._background.stop(_TURN_SECONDS)
        if not closed:
            self._recovery.retreat_if(lambda: True, SHUTDOWN, _TURN_SECONDS)
            self._warn_of_losses()
        self._producer.close()
        with self._state.lock:
            if self._state.outbox is not None:
                self._state.outbox.close()

    def _warn_of_losses(self) -> None:
        with self._state.lock:
            losses = self._state.ledger.dropped - self._warned
            self._warned += losses
        for reason, records in losses.items():
            if not reason.startswith("conversion:"):
                cause = f"; last error: {self._producer.last_error}" if self._producer.last_error else ""
                warn(reason, "log records dropped: %d, because of %s%s", records, reason, cause)


class NoDelivery:
    """Delivers nothing: every record is dropped with one and the same reason.

    Args:
        reason: that reason.
        metrics: told of it, since nobody holds an exporter that OpenTelemetry's own set-up made.
    """

    def __init__(self, reason: str, metrics: Metrics) -> None:
        self._reason = reason
        self._state = DeliveryState(None, ())
        metrics.observe(self)

    def stats(self) -> DeliveryStats:
        return self._state.stats()

    def outbox_usage(self) -> None:
        return None

    def hand_over(self, source: _Source, builder: Builder[_Source]) -> None:
        self.deliver([source], builder)

    def deliver(self, sources: Sequence[_Source], _builder: Builder[_Source]) -> bool:
        with self._state.lock:
            self._state.ledger.accepted += len(sources)
            self._state.ledger.dropped[self._reason] += len(sources)
        return not sources

    def flush(self, _seconds: float) -> bool:
        return True

    def close(self, seconds: float) -> None:
        pass
