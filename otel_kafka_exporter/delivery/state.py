"""The state of every record of one process, and each step from one state to the next.

    handed over ──▶ in flight ──▶ delivered
                      │   ▲
                      ▼   │
                    spooled     dead-lettered     dropped, with a reason

Each step takes the record out of one count and puts it into another, under one lock, together with what it means for
the outbox, for a batch whose caller waits, and for whoever waits for a receipt. Which step is due is decided elsewhere:
by `delivery` for new records, by `recovery` for those that failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from confluent_kafka import KafkaError, Message

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.kafka import NO_SCHEMA_ID, verdict
from otel_kafka_exporter.outbox import DONE, SENT, WAITING, Front, OnLoss, Outbox, Place, Stream, encode_row
from otel_kafka_exporter.process import Disposition, Outcome, note
from otel_kafka_exporter.records import CATEGORIES, Category, KafkaRecord

from . import receipts
from .accounting import Ledger
from .entry import Batch, Entry
from .lane import Lane

#: The reason of a dead letter that is none: the whole of a record that was cut to be delivered.
ATTACHMENT = "truncated"
#: How many times a thread makes way for another one before it waits for the lock like any other.
_TURNS = 50
#: The reason of what an operator has purged, or delivered by `otel-kafka outbox retry`: no loss.
SETTLED_BY_OPERATOR = "settled_by_operator"


class DeliveryState:
    """Every record's state. Methods expect `lock` to be held, unless they say otherwise.

    Args:
        make_outbox: makes where records are kept, given what is to be told of losses; None when they are not kept.
        durable: the categories whose records are in the outbox before they are on their way.
    """

    def __init__(self, make_outbox: Callable[[OnLoss], Outbox] | None, durable: Collection[Category]) -> None:
        self.lock = threading.RLock()  # a signal handler may log while its own thread is in here
        self.outbox = make_outbox(self._lost) if make_outbox is not None else None
        self.ledger = Ledger()
        self.lanes = {
            category: Lane(category, durable=self.outbox is not None and category in durable) for category in CATEGORIES
        }
        #: Why the cluster takes nothing at present; empty when it does.
        self.away = ""
        #: Whether no more records are taken.
        self.closed = False
        #: When a broker last acknowledged anything, by the monotonic clock.
        self.acknowledged = 0.0
        #: Set when something has failed and somebody has to decide.
        self.attention = threading.Event()
        #: When a broker last said anything about a record, be it that it refuses it.
        self.answered = 0.0
        #: Whether a caller holds the lock just now; a hint.
        self.busy = False
        self._number = 0

    def make_way(self) -> None:
        """Let the thread go on that holds the lock. Takes no lock itself.

        Who waits for a lock owns it from its release on, but may wait for the interpreter for another 5 ms then, while
        nobody else can have it: threads that log without a pause would end up with one record in each such turn.
        """
        for _ in range(_TURNS):
            time.sleep(0)  # gives the interpreter away once; waiting for the lock is what this avoids
            if not self.busy:
                return

    def on_the_way(self) -> bool:
        """Whether there are reports to come, or failures to decide over."""
        return any(lane.in_flight or lane.failed or lane.again for lane in self.lanes.values())

    # Into flight

    def enter(self, lane: Lane, entry: Entry, row: bytes | None) -> None:
        """An entry is in flight from here on; with a row, it is in the outbox first."""
        if row is not None and self.outbox is not None:
            try:
                entry.place = self.outbox.append(lane.stream, row, SENT)
            except OutboxError as error:
                # It goes its way without the net: better than not at all.
                note(error.reason, "records are sent without being kept in the outbox first: %s", error)
        self.depart(lane, entry)

    def outside(self, record: KafkaRecord, batch: Batch | None) -> Entry:
        """An entry for a record that is handed over, and counts as in flight from here on."""
        entry = self._entry(record, None, batch)
        self.ledger.accepted += 1
        if batch is not None:
            batch.take()
        return entry

    def _entry(self, record: KafkaRecord, place: Place | None, batch: Batch | None) -> Entry:
        self._number += 1
        return Entry(record, self._number, time.monotonic(), place, batch, self._reported)

    def depart(self, lane: Lane, entry: Entry) -> None:
        """An entry is given to librdkafka next."""
        lane.in_flight[entry.number] = entry
        lane.topic = entry.record.topic

    def resume(self, lane: Lane, record: KafkaRecord, place: Place) -> Entry:
        """An entry for a record of the outbox that is on its way again; it counts as spooled until it is delivered."""
        entry = self._entry(record, place, None)
        entry.spooled = True
        if self.outbox is not None:
            self.outbox.set_state(place, SENT)
        lane.backlog.remove(place, record.key)
        self.depart(lane, entry)
        return entry

    # Out of flight

    def _reported(self, entry: Entry, error: KafkaError | None, message: Message) -> None:
        """librdkafka reports on an entry, in whichever thread serves its reports. Takes the lock itself."""
        if self.busy:
            self.make_way()
        with self.lock:
            lane = self.lanes[entry.record.category]
            if entry.number not in lane.in_flight:
                return  # it was given up, with its client
            del lane.in_flight[entry.number]  # not pop(): Ctrl-C could come at the end of a call, before `try`
            try:
                self._report(lane, entry, error, message)
            except BaseException:  # Ctrl-C, in a thread of the application's: it has its outcome all the same
                if not entry.settled and not lane.expects(entry):
                    self._report(lane, entry, error, message)
                raise

    def _report(self, lane: Lane, entry: Entry, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._delivered(lane, entry, message)
        else:
            self.fail(lane, entry, error.code())

    def _delivered(self, lane: Lane, entry: Entry, message: Message) -> None:
        self.acknowledged = self.answered = time.monotonic()
        if entry.trial:
            if self.away or lane.blocked not in ("", verdict(NO_SCHEMA_ID).reason):
                note("back", "Kafka takes records again; %d wait in the outbox and follow", self.ledger.spooled - 1)
            self.away = lane.blocked = ""
            self.attention.set()
        self._leave_outbox(entry)
        self.ledger.delivered += 1
        self._settle(entry, Outcome.DELIVERED)
        if receipts.waiting:
            receipts.delivered(
                receipts.Receipt(
                    entry.record.event_id,
                    entry.record.topic,
                    message.partition() or 0,
                    message.offset() or 0,
                    message.timestamp()[1],
                )
            )

    def fail(self, lane: Lane, entry: Entry, code: int) -> None:
        """An entry came back; nothing overtakes it until its fate is decided."""
        lane.in_flight.pop(entry.number, None)
        lane.failed.append((entry, code))
        lane.paused = True
        self.attention.set()

    # To rest

    def keep(
        self, lane: Lane, entry: Entry, reason: str, *, row: bytes | None = None, front: Front | None = None
    ) -> None:
        """An entry waits in the outbox; without one, or without room in it, it is dropped.

        Args:
            lane: its lane.
            entry: it.
            reason: why it was not delivered.
            row: it as a row, where that is there already.
            front: the place before everything that waits; where it is already, or behind everything, unless given.
        """
        if self.outbox is None:
            self.drop(entry, reason)
            return
        before = entry.place
        if before is not None and front is None and self.outbox.exists(before):
            self.outbox.set_state(before, WAITING)
            lane.cursor = None
        else:
            row = row or encode_row(entry.record, "", time.time_ns())
            try:
                entry.place = front.append(row) if front else self.outbox.append(lane.stream, row, WAITING)
            except OutboxError as error:
                if before is None or not self.outbox.exists(before):
                    note(error.reason, "log records are dropped, because the outbox cannot keep them: %s", error)
                    self.drop(entry, error.reason)
                    return
                entry.place = before  # it stays there: better out of order than lost
                self.outbox.set_state(before, WAITING)
            else:
                if before is not None:
                    self.outbox.set_state(before, DONE)
            lane.cursor = None if front else lane.cursor
        if entry.place is not None:
            lane.backlog.add(entry.place, entry.record.key)
        if not entry.spooled:
            entry.spooled = True
            self.ledger.spooled += 1
            self._settle(entry, Outcome.SPOOLED)
        self.attention.set()

    def dead_letter(self, lane: Lane, entry: Entry, reason: str) -> None:
        """An entry is kept with the reason why no broker takes it."""
        lost = self._keep_letter(lane, entry.record, reason)
        if lost:
            self.drop(entry, lost)
            return
        self._leave_outbox(entry)
        self._dead_lettered(entry.record, reason)
        self._settle(entry, Outcome.DEAD_LETTERED)

    def drop(self, entry: Entry, reason: str) -> None:
        """An entry is gone, for this reason."""
        self._leave_outbox(entry)
        self.dropped(reason, entry.record.event_id)
        self._settle(entry, Outcome.DROPPED)

    def refuse(self, record: KafkaRecord, reason: str) -> Outcome:
        """A record that never was in flight is kept as a dead letter, or dropped."""
        lost = self._keep_letter(self.lanes[record.category], record, reason)
        if lost:
            self.dropped(lost, record.event_id)
        else:
            self._dead_lettered(record, reason)
        return Outcome.DROPPED if lost else Outcome.DEAD_LETTERED

    def attach(self, record: KafkaRecord, original: bytes) -> None:
        """The original of a record that was cut is kept beside the dead letters; it is an attachment and no outcome."""
        self._keep_letter(self.lanes[record.category], record._replace(value=original), ATTACHMENT)

    def sync(self, entry: Entry) -> None:
        """Wait until an entry's row is on the disk. Must not be called with the lock held."""
        if self.outbox is not None and entry.place is not None:
            try:
                self.outbox.sync(entry.place)
            except OutboxError as error:
                note(error.reason, "the outbox cannot be written to the disk: %s", error)

    def interrupted(self, lane: Lane, entry: Entry) -> None:
        """Ctrl-C came while a record was handed over, which may have been before it got anywhere."""
        if not (entry.settled or entry.number in lane.in_flight or lane.expects(entry)):
            self.drop(entry, "interrupted")

    def dropped(self, reason: str, event_id: str = "") -> None:
        """A record is gone that has no entry."""
        self.ledger.dropped[reason] += 1
        if event_id and receipts.waiting:
            receipts.failed(event_id, Outcome.DROPPED, reason)

    def _lost(self, stream: Stream, rows: int, reason: str) -> None:
        """The outbox lost rows that waited in it: evicted, or damaged on disk. It calls this within a call to it."""
        self.lanes[stream.category].backlog.forget_empty()
        if reason == "outbox_damaged":  # found in what a dead process left, which was not counted here yet
            self.ledger.accepted += rows
        elif stream.dead:
            self.ledger.dead_lettered -= rows
        else:
            self.ledger.spooled -= rows
        self.ledger.dropped[reason] += rows

    def adopted(self, stream: Stream, rows: int) -> None:
        """The outbox of a process that is dead is this one's now."""
        self.ledger.accepted += rows
        if stream.dead:
            self.ledger.dead_lettered += rows
        else:
            self.ledger.spooled += rows
            self.lanes[stream.category].cursor = None  # they go before what was there
            self.attention.set()

    def settled_by_others(self, stream: Stream, rows: int) -> None:
        """An operator has deleted rows of the outbox, or delivered dead letters."""
        if stream.dead:
            self.ledger.dead_lettered -= rows
        else:
            self.ledger.spooled -= rows
            self.lanes[stream.category].backlog.forget_empty()
        self.ledger.dropped[SETTLED_BY_OPERATOR] += rows

    def damaged(self, lane: Lane, place: Place, error: ValueError) -> None:
        """A row of the outbox turned out to be unreadable when it was to be delivered."""
        note("outbox_damaged", "a record in the outbox is damaged and cannot be delivered: %s", error)
        if self.outbox is not None:
            self.outbox.set_state(place, DONE)
        lane.backlog.forget_empty()  # nobody knows which key it had
        self.ledger.spooled -= 1
        self.dropped("outbox_damaged")

    def _dead_lettered(self, record: KafkaRecord, reason: str) -> None:
        self.ledger.dead_lettered += 1
        if receipts.waiting:
            receipts.failed(record.event_id, Outcome.DEAD_LETTERED, reason)

    def _keep_letter(self, lane: Lane, record: KafkaRecord, reason: str) -> str:
        """Keep a dead letter; the reason why it is lost, or nothing when it is kept."""
        if self.outbox is None:
            return reason
        try:
            self.outbox.append(lane.dead, encode_row(record, reason, time.time_ns()), WAITING)
        except OutboxError as error:
            note(error.reason, "dead letters are lost, because the outbox cannot keep them: %s", error)
            return error.reason
        return ""

    def _leave_outbox(self, entry: Entry) -> None:
        if entry.place is None or self.outbox is None:
            return
        self.outbox.set_state(entry.place, DONE)
        if entry.spooled:
            self.ledger.spooled -= 1
            entry.spooled = False

    @staticmethod
    def _settle(entry: Entry, outcome: Outcome) -> None:
        if entry.settled:
            return
        entry.settled = True
        if entry.batch is not None:
            entry.batch.settle(outcome)


def is_away(code: int) -> bool:
    """Whether a failure concerns the whole cluster."""
    return verdict(code).disposition is Disposition.AWAY
