"""Records handed over, and what becomes of them: the way in, and the thread that sees to the rest.

A record's way: it is built; if its category is durable it is written to the outbox; it is given to librdkafka; its
report, served by the background thread or by a caller that waits, takes it to its outcome. Where anything is in the
way, it waits in the outbox, behind what is there already. What has failed, and what waits, is `recovery`'s.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from . import receipts
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
from .sending import Sending
from .state import DeliveryState
from .telemetry import Metrics, note, tell, warn

_Source = TypeVar("_Source", contravariant=True)  # noqa: PLC0105 - functions use it too

#: How long a caller that found the local queue full serves reports before it looks again.
_ROOM_SECONDS = 0.005
#: How long a caller waits for another thread that decides over failed records; at a shutdown, in each of two steps.
_TURN_SECONDS, _END_SECONDS = 1.0, 0.3
#: Records that wait in memory at most while those before them are sent again, where there is no outbox.
_LONGEST_AGAIN = 10_000
#: The reason of a record that is lost by an error that nobody foresaw.
_FAULT = "exporter_fault"
#: How much longer than `delivery_wait` a batch waits while brokers answer, and refuse some of it.
_PATIENCE = 5


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
        self._ended = threading.Event()
        self._closer = 0
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
        self._sending = Sending(state, self._producer)
        self._recovery = Recovery(state, self._producer, self._sending, self._delivery_wait, self._message_timeout)
        self._background = Background(state, self._recovery, self._producer, self._look_after, self._at_worker_exit)
        # What was handed over by a signal handler or a finalizer while its own thread was in the middle of the same,
        # each with the reason why it is refused, if it is.
        self._deferred: deque[tuple[KafkaRecord, str]] = deque()
        self._warned: Counter[str] = Counter()

    def stats(self) -> DeliveryStats:
        """How many records are in which state."""
        with self._state.lock:
            return self._state.ledger.stats(len(self._deferred))

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
            Whether every record was delivered or is kept. One that is neither yet is still accounted for.
        """
        started = time.monotonic()
        deadline = started + self._delivery_wait
        batch, entry = Batch(), None
        try:
            for source in sources:
                entry = self._take(source, builder, batch, deadline - time.monotonic()) or entry
            if self._sync and entry is not None:
                self._state.sync(entry)  # the last of them: with it, all before it
            self._wait(batch, deadline)
        finally:
            # Only after Ctrl-C in a thread of the application's that logs. Those on their way stay so.
            if rest := len(sources) - batch.taken:
                with self._state.lock:
                    self._state.ledger.accepted += rest
                    self._state.ledger.dropped["interrupted"] += rest
        self._metrics.exported(time.monotonic() - started)
        self._look_after()
        return not batch.failed and not batch.open

    def _take(
        self, source: _Source, builder: Builder[_Source], batch: Batch | None, room_within: float
    ) -> Entry | None:
        """Take one record; its entry, where that has a row in the outbox."""
        record, reason = self._build(source, builder)
        if record is None:
            self._gone(reason, batch)
            return None
        if self._state.lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - the threading module's own way to ask
            self._deferred.append((record, reason))
            receipts.postponed(record.event_id)
            return None
        entry = None
        if reason:
            self._refuse(record, reason, batch)
            tell()
        else:
            entry = self._start(record, batch, room_within)
        if self._deferred:
            self._start_deferred()
        return entry

    @staticmethod
    def _build(source: _Source, builder: Builder[_Source]) -> tuple[KafkaRecord | None, str]:
        """The record, or the dead letter and why it is one, or nothing and why."""
        try:
            return builder.build(source), ""
        except ConversionError as error:
            reason = f"conversion:{error.field}"
            note(reason, "a log record cannot be delivered, and is a dead letter: %s", error)
            try:
                return builder.letter(source), reason
            except Exception as fault:  # noqa: BLE001 - as below
                error_of_ours: Exception = fault
        except Exception as fault:  # noqa: BLE001 - a fault of ours must cost no other record, and none unseen
            error_of_ours = fault
        note(_FAULT, "a log record is dropped by a fault of the exporter's: %r", error_of_ours)
        return None, _FAULT

    def _gone(self, fault: str, batch: Batch | None) -> None:
        """There is nothing to be delivered of a record."""
        with self._state.lock:
            self._state.ledger.accepted += 1
            self._state.dropped(fault or "own_log_line")
            if batch is not None:
                batch.taken += 1
                batch.failed += 1

    def _start_deferred(self) -> None:
        with self._state.lock:  # while one is in neither place, nobody counts
            while self._deferred:
                record, reason = self._deferred.popleft()
                if reason:
                    self._refuse(record, reason, None)
                else:
                    self._start(record, None, 0)

    def _refuse(self, letter: KafkaRecord, reason: str, batch: Batch | None) -> None:
        state = self._state
        with state.lock:
            in_flight = state.ledger.in_flight
            state.ledger.accepted += 1
            if batch is not None:
                batch.taken += 1
            try:
                kept = state.refuse(letter, reason)
            finally:
                if state.ledger.in_flight > in_flight:
                    state.dropped("interrupted")
            if batch is not None:
                batch.failed += not kept

    def _start(self, record: KafkaRecord, batch: Batch | None, room_within: float) -> Entry | None:
        state = self._state
        lane = state.lanes[record.category]
        row = encode_row(record, "", time.time_ns()) if lane.durable else None
        room, is_crowded = True, False
        with state.lock:
            entry = state.outside(record, batch)
            try:
                if record.cuts:
                    state.ledger.truncated += record.cuts
                    if record.uncut is not None:
                        state.attach(record, record.uncut)
                if self._closed:
                    state.drop(entry, SHUTDOWN)
                elif state.away or lane.diverts(record.key):
                    self._divert(lane, entry, row)
                    is_crowded = self._sending.take_along(lane)
                else:
                    state.enter(lane, entry, row)
                    room = self._sending.send(lane, entry)
            except BaseException:  # Ctrl-C
                state.interrupted(lane, entry)
                raise
        if not room:
            self._wait_for_room(lane, entry, room_within)
        if is_crowded:
            self._producer.poll(0)
        self._background.notice()
        return entry if entry.place is not None else None

    def _divert(self, lane: Lane, entry: Entry, row: bytes | None = None) -> None:
        """A record cannot be sent at once. Expects the lock to be held."""
        state = self._state
        if lane.paused and state.outbox is None and not self._closed and len(lane.again) < _LONGEST_AGAIN:
            lane.wait_again(entry)
        else:
            state.keep(lane, entry, state.away or lane.blocked or "queue_full", row=row)

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
                    room = self._sending.send(lane, entry)
        finally:
            if not room:
                with state.lock:
                    self._divert(lane, entry)

    # The wait for outcomes

    def _wait(self, batch: Batch, deadline: float) -> None:
        longest = deadline + (_PATIENCE - 1) * self._delivery_wait
        while batch.open:
            left = deadline - time.monotonic()
            if left <= 0:
                # Brokers are there; only some records are refused, and have others wait until it is clear which ones.
                left = longest - time.monotonic() if self._recovery.is_sorting_out() else 0
            if left <= 0:
                self._recovery.retreat_if(lambda: batch.open > 0, "delivery_timeout", _TURN_SECONDS)
                return
            self._serve(left)

    def _serve(self, seconds: float) -> None:
        """Serve reports for a moment, and decide over what has failed."""
        if self._state.attention.is_set() or not self._background.runs:
            self._recovery.step()
        if not self._producer.flush(min(seconds, SLICE_SECONDS)):
            self._state.attention.wait(min(seconds, SLICE_SECONDS))
        self._look_after()

    def _look_after(self) -> None:
        """Do what could not be done in the middle of something else, and say what there is to say."""
        if self._deferred:
            self._start_deferred()
        tell()
        self._warn_of_losses()

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
        deadline = time.monotonic() + seconds
        with self._state.lock:
            closed, self._closed = self._closed, True
        if closed:
            if self._closer != threading.get_ident():  # else a signal handler has interrupted it
                self._ended.wait(seconds)
            return
        self._closer = threading.get_ident()
        try:
            self._close(deadline)
        finally:
            self._ended.set()

    def _close(self, deadline: float) -> None:
        state = self._state
        while not state.away and self.stats().in_flight:
            if (left := deadline - time.monotonic()) <= 0:
                break
            self._serve(left)
        self._background.stop(_END_SECONDS)
        if not self._recovery.retreat_if(lambda: True, SHUTDOWN, _END_SECONDS):
            self._recovery.put_away(SHUTDOWN)  # somebody hangs in the middle of a decision
        # Those that wait for room give up now, and have their place in the outbox in a moment.
        deadline = time.monotonic() + _ROOM_SECONDS * 20
        while self.stats().in_flight and time.monotonic() < deadline:
            state.attention.wait(_ROOM_SECONDS)
        self._look_after()
        self._producer.close()
        with state.lock:
            outbox, state.outbox = state.outbox, None
            if outbox is not None:
                outbox.close()
        tell()

    def _warn_of_losses(self) -> None:
        with self._state.lock:
            losses = self._state.ledger.dropped - self._warned
            self._warned += losses
        for reason, records in losses.items():
            if not reason.startswith("conversion:"):
                cause = f"; last error: {self._producer.last_error}" if self._producer.last_error else ""
                warn(reason, "log records dropped: %d, because of %s%s", records, reason, cause)
