"""Where a record goes that is taken: to librdkafka, behind what waits, or among the dead letters."""

from __future__ import annotations

import time

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.outbox import encode_row
from otel_kafka_exporter.process import get_ident, is_interruption, note
from otel_kafka_exporter.records import KafkaRecord

from .building import FAULT, note_fault
from .entry import Batch, Entry
from .lane import Lane
from .retreat import SHUTDOWN
from .sending import Sending
from .state import DeliveryState
from .steps import AT_HAND, State

#: Records that wait in memory at most while those before them are sent again, where there is no outbox.
_LONGEST_AGAIN = 10_000


class Placing:
    """Gives each new record its place. All methods expect the lock to be held.

    Args:
        state: the records' states.
        producer: knows why records do not arrive.
        sending: takes them to librdkafka.

    Attributes:
        without_room: the new record, of each thread, that is about to wait for room; until somebody does.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer, sending: Sending) -> None:
        self._state = state
        self._producer = producer
        self._sending = sending
        self.without_room: dict[int, Entry] = {}

    def place(self, record: KafkaRecord, batch: Batch | None) -> tuple[Entry, bool, bool]:
        """Send a new record, or put it where it waits.

        Returns:
            Its entry; whether there was room for it: else `try_again` or `give_up` is due; whether too much is on its
            way, so that reports should be served.
        """
        lane = self._state.lanes[record.category]
        entry = self._state.outside(record, batch)
        room, is_crowded = True, False
        try:
            room, is_crowded = self._place(lane, entry)
            if not room:
                self.without_room[get_ident()] = entry
        except BaseException as fault:  # noqa: BLE001 - passed on, if it is an interruption
            self._break_off(lane, entry, fault)
        return entry, room, is_crowded

    def place_at_once(self, record: KafkaRecord) -> None:
        """As `place`, where nobody can wait for room."""
        lane = self._state.lanes[record.category]
        entry = self._state.outside(record, None)
        try:
            room, _ = self._place(lane, entry)
            if not room:
                self.give_up(entry)
        except BaseException as fault:  # noqa: BLE001 - passed on, if it is an interruption
            self._break_off(lane, entry, fault)

    def refuse(self, letter: KafkaRecord, reason: str, batch: Batch | None) -> None:
        """What cannot be sent is a dead letter."""
        state = self._state
        lane = state.lanes[letter.category]
        entry = state.outside(letter, batch)
        try:
            state.dead_letter(lane, entry, reason)
            if entry.state is State.DEAD_LETTERED:  # else it was dropped, which is said, too
                note(reason, "what cannot be delivered because of %s is kept as a dead letter", reason)
        except BaseException as fault:  # noqa: BLE001 - passed on, if it is an interruption
            self._break_off(lane, entry, fault)

    def try_again(self, entry: Entry) -> bool:
        """Send an entry for which there was no room; whether it has its place now."""
        state = self._state
        lane = state.lanes[entry.record.category]
        if entry.state not in AT_HAND:  # it was interrupted, and has its place
            return True
        try:
            if state.closed:
                state.keep(lane, entry, SHUTDOWN)
                return True
            if state.keeps_all() or lane.diverts(entry.record.key):
                return self._divert(lane, entry)
            state.depart(lane, entry)
            return self._sending.send(lane, entry)
        except BaseException as fault:  # noqa: BLE001 - passed on, if it is an interruption
            self._break_off(lane, entry, fault)
            return True

    def give_up(self, entry: Entry) -> None:
        """Do without room: an entry waits in the outbox, or is dropped."""
        if entry.state in AT_HAND:  # else it was interrupted, and has its place
            self._state.keep(self._state.lanes[entry.record.category], entry, "queue_full")

    def _place(self, lane: Lane, entry: Entry) -> tuple[bool, bool]:
        """Whether there was room, and whether too much is on its way."""
        state = self._state
        if entry.record.cuts:
            state.ledger.truncated += entry.record.cuts
        row = encode_row(entry.record, "", time.time_ns()) if lane.durable else None
        if state.closed:
            state.keep(lane, entry, SHUTDOWN, row=row)
            return True, False
        # Is anything in the way of any record? As attributes, not by calls: each record asks.
        if state.away or state.holds_up or lane.blocked or lane.partitions or lane.backlog.of_segment:
            return self._place_in_trouble(lane, entry, row)
        if row is not None:
            state.write_ahead(lane, entry, row)
        state.depart(lane, entry)
        return self._sending.send(lane, entry), False

    def _place_in_trouble(self, lane: Lane, entry: Entry, row: bytes | None) -> tuple[bool, bool]:
        """As `_place`, where something may be in the way."""
        state = self._state
        if state.keeps_all() or lane.diverts(entry.record.key):
            return self._divert(lane, entry, row), self._sending.take_along(lane)
        if row is not None:
            state.write_ahead(lane, entry, row)
        state.enter(lane, entry)
        return self._sending.send(lane, entry), False

    def _break_off(self, lane: Lane, entry: Entry, fault: BaseException) -> None:
        """A fault of ours costs its own record, and none unseen; an interruption is passed on."""
        if not isinstance(fault, Exception) or is_interruption(fault):
            self._state.broken_off(lane, entry, "interrupted")
            raise fault
        note_fault(fault)
        self._state.broken_off(lane, entry, FAULT)

    def _divert(self, lane: Lane, entry: Entry, row: bytes | None = None) -> bool:
        """A record must not be sent at once; whether it has its place."""
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
        if state.outbox is None and found is not None and not found.is_held and (found.open or found.rests_until):
            # It is known to be silent: nothing is gained by a wait.
            acknowledged = lane.acknowledged.get(lane.partition(entry), 0.0)
            state.drop(entry, self._producer.trouble.why("delivery_timeout", acknowledged))
            return True
        # With an outbox that takes nothing, librdkafka's queue is better than that. Without one, this record tells
        # whether the partition is back.
        state.enter(lane, entry)
        return self._sending.send(lane, entry)
