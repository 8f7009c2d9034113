"""The way in: records are built, put into the outbox if they are durable, and given to librdkafka."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.process import (
    DeliveryOutcome,
    get_ident,
    in_greenlet,
    locked,
    monotonic,
    owns,
    pause,
    tell,
    when_free,
)
from otel_kafka_exporter.records import KafkaRecord

from . import receipts
from .building import Builder, Source, built
from .entry import Batch, Entry
from .placing import Placing
from .sending import Sending
from .state import DeliveryState

#: How long a caller that found the local queue full serves reports before it looks again.
_ROOM_SECONDS = 0.005


class Intake:
    """Takes records.

    Args:
        state: the records' states.
        producer: serves reports while there is no room.
        sending: takes records to librdkafka.

    Attributes:
        deferred: what was handed over by a signal handler or a finalizer while its own thread was in the middle of the
            same, each with the reason why it is refused, if it is; None where nothing is left of it.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer, sending: Sending) -> None:
        self._state = state
        self._producer = producer
        self._placing = Placing(state, producer, sending)
        self.deferred: deque[tuple[KafkaRecord | None, str]] = deque()
        self._roomless: deque[Entry] = deque()  # in flight, and to be given up

    def take(
        self, sources: Iterable[Source], builder: Builder[Source], batch: Batch | None, room_by: float, frame_by: float
    ) -> Entry | None:
        """Take records in their order; the last one's entry, unless that is at rest at once, or somewhere in between.

        Args:
            sources: what they are made of. All are built before the first is handed over, so they should be few.
            builder: makes them.
            batch: is told of their outcomes.
            room_by: until when room in the local queue is waited for, by the monotonic clock.
            frame_by: until when the first answer of a Schema Registry is waited for, where that is outstanding.
        """
        entry = None
        records: list[KafkaRecord] = []
        for source in sources:
            record, reason = built(source, builder)
            if record is not None and not reason:
                records.append(record)
                continue
            entry = self._hand_over(records, batch, room_by, frame_by) or entry  # what was before it stays so
            records = []
            self._turn_away(record, reason, batch)
        return self._hand_over(records, batch, room_by, frame_by) or entry

    def _hand_over(
        self, records: Sequence[KafkaRecord], batch: Batch | None, room_by: float, frame_by: float
    ) -> Entry | None:
        if frame_by:
            for record in records:
                self._producer.await_frame(record, frame_by)
        entry, at = None, 0
        try:
            while at < len(records):
                at, entry, room = self._start(records, at, batch)
                if entry is not None and not room:
                    self._wait_for_room(entry, room_by)
        except BaseException:  # Ctrl-C, before it could wait
            self._give_up_own()
            raise
        return entry

    def take_one(
        self, source: Source, builder: Builder[Source], batch: Batch | None, frame_by: float, room_seconds: float
    ) -> None:
        """As `take` of one; room is waited for until `frame_by`, or for so many seconds where that is 0."""
        try:
            entry, room = self._offer(source, builder, batch, frame_by)
            if entry is not None and not room:
                self._wait_for_room(entry, frame_by or monotonic() + room_seconds)
        except BaseException:  # Ctrl-C, before it could wait
            self._give_up_own()
            raise

    def offer(self, source: Source, builder: Builder[Source], batch: Batch | None) -> tuple[Entry | None, bool]:
        """As `take` of one, but for room: also whether there was some. Without it, `try_again` or `give_up` is due."""
        entry, room = self._offer(source, builder, batch, 0.0)
        if not room:
            self._placing.without_room.pop(get_ident(), None)
        return entry, room

    def _offer(
        self, source: Source, builder: Builder[Source], batch: Batch | None, frame_by: float
    ) -> tuple[Entry | None, bool]:
        record, reason = built(source, builder)
        if record is None or reason:
            self._turn_away(record, reason, batch)
            return None, True
        if frame_by:
            self._producer.await_frame(record, frame_by)
        if self.must_defer():
            self._defer(record, "", batch)
            return None, True
        # Not by `_start`: its loops are a tenth of what the engine does for one record.
        entry, room, is_crowded = when_free(self._state.lock, self._place, self._defer_one, record, batch)
        if is_crowded or self.deferred:
            self._go_on(entry, is_crowded=is_crowded)
        return entry, room

    def hold(self, source: Source, builder: Builder[Source], batch: Batch) -> Entry | None:
        """As `offer`, where others wait for room: `try_again` or `give_up` is due."""
        record, reason = built(source, builder)
        if record is None or reason:
            self._turn_away(record, reason, batch)
            return None
        if self.must_defer():
            self._defer(record, "", batch)
            return None
        return locked(
            self._state.lock,
            lambda: self._hold_locked(record, batch),
            lambda: self._defer(record, "", batch),
        )

    def _hold_locked(self, record: KafkaRecord, batch: Batch) -> Entry:
        self._state.ledger.truncated += record.cuts
        return self._state.outside(record, batch)

    def _turn_away(self, letter: KafkaRecord | None, reason: str, batch: Batch | None) -> None:
        """What cannot be built is a dead letter, or nothing."""
        if letter is None:
            self._gone(reason, batch)
        elif self.must_defer():
            self._defer(letter, reason, batch)
        else:
            self._refuse(letter, reason, batch)
            tell()
            if self.deferred:
                self.start_deferred()

    def must_defer(self) -> bool:
        """Whether this is a signal handler or a finalizer, and its own thread is in the middle of something."""
        return self._producer.is_inside() or owns(self._state.lock)

    def _defer(self, record: KafkaRecord, reason: str, batch: Batch | None) -> None:
        """A record is taken as soon as that can be done."""
        if batch is not None:  # its caller cannot wait: what it is to wait for comes when it has returned
            batch.tell(DeliveryOutcome.DROPPED)
        # No call from here on, at which Ctrl-C could come in between.
        self.deferred += ((record, reason),)
        if batch is not None:
            batch.taken += 1
            batch.failed += 1
        receipts.postponed(record.event_id)

    def _defer_all(self, records: Sequence[KafkaRecord], at: int, batch: Batch | None) -> tuple[int, None, bool, bool]:
        """In place of `_start_locked`."""
        for record in records[at:]:
            self._defer(record, "", batch)
        return len(records), None, True, False

    def _gone(self, reason: str, batch: Batch | None) -> None:
        """There is nothing to be delivered of a record."""
        if not reason:
            if batch is not None:  # none of the application's
                batch.taken += 1
            return
        if batch is not None:
            batch.take()
            batch.settle(DeliveryOutcome.DROPPED)
        self.count_lost(reason, 1)

    def count_lost(self, reason: str, records: int) -> None:
        """Count records of which nothing is left, as soon as that can be done."""
        if self.must_defer():
            self._lose_later(reason, records)
        else:
            locked(
                self._state.lock,
                lambda: self._state.ledger.lose(reason, records),
                lambda: self._lose_later(reason, records),
            )

    def _lose_later(self, reason: str, records: int) -> None:
        for _ in range(records):
            self.deferred.append((None, reason))

    @property
    def has_deferred(self) -> bool:
        """Whether anything was put off."""
        return bool(self.deferred or self._roomless)

    def start_deferred(self) -> None:
        """Take what was put off: by signal handlers and finalizers, and where others kept the lock for too long."""
        locked(self._state.lock, self.start_deferred_locked, lambda: None)

    def start_deferred_locked(self) -> None:
        """As `start_deferred`. Expects the lock to be held: while one is in neither place, nobody counts."""
        while self._roomless:  # each stays there until it has found its place: Ctrl-C may come in between
            self._placing.give_up(self._roomless[0])
            del self._roomless[0]
        while self.deferred:
            accepted = self._state.ledger.accepted
            record, reason = self.deferred[0]
            del self.deferred[0]
            try:
                self._start_one(record, reason)
            except BaseException:  # Ctrl-C
                if self._state.ledger.accepted == accepted:
                    self.deferred.appendleft((record, reason))
                raise

    def _start_one(self, record: KafkaRecord | None, reason: str) -> None:
        if record is None:
            self._state.ledger.lose(reason, 1)
        elif reason:
            self._placing.refuse(record, reason, None)
        else:
            self._placing.place_at_once(record)

    def _refuse(self, letter: KafkaRecord, reason: str, batch: Batch | None) -> None:
        locked(self._state.lock, self._placing.refuse, self._defer, letter, reason, batch)

    def _start(self, records: Sequence[KafkaRecord], at: int, batch: Batch | None) -> tuple[int, Entry | None, bool]:
        """Take records from there on under one lock, as far as there is room.

        Returns:
            Which one is next, the entry of the one before it, unless others have the lock, and whether that had room.
        """
        state = self._state
        if self.must_defer():
            at, entry, room, _ = self._defer_all(records, at, batch)
            return at, entry, room
        at, entry, room, is_crowded = when_free(state.lock, self._start_locked, self._defer_all, records, at, batch)
        if is_crowded or self.deferred:
            self._go_on(entry, is_crowded=is_crowded)
        return at, entry, room

    def _go_on(self, entry: Entry | None, *, is_crowded: bool) -> None:
        """What is to be done behind the lock, when something was handed over."""
        if is_crowded:
            self._producer.poll(0)
        if self.deferred and entry is not None:  # by a signal handler meanwhile; else others have the lock
            self.start_deferred()

    def _place(self, record: KafkaRecord, batch: Batch | None) -> tuple[Entry | None, bool, bool]:
        """A record gets its place, as `Placing.place` says. Expects the lock to be held."""
        if self.deferred or self._roomless:  # what was put off comes first
            self.start_deferred_locked()
        return self._placing.place(record, batch)

    def _defer_one(self, record: KafkaRecord, batch: Batch | None) -> tuple[None, bool, bool]:
        """In place of `_place`."""
        self._defer(record, "", batch)
        return None, True, False

    def _start_locked(
        self, records: Sequence[KafkaRecord], at: int, batch: Batch | None
    ) -> tuple[int, Entry | None, bool, bool]:
        """Also whether too much is on its way. Expects the lock to be held."""
        if self.deferred or self._roomless:  # what was put off comes first
            self.start_deferred_locked()
        entry, room, is_crowded = None, True, False
        while room and at < len(records):
            entry, room, is_crowded = self._placing.place(records[at], batch)
            at += 1
        return at, entry, room, is_crowded

    def _wait_for_room(self, entry: Entry, deadline: float) -> None:
        """The local queue is full: serve reports until there is room, and give up after a while."""
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
            self._placing.without_room.pop(get_ident(), None)

    def _give_up_own(self) -> None:
        """Give up what this thread has just found no room for, if there is any."""
        entry = self._placing.without_room.pop(get_ident(), None)
        if entry is not None:
            self.give_up(entry)

    def try_again(self, entry: Entry) -> bool:
        """Send an entry for which there was no room; whether it has its place now."""
        if self.must_defer():
            return False
        return locked(self._state.lock, self._placing.try_again, lambda _: False, entry)

    def give_up(self, entry: Entry) -> None:
        """Do without room: an entry waits in the outbox, or is dropped."""
        if self.must_defer():
            self._roomless.append(entry)
        else:
            locked(self._state.lock, self._placing.give_up, self._roomless.append, entry)
