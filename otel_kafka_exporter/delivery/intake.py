"""The way in: records are built, put into the outbox if they are durable, and given to librdkafka."""

from __future__ import annotations

import time
from collections import deque
from typing import Protocol, TypeVar

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.outbox import encode_row
from otel_kafka_exporter.process import DeliveryOutcome, in_greenlet, kind_of_fault, monotonic, note, pause, tell
from otel_kafka_exporter.records import KafkaRecord, describe

from . import receipts
from .entry import Batch, Entry
from .lane import Lane
from .retreat import SHUTDOWN
from .sending import Sending
from .state import DeliveryState
from .steps import State

Source = TypeVar("Source", contravariant=True)  # noqa: PLC0105 - functions use it too

#: How long a caller that found the local queue full serves reports before it looks again.
_ROOM_SECONDS = 0.005
#: Records that wait in memory at most while those before them are sent again, where there is no outbox.
_LONGEST_AGAIN = 10_000
#: How long a caller waits for its turn to hand over. Nothing that has the lock takes nearly as long.
_LOCK_SECONDS = 1.0
#: The reason of a record that is lost by an error that nobody foresaw.
_FAULT = "exporter_fault"


class Builder(Protocol[Source]):
    """Makes Kafka records of what is handed over."""

    def build(self, source: Source) -> KafkaRecord | None:
        """The record; None for one that must not be sent. Raises `ConversionError` where there cannot be one."""

    def letter(self, source: Source) -> KafkaRecord:
        """The dead letter of one that cannot be built: as much of it as can be kept, redacted."""


class Intake:
    """Takes records.

    Args:
        state: the records' states.
        producer: serves reports while there is no room.
        sending: takes records to librdkafka.

    Attributes:
        deferred: what was handed over by a signal handler or a finalizer while its own thread was in the middle of the
            same, each with the reason why it is refused, if it is.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer, sending: Sending) -> None:
        self._state = state
        self._producer = producer
        self._sending = sending
        self.deferred: deque[tuple[KafkaRecord, str]] = deque()

    def take(
        self, source: Source, builder: Builder[Source], batch: Batch | None, room_within: float, frame_within: float
    ) -> Entry | None:
        """Take one record; its entry, unless it is at rest at once, or somewhere in between.

        Args:
            source: what it is made of.
            builder: makes it.
            batch: is told of its outcome.
            room_within: seconds to wait for room in the local queue.
            frame_within: seconds to wait for the first answer of a Schema Registry, where that is outstanding.
        """
        entry, room = self.offer(source, builder, batch, frame_within)
        if entry is not None and not room:
            self._wait_for_room(entry, room_within)
        return entry

    def offer(
        self, source: Source, builder: Builder[Source], batch: Batch | None, frame_within: float = 0.0
    ) -> tuple[Entry | None, bool]:
        """As `take`, but for room: also whether there was some. Without it, `try_again` or `give_up` is due."""
        record, reason = self._build(source, builder)
        if record is None:
            self._gone(reason, batch)
            return None, True
        if frame_within > 0:
            self._producer.await_frame(record, frame_within)
        if self._producer.is_inside() or self._state.is_interrupted():
            return self._defer(record, reason, batch)
        entry, room = None, True
        if reason:
            self._refuse(record, reason, batch)
            tell()
        else:
            entry, room = self._start(record, batch)
            if entry is None:
                return None, True  # others have the lock
        if self.deferred:
            self.start_deferred()
        return entry, room

    def _defer(self, record: KafkaRecord, reason: str, batch: Batch | None) -> tuple[None, bool]:
        """A record is taken as soon as that can be done."""
        self.deferred.append((record, reason))
        if batch is not None:  # its caller cannot wait: what it is to wait for comes when it has returned
            batch.take()
            batch.settle(DeliveryOutcome.DROPPED)
        receipts.postponed(record.event_id)
        return None, True

    def _build(self, source: Source, builder: Builder[Source]) -> tuple[KafkaRecord | None, str]:
        """The record, or the dead letter and why it is one, or nothing and why."""
        try:
            return builder.build(source), ""
        except ConversionError as error:
            reason = f"conversion:{error.field}"
            try:
                letter = builder.letter(source)
                note(reason, "a log record cannot be delivered: %s (%s)", error, describe(letter))
                return letter, reason  # noqa: TRY300 - whatever fails in here is below
            except Exception as fault:  # noqa: BLE001 - as below
                error_of_ours: Exception = fault
        except Exception as fault:  # noqa: BLE001 - a fault of ours must cost no other record, and none unseen
            error_of_ours = fault
        _note_fault(error_of_ours)
        return None, _FAULT

    def _gone(self, reason: str, batch: Batch | None) -> None:
        """There is nothing to be delivered of a record: it was lost, or is a line about our own work and no record."""
        with self._state.lock:
            if reason:
                self._state.ledger.lose(reason, 1)
            if batch is not None:
                batch.taken += 1
            if reason and batch is not None:
                batch.open += 1
                batch.settle(DeliveryOutcome.DROPPED)

    def start_deferred(self) -> None:
        with self._state.lock:  # while one is in neither place, nobody counts
            while self.deferred:
                record, reason = self.deferred.popleft()
                if reason:
                    self._refuse(record, reason, None)
                else:
                    entry, room, _ = self._start_locked(self._state.lanes[record.category], record, None)
                    if not room:
                        self.give_up(entry)

    def _refuse(self, letter: KafkaRecord, reason: str, batch: Batch | None) -> None:
        state = self._state
        lane = state.lanes[letter.category]
        with state.lock:
            entry = state.outside(letter, batch)
            try:
                state.dead_letter(lane, entry, reason)
                if entry.state is State.DEAD_LETTERED:  # else it was dropped, which is said, too
                    note(reason, "what cannot be delivered because of %s is kept as a dead letter", reason)
            except Exception as fault:  # noqa: BLE001 - as in `_build`
                self._fault(lane, entry, fault)
            except BaseException:  # Ctrl-C
                state.broken_off(lane, entry, "interrupted")
                raise

    def _start(self, record: KafkaRecord, batch: Batch | None) -> tuple[Entry | None, bool]:
        state = self._state
        lane = state.lanes[record.category]
        if state.busy:
            state.make_way()
        lock = state.lock
        try:
            # Not for ever: the caller may hold the lock of a log handler, for which a signal handler waits that has
            # interrupted whoever has this one.
            if not lock.acquire(timeout=_LOCK_SECONDS):
                return self._defer(record, "", batch)
            with lock:
                lock.release()  # it is the block's from here on, which lets it go whatever comes
                entry, room, is_crowded = self._start_locked(lane, record, batch)
        except BaseException:  # Ctrl-C, between the two
            if state.is_interrupted():
                lock.release()
            raise
        if is_crowded:
            self._producer.poll(0)
        return entry, room

    def _start_locked(self, lane: Lane, record: KafkaRecord, batch: Batch | None) -> tuple[Entry, bool, bool]:
        """Also whether too much is on its way. Expects the lock to be held."""
        state = self._state
        room, is_crowded = True, False
        state.busy = True
        entry = state.outside(record, batch)
        try:
            state.ledger.truncated += record.cuts
            row = encode_row(record, "", time.time_ns()) if lane.durable else None
            if state.closed:
                state.keep(lane, entry, SHUTDOWN, row=row)
            elif state.keeps_all() or lane.diverts(record.key):
                room = self._divert(lane, entry, row)
                is_crowded = self._sending.take_along(lane)
            else:
                state.enter(lane, entry, row)
                room = self._sending.send(lane, entry)
        except Exception as fault:  # noqa: BLE001 - as in `_build`
            self._fault(lane, entry, fault)
        except BaseException:  # Ctrl-C
            state.broken_off(lane, entry, "interrupted")
            raise
        finally:
            state.busy = False
        return entry, room, is_crowded

    def _fault(self, lane: Lane, entry: Entry, fault: Exception) -> None:
        """A fault of ours costs its own record, and none unseen. Expects the lock to be held."""
        _note_fault(fault)
        self._state.broken_off(lane, entry, _FAULT)

    def _divert(self, lane: Lane, entry: Entry, row: bytes | None = None) -> bool:
        """A record must not be sent at once; whether it has its place. Expects the lock to be held."""
        state = self._state
        if entry.record.key is None and entry.partition < 0 and lane.count:
            entry.partition = lane.choose()
        found = lane.partitions.get(lane.partition(entry))
        lost = ""
        if state.outbox is not None:
            lost = state.try_to_keep(lane, entry, row)
            if not lost:
                return True
            if lane.blocked or lane.backlog.holds(entry.record.key):
                state.drop(entry, lost)  # nothing overtakes what waits
                return True
        elif found is None:
            state.drop(entry, lane.blocked or "queue_full")
            return True
        if found is not None and (found.failed or found.again or found.is_tried()):
            if len(found.again) < _LONGEST_AGAIN:
                found.wait_again(entry)
            else:
                state.drop(entry, lost or "queue_full")  # nothing overtakes what is sent again
            return True
        if state.outbox is None and found is not None and (found.open or found.rests_until):
            # It is known to be silent: nothing is gained by a wait.
            acknowledged = lane.acknowledged.get(lane.partition(entry), 0.0)
            state.drop(entry, self._producer.trouble.why("delivery_timeout", acknowledged))
            return True
        # With an outbox that takes nothing, librdkafka's queue is better than that. Without one, this record tells
        # whether the partition is back.
        state.enter(lane, entry, None)
        return self._sending.send(lane, entry)

    def _wait_for_room(self, entry: Entry, seconds: float) -> None:
        """The local queue is full: serve reports until there is room, and give up after a while."""
        deadline = monotonic() + seconds
        settled = False
        try:
            while not settled and monotonic() < deadline:
                if in_greenlet():
                    pause(_ROOM_SECONDS)  # the background thread serves reports
                else:
                    self._producer.poll(_ROOM_SECONDS)
                settled = self.try_again(entry)
        finally:
            if not settled:
                self.give_up(entry)

    def try_again(self, entry: Entry) -> bool:
        """Send an entry for which there was no room; whether it has its place now."""
        state = self._state
        lane = state.lanes[entry.record.category]
        with state.lock:
            if state.closed:
                state.keep(lane, entry, SHUTDOWN)
                return True
            if state.keeps_all() or lane.diverts(entry.record.key):
                return self._divert(lane, entry)
            state.depart(lane, entry)
            return self._sending.send(lane, entry)

    def give_up(self, entry: Entry) -> None:
        """Do without room: an entry waits in the outbox, or is dropped."""
        with self._state.lock:
            self._state.keep(self._state.lanes[entry.record.category], entry, "queue_full")


def _note_fault(fault: Exception) -> None:
    note(kind_of_fault(fault), "a log record is dropped by a fault of the exporter's: %r", fault)
