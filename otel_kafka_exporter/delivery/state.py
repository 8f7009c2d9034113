"""The state of every record of one process, and what each step from one to the next brings about.

Which steps there are stands in `steps`; those to rest are in `rest`, here are those into flight and out of it. Which
one is due is decided elsewhere: by `intake` for new records, by `lateness` for overdue ones, and by `recovery` for
those that came back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection

from confluent_kafka import KafkaError, Message

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.kafka import NO_SCHEMA_ID, Reports, verdict
from otel_kafka_exporter.outbox import SENT, WAITING, Front, OnLoss, Outbox, Place, encode_row
from otel_kafka_exporter.process import DeliveryOutcome, Disposition, is_interruption, monotonic, note, sleep
from otel_kafka_exporter.records import Category, KafkaRecord

from . import receipts
from .entry import Batch, Entry
from .lane import Lane
from .rest import LOCK_SECONDS, RestState
from .steps import WITH_CLIENT, Event, State

Report = tuple[Entry, "KafkaError | None", Message]

#: How many reports are acted upon under one lock.
_REPORTS_AT_ONCE = 64
#: How many times a thread makes way for another one before it waits for the lock like any other.
_TURNS = 50


class DeliveryState(RestState):
    """Every record's state. Methods expect `lock` to be held, unless they say otherwise.

    Args:
        make_outbox: makes where records are kept, given what is to be told of losses; None when they are not kept.
        durable: the categories whose records are in the outbox before they are on their way.
        partition_of: tells a key's partition, given how many there are; None where nothing does.
        reports: where the client's callbacks collect them.
    """

    def __init__(
        self,
        make_outbox: Callable[[OnLoss], Outbox] | None,
        durable: Collection[Category],
        partition_of: Callable[[bytes, int], int] | None = None,
        reports: Reports[Entry] | None = None,
    ) -> None:
        super().__init__(make_outbox, durable, partition_of)
        self._reports = reports or Reports()
        self._reports.settle = self.settle_reports
        self._reports.lock = self.lock
        self._reports.renewed = self.return_former
        #: Why nothing at all is acknowledged at present; empty when something is.
        self.away = ""
        #: Whether no more records are taken.
        self.closed = False
        #: When a broker last acknowledged anything, by the monotonic clock.
        self.acknowledged = 0.0
        #: When a broker last said anything about a record, be it that it refuses it.
        self.answered = 0.0
        #: Whether a caller holds the lock just now; a hint.
        self.busy = False
        #: Bytes of a batch that a topic takes, where a larger one was refused just now; 0 otherwise.
        self.batch_limit = 0
        #: Whether all new records wait, in the outbox, until librdkafka has nothing.
        self.holds_up = False
        self._number = 0

    def make_way(self) -> None:
        """Let the thread go on that holds the lock. Takes no lock itself.

        Who waits for a lock owns it from its release on, but may wait for the interpreter for another 5 ms then, while
        nobody else can have it: threads that log without a pause would end up with one record in each such turn.
        """
        for _ in range(_TURNS):
            sleep(0)  # gives the interpreter away once; waiting for the lock is what this avoids
            if not self.busy:
                return

    def on_the_way(self) -> bool:
        """Whether there are reports to come, or failures to decide over."""
        return any(
            lane.recent or lane.overdue or any(each.failed or each.again for each in lane.partitions.values())
            for lane in self.lanes.values()
        )

    def with_client(self) -> int:
        """How many records librdkafka has. Takes no lock: a hint."""
        return sum(len(lane.recent) + len(lane.overdue) for lane in self.lanes.values())

    def is_undecided(self, batch: Batch) -> bool:
        """Whether something of a batch came back, and it is not clear yet what becomes of it. Takes the lock itself."""
        with self.lock:
            troubled = (each for lane in self.lanes.values() for each in lane.partitions.values())
            return any(entry.batch is batch and not entry.settled for each in troubled for entry, _ in each.failed)

    # Into flight

    def outside(self, record: KafkaRecord, batch: Batch | None) -> Entry:
        """An entry for a record that is handed over, and counts as in flight from here on."""
        entry = self._entry(record, None, batch)
        ledger = self.ledger
        # As in `_step`.
        ledger.accepted += 1
        ledger.counts["in_flight"] += 1
        if batch is not None:
            batch.taken += 1
            batch.open += 1
        return entry

    def _entry(self, record: KafkaRecord, place: Place | None, batch: Batch | None) -> Entry:
        self._number += 1
        return Entry(record, self._number, monotonic(), place, batch, self._reports)

    def successor(self, entry: Entry) -> Entry:
        """An entry that is to be sent once more: a report on the former try that is yet to come is none of its own."""
        another = self._entry(entry.record, entry.place, entry.batch)
        another.number = entry.number
        another.state = entry.state
        another.settled = entry.settled
        another.partition = entry.partition
        another.group = entry.group
        self._count_try(entry)
        return another

    def write_ahead(self, lane: Lane, entry: Entry, row: bytes) -> None:
        """A new entry is in the outbox before it is given to librdkafka."""
        if self.outbox is not None:
            try:
                entry.place = self.outbox.append(lane.stream, row, SENT)
            except OutboxError as error:
                # It goes its way without the net: better than not at all.
                self._refused("records are sent without being kept in the outbox first: %s", error)
            else:
                self.unkept = ""
                self._tell_spooled(entry)

    def enter(self, lane: Lane, entry: Entry) -> None:
        """A new entry is given to librdkafka next, although something is wrong with its lane."""
        self.depart(lane, entry)
        if self.outbox is None and entry.batch is not None and lane.partitions and not entry.settled:
            found = lane.partitions.get(lane.partition(entry))
            entry.settled = found is not None and found.silent and entry.batch.goes_on_without_probe()

    def depart(self, lane: Lane, entry: Entry) -> None:
        """An entry is given to librdkafka next."""
        if entry.record.key is None and entry.partition < 0 and lane.count:
            entry.partition = lane.choose()
        self._step(entry, Event.SEND)
        if entry.state is State.LATE and self._has_lost(entry):
            self._step(entry, Event.EVICTED)  # while it was at hand
        lane.recent[entry.number] = entry
        lane.topic = entry.record.topic
        if lane.partitions or self.away:
            number = lane.partition(entry)
            if self.away:
                lane.probed.add(number)
            found = lane.partitions.get(number)
            if found is not None:
                found.open += 1
                found.is_looked_for = False

    def resume(self, lane: Lane, record: KafkaRecord, place: Place) -> Entry:
        """An entry for a record of the outbox that is on its way again; it counts as spooled until it is delivered."""
        entry = self._entry(record, place, None)
        entry.state = State.WAITING
        entry.settled = True
        if self.outbox is not None:
            self._count_try(entry)
            self.outbox.set_state(place, SENT)
        lane.backlog.remove(place, record.key)
        self.depart(lane, entry)
        return entry

    def no_room(self, lane: Lane, entry: Entry) -> None:
        """librdkafka has no room for an entry, which is at hand again."""
        self._leave_client(lane, entry)
        self._step(entry, Event.NO_ROOM)
        self._count_try(entry, -1)

    def _count_try(self, entry: Entry, tries: int = 1) -> None:
        """A row remembers how often it was tried again; that of its first try is at 0, and stays so."""
        if self.outbox is not None and entry.place is not None:
            self.outbox.count_try(entry.place, tries)

    def overdue(self, lane: Lane, entry: Entry, front: Front | None) -> None:
        """An entry has no report in time: it is written down, stays with librdkafka, and its caller may go on.

        Where it cannot be written down it stays as it is: librdkafka may deliver it yet.
        """
        if lane.recent.pop(entry.number, None) is not None:
            lane.overdue[entry.number] = entry
            lane.trouble(lane.partition(entry)).overdue += 1
            if entry.trial:
                lane.trial = False  # another partition's record may be tried beside it
        self.write_down(lane, entry, front)

    def write_down(self, lane: Lane, entry: Entry, front: Front | None) -> None:
        """An entry is with librdkafka, and waits in the outbox, too, in case that comes to nothing."""
        if self.outbox is None or entry.state is not State.SENT:
            return
        if entry.place is None or not self.outbox.exists(entry.place):
            row = encode_row(entry.record, "", time.time_ns())
            try:
                entry.place = front.append(row, SENT) if front else self.outbox.append(lane.stream, row, SENT)
            except OutboxError as error:
                self._refused("late records are not kept, because the outbox cannot keep them: %s", error)
                return
            self._tell_spooled(entry)
            self.unkept = ""
        self._step(entry, Event.OVERDUE)
        self._settle(entry, DeliveryOutcome.SPOOLED)

    # Out of flight

    def _leave_client(self, lane: Lane, entry: Entry) -> None:
        """librdkafka has an entry no longer."""
        was_recent = lane.recent.pop(entry.number, None) is not None
        was_overdue = not was_recent and lane.overdue.pop(entry.number, None) is not None
        if lane.partitions:
            found = lane.partitions.get(lane.partition(entry))
            if found is not None:
                found.open -= was_recent or was_overdue
                found.overdue -= was_overdue
                found.group = found.group if found.open else 0
        if lane.probed:
            lane.probed.discard(lane.partition(entry))

    def settle_reports(self) -> None:
        """Act on the reports that were collected: some under one lock. Takes it itself.

        Called by whoever has served them, in whichever thread; of two at the same time each takes its part.
        """
        collected = self._reports.collected
        owned = self.is_interrupted()
        try:
            while collected:
                if self.busy and not owned:
                    self.make_way()
                # Not for ever, as in `Intake._locked`; whoever serves reports next does it then.
                if not self.lock.acquire(timeout=LOCK_SECONDS):
                    return
                with self.lock:
                    self.lock.release()  # it is the block's from here on, which lets it go whatever comes
                    self._settle_some(collected, monotonic())
        except BaseException:  # Ctrl-C, between the two
            if not owned and self.is_interrupted():
                self.lock.release()
            raise

    def _settle_some(self, collected: deque[Report], now: float) -> None:
        for _ in range(_REPORTS_AT_ONCE):
            if not collected:
                return
            # It is among them until it has been acted upon: Ctrl-C may come in between, and what it is about has left
            # librdkafka then.
            entry, error, message = collected[0]
            if entry.state in WITH_CLIENT:  # else it was given up, with its client
                lane = self.lanes[entry.record.category]
                try:
                    self._report(lane, entry, error, message, now)
                except BaseException as fault:
                    if isinstance(fault, Exception) and not is_interruption(fault):
                        # It costs no other report.
                        note("exporter_fault", "a delivery report is lost by a fault of the exporter's: %r", fault)
                    else:  # in a thread of the application's: it has its outcome all the same
                        if entry.state in WITH_CLIENT:
                            self._report(lane, entry, error, message, now)
                        lane.recount()
                        raise
            collected.popleft()

    def _report(self, lane: Lane, entry: Entry, error: KafkaError | None, message: Message, now: float) -> None:
        self.answered = now
        if error is not None:
            self.returned(lane, entry, error.code())
            return
        self.acknowledged = lane.acknowledged[message.partition() or 0] = now
        self._leave_client(lane, entry)
        if entry.place is not None:
            self._leave_outbox(entry)
        self._step(entry, Event.ACKNOWLEDGED)
        self._settle(entry, DeliveryOutcome.DELIVERED)
        if lane.partitions or self.away or lane.told or entry.trial:
            self._acknowledges(lane, entry)
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

    def _acknowledges(self, lane: Lane, entry: Entry) -> None:
        """What was in the way is there no longer: a partition, a topic or all of the cluster takes records again."""
        number = lane.partition(entry)
        found = lane.partitions.get(number)
        lane.resumed(number)
        if found is not None:
            found.silent = False
            found.rests_until = 0.0
            if found.is_sorted_out():
                self.open(lane, number)
        if entry.trial:
            lane.trial = False
            if lane.blocked not in ("", verdict(NO_SCHEMA_ID).reason):
                note("back", "Kafka takes %s records again%s", lane.category, self._follow(lane))
            lane.blocked = ""
        if self.away and not self.closed:
            self.away = ""
            for each in self.lanes.values():
                each.cursor = None
                each.probed.clear()
            note("back", "Kafka takes records again%s", self._follow(*self.lanes.values()))
        elif lane.told and not lane.partitions:
            note(f"back:{lane.topic}", "all partitions of %s take records again%s", lane.topic, self._follow(lane))
        lane.told = lane.told and bool(lane.partitions)
        self.attention.set()

    def _follow(self, *lanes: Lane) -> str:
        waiting = sum(self.outbox.waiting(lane.stream) for lane in lanes) if self.outbox is not None else 0
        return f"; {waiting} wait in the outbox and follow" if waiting else ""

    def go_away(self, reason: str) -> None:
        """Nothing is acknowledged; what librdkafka has tells when that is over, and one more for each partition."""
        self.away = reason
        for lane in self.lanes.values():
            lane.probed = {lane.partition(entry) for entry in lane.with_client()}

    def keeps_all(self) -> bool:
        """Whether new records go to the outbox, wherever they belong."""
        return bool(self.away or self.holds_up) and self.outbox is not None

    def resume_all(self) -> None:
        """New records are sent again, and what waits."""
        self.holds_up = False
        for lane in self.lanes.values():
            lane.cursor = None
        self.attention.set()

    def open(self, lane: Lane, number: int) -> None:
        """Nothing is in the way of a partition any more; what waits for it may follow."""
        found = lane.partitions.pop(number)
        self.batch_limit = found.too_large // 2 or self.batch_limit
        lane.cursor = None
        self.attention.set()

    def returned(self, lane: Lane, entry: Entry, code: int) -> None:
        """An entry came back; nothing of its partition overtakes it until its fate is decided."""
        found = lane.trouble(lane.partition(entry))
        self._leave_client(lane, entry)
        self._step(entry, Event.RETURNED)
        found.failed.append((entry, code))
        if entry.trial:
            entry.trial = lane.trial = False
            lane.try_later()
        self.attention.set()

    def return_former(self, number: int) -> None:
        """All come back whose client is gone, with their reports: those of any but the present one, by its number."""
        for lane in self.lanes.values():
            for entry in lane.with_client():
                if entry.client != number:
                    self.returned(lane, entry, KafkaError._FATAL)  # noqa: SLF001 - public, in spite of its spelling

    # Interrupted

    def broken_off(self, lane: Lane, entry: Entry, reason: str) -> None:
        """Ctrl-C, or an error that nobody foresaw, came while a record was handed over: it may have got nowhere."""
        lane.recount()
        if entry.state in WITH_CLIENT and not entry.client:
            # librdkafka may have it or not: it is sent again rather than lost. If there is a report, it is too late.
            self._leave_client(lane, entry)
            self._step(entry, Event.RETURNED)
            self.keep(lane, entry, reason)
        elif entry.state is State.AT_HAND and entry not in lane.expected():
            self.drop(entry, reason)

    def not_sent(self, lane: Lane, place: Place) -> None:
        """Ctrl-C came while a waiting record was sent: it waits again, unless librdkafka is known to have it."""
        lane.recount()
        owners = [entry for entry in [*lane.with_client(), *lane.expected()] if entry.place == place]
        for entry in owners:
            if entry.state is State.LATE and not entry.client:  # as in `broken_off`
                self._leave_client(lane, entry)
                self._step(entry, Event.RETURNED)
                self.keep(lane, entry, "interrupted")
        if not owners and self.outbox is not None and self.outbox.is_sent(place):
            self.outbox.set_state(place, WAITING)
        lane.cursor = None
        lane.trial = any(entry.trial for entry in lane.recent.values())


def is_away(code: int) -> bool:
    """Whether a failure concerns the whole cluster."""
    return verdict(code).disposition is Disposition.AWAY
