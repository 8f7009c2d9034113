"""Records at rest: in the outbox, among the dead letters, or dropped; and the counts of all.

Each step takes a record out of one count and puts it into another, together with what it means for the outbox, for a
batch whose caller waits, and for whoever waits for a receipt. What is in flight is `state`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import DONE, SENT, WAITING, Front, OnLoss, Outbox, Place, Stream, encode_row
from otel_kafka_exporter.process import DeliveryOutcome, Flag, Stranded, note, owns
from otel_kafka_exporter.records import CATEGORIES, Category

from . import receipts
from .accounting import Ledger
from .entry import Entry
from .lane import Lane
from .letters import letter_row
from .locking import DeliveryLock
from .steps import STEPS, Event, State

#: The reason of what an operator has purged, or delivered by `otel-kafka outbox retry`: no loss.
SETTLED_BY_OPERATOR = "settled_by_operator"
#: What a caller is told of who is at rest.
_OUTCOMES = {
    State.WAITING: DeliveryOutcome.SPOOLED,
    State.DELIVERED: DeliveryOutcome.DELIVERED,
    State.DEAD_LETTERED: DeliveryOutcome.DEAD_LETTERED,
    State.DROPPED: DeliveryOutcome.DROPPED,
}


class RestState:
    """The records that are at rest, and the lanes. Methods expect `lock` to be held, unless they say otherwise.

    Args:
        make_outbox: makes where records are kept, given what is to be told of losses; None when they are not kept.
        durable: the categories whose records are in the outbox before they are on their way.
        partition_of: tells a key's partition, given how many there are; None where nothing does.
    """

    def __init__(
        self,
        make_outbox: Callable[[OnLoss], Outbox] | None,
        durable: Collection[Category],
        partition_of: Callable[[bytes, int], int] | None = None,
    ) -> None:
        self.lock = DeliveryLock()  # a signal handler may log while its own thread is in here
        self.outbox = make_outbox(self._lost) if make_outbox is not None else None
        self.needs_disk = self.outbox is not None and self.outbox.power
        self.ledger = Ledger()
        self.lanes = {
            category: Lane(category, durable=self.outbox is not None and category in durable, partition_of=partition_of)
            for category in CATEGORIES
        }
        #: Why the outbox took no record when one was last put there; empty where it took it.
        self.unkept = ""
        #: What others have left in the outbox's directory, and nobody takes over by itself.
        self.stranded: tuple[Stranded, ...] = ()
        #: Whether the disk has taken what was kept when the outbox was closed, for who asks after that.
        self.is_flushed = True
        #: Set when something has failed and somebody has to decide.
        self.attention = Flag()

    def is_interrupted(self) -> bool:
        """Whether this thread holds the lock, so that a signal handler or a finalizer asks: it must change nothing.

        Takes no lock, and is asked without holding it.
        """
        return owns(self.lock)

    def _step(self, entry: Entry, event: Event) -> None:
        after, old, new = STEPS[entry.state, event]
        counts = self.ledger.counts
        # No call from here on, at which Ctrl-C could come in between.
        entry.state = after
        if old is not new:
            counts[old] -= 1
            counts[new] += 1

    def keep(
        self, lane: Lane, entry: Entry, reason: str, *, row: bytes | None = None, front: Front | None = None
    ) -> None:
        """An entry that is at hand waits in the outbox; without one, or without room in it, it is dropped.

        Args:
            lane: its lane.
            entry: it.
            reason: why it was not delivered.
            row: it as a row, where that is there already.
            front: the place before everything that waits; where it is already, or behind everything, unless given.
        """
        lost = reason if self.outbox is None else self.try_to_keep(lane, entry, row, front)
        if lost:
            self.drop(entry, lost)

    def move(self, entry: Entry, front: Front) -> None:
        """The row of a late entry, which stays with librdkafka, goes before everything that waits."""
        before = entry.place
        if self.outbox is None or entry.state is not State.LATE or before is None or not self.outbox.exists(before):
            return
        try:
            entry.place = front.append(encode_row(entry.record, "", time.time_ns()), SENT)
        except OutboxError as error:
            self._refused("the outbox cannot keep log records in order: %s", error)
        else:
            self.outbox.supersede(before, entry.place)

    def try_to_keep(self, lane: Lane, entry: Entry, row: bytes | None = None, front: Front | None = None) -> str:
        """As `keep`, but an entry that cannot be kept stays at hand; why it cannot, or nothing."""
        if self.outbox is None:
            return "outbox_unavailable"
        before = entry.place
        if before is not None and front is None and self.outbox.exists(before):
            self.outbox.set_state(before, WAITING)
            lane.cursor = None
        else:
            row = row or encode_row(entry.record, "", time.time_ns())
            try:
                # It waits from the moment on that it is known where: Ctrl-C may come in between.
                entry.place = front.append(row, SENT) if front else self.outbox.append(lane.stream, row, SENT)
            except OutboxError as error:
                self._refused("the outbox cannot keep log records: %s", error)
                if before is None or not self.outbox.exists(before):
                    return error.reason
                entry.place = before  # it stays there: better out of order than lost
                self.outbox.set_state(before, WAITING)
            else:
                self.unkept = ""
                self.outbox.set_state(entry.place, WAITING)
                if before is not None:
                    self.outbox.supersede(before, entry.place)
            lane.cursor = None if front else lane.cursor
        if entry.place is not None:
            lane.backlog.add(entry.place, entry.record.key)
        self._tell_spooled(entry)
        self._step(entry, Event.KEPT)
        self._settle(entry, DeliveryOutcome.SPOOLED)
        self.attention.set()
        return ""

    def dead_letter(self, lane: Lane, entry: Entry, reason: str) -> None:
        """An entry that is at hand is kept with the reason why no broker takes it."""
        lost = self._keep_letter(lane, entry, reason)
        if lost:
            self.drop(entry, lost)
            return
        self._step(entry, Event.REFUSED)
        self._tell_waiter(entry.record.event_id, DeliveryOutcome.DEAD_LETTERED, reason)
        self._settle(entry, DeliveryOutcome.DEAD_LETTERED)

    def drop(self, entry: Entry, reason: str) -> None:
        """An entry that is at hand is gone, for this reason."""
        self._leave_outbox(entry)
        if entry.place is not None:
            self._tell_spooled(entry, still=False)
        after, old, _ = STEPS[entry.state, Event.LOST]
        dropped = self.ledger.dropped[reason] + 1
        # As in `_step`.
        entry.state = after
        self.ledger.counts[old] -= 1
        self.ledger.dropped[reason] = dropped
        self._tell_waiter(entry.record.event_id, DeliveryOutcome.DROPPED, reason)
        self._settle(entry, DeliveryOutcome.DROPPED)

    def sync(self) -> bool:
        """With `durability=power`, wait until all that was kept by now is on the disk; whether it is.

        Takes the lock itself. Called by whatever returns to somebody who relies on it, and every second for what moved
        meanwhile. It does nothing in the middle of a change by this very thread, which a signal handler has
        interrupted.
        """
        outbox = self.outbox
        if outbox is not None and self.needs_disk and not self.is_interrupted():
            try:
                return self.lock.bounded(outbox.sync, self.lock)
            except OutboxError as error:
                self._say_unflushed(error)
                return False
        return self.is_flushed

    def close(self, outbox: Outbox) -> None:
        """Nothing is kept any more; what is in the outbox stays for others."""
        try:
            outbox.close()
        except OutboxError as error:
            self.is_flushed = False
            self._say_unflushed(error)

    @staticmethod
    def _say_unflushed(error: OutboxError) -> None:
        note(error.reason, "the outbox cannot be written to the disk: %s", error)

    @staticmethod
    def _tell_spooled(entry: Entry, *, still: bool = True) -> None:
        if receipts.waiting:
            receipts.spooled(entry.record.event_id, still=still)

    def _tell_waiter(self, event_id: str, outcome: DeliveryOutcome, reason: str) -> None:
        if event_id and receipts.waiting:
            receipts.failed(event_id, outcome, reason)

    def _lost(self, stream: Stream, rows: int, reason: str) -> None:
        """The outbox lost rows that waited in it: evicted, or damaged on disk. It calls this within a call to it."""
        self.lanes[stream.category].backlog.forget_empty()
        if reason == "outbox_damaged":  # found in what a dead process left, which was not counted here yet
            self.ledger.lose(reason, rows)
        else:
            if rows:
                self.ledger.leave(State.DEAD_LETTERED if stream.dead else State.WAITING, reason, rows)
            self._evicted(self.lanes[stream.category])

    def cut_off(self, stream: Stream, rows: int) -> None:
        """Somebody has cut a file of the outbox short: rows that waited are lost."""
        lane = self.lanes[stream.category]
        lane.backlog.forget_empty()
        lane.cursor = None
        if rows:
            self.ledger.leave(State.DEAD_LETTERED if stream.dead else State.WAITING, "outbox_damaged", rows)
        self._evicted(lane)

    def _evicted(self, lane: Lane) -> None:
        """What was written down as late is so no longer, where its row has gone; librdkafka has it still."""
        for entry in lane.with_client():
            if entry.state is State.LATE and self._has_lost(entry):
                self._step(entry, Event.EVICTED)

    def _has_lost(self, entry: Entry) -> bool:
        return entry.place is not None and self.outbox is not None and not self.outbox.exists(entry.place)

    def adopted(self, stream: Stream, rows: int) -> None:
        """The outbox of a process that is dead is this one's now."""
        self.ledger.enter(State.DEAD_LETTERED if stream.dead else State.WAITING, rows)
        if not stream.dead:
            self.lanes[stream.category].cursor = None  # they go before what was there
            self.attention.set()

    def settled_by_others(self, stream: Stream, rows: int) -> None:
        """An operator has deleted rows of the outbox, or delivered dead letters."""
        self.ledger.leave(State.DEAD_LETTERED if stream.dead else State.WAITING, SETTLED_BY_OPERATOR, rows)
        if not stream.dead:
            self.lanes[stream.category].backlog.forget_empty()

    def damaged(self, lane: Lane, place: Place, error: ValueError) -> None:
        """A row of the outbox turned out to be unreadable when it was to be delivered."""
        note("outbox_damaged", "a record in the outbox is damaged and cannot be delivered: %s", error)
        if self.outbox is not None:
            self.outbox.set_state(place, DONE)
        lane.backlog.forget_empty()  # nobody knows which key it had
        self.ledger.leave(State.WAITING, "outbox_damaged", 1)

    def _keep_letter(self, lane: Lane, entry: Entry, reason: str) -> str:
        """Keep a dead letter in place of a row; the reason why it is lost, or nothing when it is kept."""
        if self.outbox is None:
            return reason
        row, is_cut = letter_row(entry.record, reason, self.outbox.most_letter_bytes)
        self.ledger.truncated += is_cut
        try:
            letter = self.outbox.append(lane.dead, row, WAITING)
        except OutboxError as error:
            self._refused("dead letters are lost, because the outbox cannot keep them: %s", error)
            return error.reason
        self.unkept = ""
        if entry.place is not None:
            self.outbox.supersede(entry.place, letter)
        return ""

    def _refused(self, line: str, error: OutboxError) -> None:
        """The outbox takes no record at present."""
        self.unkept = error.reason
        note(error.reason, line, error)

    def where(self) -> str:
        """Where records go that Kafka does not take at present, for the line that says so."""
        if self.outbox is None:
            return "are dropped, since there is no outbox"
        if self.unkept:
            return f"stay in memory only, as many as have room there, since the outbox takes none ({self.unkept})"
        return "wait in the outbox"

    def _leave_outbox(self, entry: Entry) -> None:
        if entry.place is None or self.outbox is None:
            return
        self.outbox.set_state(entry.place, DONE)

    def settle_at_rest(self, entry: Entry) -> None:
        """Tell an entry's caller of its outcome, if Ctrl-C came just before that was done."""
        outcome = _OUTCOMES.get(entry.state)
        if outcome is not None:
            self._settle(entry, outcome)

    @staticmethod
    def _settle(entry: Entry, outcome: DeliveryOutcome) -> None:
        batch = entry.batch
        if batch is None:
            entry.settled = True
        elif not entry.settled:
            is_lost = outcome is DeliveryOutcome.DROPPED
            batch.tell(outcome)
            # As in `_step`.
            entry.settled = True
            batch.open -= 1
            batch.failed += is_lost
