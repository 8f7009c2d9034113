"""Records on their way to Kafka: the steps into librdkafka's hands, and out of them where it has not reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.kafka import Reports
from otel_kafka_exporter.outbox import SENT, WAITING, Front, OnLoss, Outbox, Place, encode_row
from otel_kafka_exporter.process import DeliveryOutcome, monotonic
from otel_kafka_exporter.records import Category, KafkaRecord

from .entry import Batch, Entry
from .lane import Lane
from .rest import RestState
from .steps import WITH_CLIENT, Event, State

#: As in `entry`.
_SEND, _LATE = Event.SEND, State.LATE


class FlightState(RestState):
    """The records on their way. Methods expect `lock` to be held, unless they say otherwise.

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
        #: Why nothing at all is acknowledged at present; empty when something is.
        self.away = ""
        self._number = 0

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
        self._step(entry, _SEND)
        if entry.state is _LATE and self._has_lost(entry):
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
