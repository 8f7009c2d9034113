"""The way in: records are built, put into the outbox if they are durable, and given to librdkafka."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from . import receipts
from .entry import Batch, Entry
from .errors import ConversionError
from .kafka_record import KafkaRecord
from .lane import Lane
from .producer import KafkaProducer
from .retreat import SHUTDOWN
from .rows import encode_row
from .sending import Sending
from .state import DeliveryState
from .telemetry import note, tell

Source = TypeVar("Source", contravariant=True)  # noqa: PLC0105 - functions use it too

#: How long a caller that found the local queue full serves reports before it looks again.
_ROOM_SECONDS = 0.005
#: Records that wait in memory at most while those before them are sent again, where there is no outbox.
_LONGEST_AGAIN = 10_000
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
        notice: is told that there is a record.

    Attributes:
        deferred: what was handed over by a signal handler or a finalizer while its own thread was in the middle of the
            same, each with the reason why it is refused, if it is.
    """

    def __init__(
        self, state: DeliveryState, producer: KafkaProducer, sending: Sending, notice: Callable[[], None]
    ) -> None:
        self._state = state
        self._producer = producer
        self._sending = sending
        self._notice = notice
        self.deferred: deque[tuple[KafkaRecord, str]] = deque()

    def take(self, source: Source, builder: Builder[Source], batch: Batch | None, room_within: float) -> Entry | None:
        """Take one record; its entry, where that has a row in the outbox."""
        record, reason = self._build(source, builder)
        if record is None:
            self._gone(reason, batch)
            return None
        if self._state.lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - the threading module's own way to ask
            self.deferred.append((record, reason))
            receipts.postponed(record.event_id)
            return None
        entry = None
        if reason:
            self._refuse(record, reason, batch)
            tell()
        else:
            entry = self._start(record, batch, room_within)
        if self.deferred:
            self.start_deferred()
        return entry

    @staticmethod
    def _build(source: Source, builder: Builder[Source]) -> tuple[KafkaRecord | None, str]:
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

    def start_deferred(self) -> None:
        with self._state.lock:  # while one is in neither place, nobody counts
            while self.deferred:
                record, reason = self.deferred.popleft()
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
        if state.busy:
            state.make_way()
        with state.lock:
            state.busy = True
            entry = state.outside(record, batch)
            try:
                if record.cuts:
                    state.ledger.truncated += record.cuts
                    if record.uncut is not None:
                        state.attach(record, record.uncut)
                if state.closed:
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
            finally:
                state.busy = False
        if not room:
            self._wait_for_room(lane, entry, room_within)
        if is_crowded:
            self._producer.poll(0)
        self._notice()
        return entry if entry.place is not None else None

    def _divert(self, lane: Lane, entry: Entry, row: bytes | None = None) -> None:
        """A record cannot be sent at once. Expects the lock to be held."""
        state = self._state
        if lane.paused and state.outbox is None and not state.closed and len(lane.again) < _LONGEST_AGAIN:
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
