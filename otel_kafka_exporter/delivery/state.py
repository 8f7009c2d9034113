"""The state of every record of one process, and what each step from one to the next brings about.

Which steps there are stands in `steps`; those to rest are in `rest`, those of records on their way in `flight`, and
here is what reports bring about, for a record and for its partition, its topic and the cluster. Which step is due is
decided elsewhere: by `intake` for new records, by `lateness` for overdue ones, by `recovery` for those that came back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from confluent_kafka import KafkaError, Message

from otel_kafka_exporter.kafka import NO_SCHEMA_ID, Reports, verdict
from otel_kafka_exporter.outbox import OnLoss, Outbox
from otel_kafka_exporter.process import DeliveryOutcome, Disposition, is_interruption, locked, monotonic, note
from otel_kafka_exporter.records import Category

from . import receipts
from .entry import Batch, Entry
from .flight import FlightState
from .lane import Lane
from .steps import WITH_CLIENT, Event, State

Report = tuple[Entry, "KafkaError | None", Message]

#: As in `entry`.
_ACKNOWLEDGED, _DELIVERED = Event.ACKNOWLEDGED, DeliveryOutcome.DELIVERED
#: How many reports are acted upon under one lock.
_REPORTS_AT_ONCE = 64


class DeliveryState(FlightState):
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
        super().__init__(make_outbox, durable, partition_of, reports)
        self._reports.settle = self.settle_reports
        self._reports.lock = self.lock
        self._reports.renewed = self.return_former
        #: Whether no more records are taken.
        self.closed = False
        #: When a broker last acknowledged anything, by the monotonic clock.
        self.acknowledged = 0.0
        #: When a broker last said anything about a record, be it that it refuses it.
        self.answered = 0.0
        #: Bytes of a batch that a topic takes, where a larger one was refused just now; 0 otherwise.
        self.batch_limit = 0
        #: Whether all new records wait, in the outbox, until librdkafka has nothing.
        self.holds_up = False

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

    def settle_reports(self) -> None:
        """Act on the reports that were collected: some under one lock. Takes it itself.

        Called by whoever has served them, in whichever thread; of two at the same time each takes its part.
        """
        collected = self._reports.collected
        is_ours = True
        while collected and is_ours:
            is_ours = locked(self.lock, self._settle_some, _leave, collected)

    def _settle_some(self, collected: deque[Report]) -> bool:
        now = monotonic()
        lanes = self.lanes
        for _ in range(_REPORTS_AT_ONCE):
            if not collected:
                break
            # It is among them until it has been acted upon: Ctrl-C may come in between, and what it is about has left
            # librdkafka then.
            entry, error, message = collected[0]
            if entry.state in WITH_CLIENT:  # else it was given up, with its client
                lane = lanes[entry.record.category]
                try:
                    self._report(lane, entry, error, message, now)
                except BaseException as fault:
                    if isinstance(fault, Exception) and not is_interruption(fault):
                        # It costs no other report.
                        note("exporter_fault", "a delivery report is lost by a fault of the exporter's: %r", fault)
                    else:  # in a thread of the application's: it has its outcome all the same
                        lane.recount()
                        if entry.state in WITH_CLIENT:
                            self._report(lane, entry, error, message, now)
                        elif entry.state is State.DELIVERED:
                            self._delivered(lane, entry, message)
                        raise
            collected.popleft()
        return True

    def _report(self, lane: Lane, entry: Entry, error: KafkaError | None, message: Message, now: float) -> None:
        self.answered = now
        if error is not None:
            self.returned(lane, entry, error.code())
            return
        self.acknowledged = lane.acknowledged[message.partition() or 0] = now
        self._leave_client(lane, entry)
        if entry.place is not None:
            self._leave_outbox(entry)
        self._step(entry, _ACKNOWLEDGED)
        self._delivered(lane, entry, message)

    def _delivered(self, lane: Lane, entry: Entry, message: Message) -> None:
        """What follows from an acknowledgement; nothing more if all of that is done."""
        self._settle(entry, _DELIVERED)
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
        try:
            self._come_back(lane, entry, code)
        except BaseException:  # Ctrl-C
            lane.recount()
            if entry.state in WITH_CLIENT:
                self._come_back(lane, entry, code)
            elif entry not in lane.expected():
                self._await_fate(lane, entry, code)
            else:
                self._end_trial(lane, entry)
            raise

    def _come_back(self, lane: Lane, entry: Entry, code: int) -> None:
        lane.trouble(lane.partition(entry))  # counts it among those with librdkafka
        self._leave_client(lane, entry)
        self._step(entry, Event.RETURNED)
        self._await_fate(lane, entry, code)

    def _await_fate(self, lane: Lane, entry: Entry, code: int) -> None:
        lane.trouble(lane.partition(entry)).failed.append((entry, code))
        self._end_trial(lane, entry)

    def _end_trial(self, lane: Lane, entry: Entry) -> None:
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


def _leave(_collected: deque[Report]) -> bool:
    """Others have the lock: whoever serves reports next acts upon these."""
    return False


def is_away(code: int) -> bool:
    """Whether a failure concerns the whole cluster."""
    return verdict(code).disposition is Disposition.AWAY
