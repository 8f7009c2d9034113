"""Giving records to librdkafka: new ones, those that wait in the outbox, and those that are sent once more."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from otel_kafka_exporter.kafka import NO_SCHEMA_ID, KafkaProducer, NoSchemaIdError, OnReport
from otel_kafka_exporter.outbox import decode_row
from otel_kafka_exporter.process import is_interruption, note
from otel_kafka_exporter.records import KafkaRecord

from .entry import Entry
from .lane import Lane
from .state import DeliveryState
from .steps import AT_HAND, WITH_CLIENT

#: Records of the outbox that are on their way at the same time, and how many are sent under one lock.
_WINDOW = 5_000
_CHUNK = 64
#: Waiting records that are passed over under one lock, since their partition takes none.
_SKIPPED = 256
#: How many waiting records a caller takes along whose own one had to go behind them.
_TAKEN_ALONG = 2


class Sending:
    """Sends records.

    Args:
        state: the records' states.
        producer: takes them to Kafka.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer) -> None:
        self._state = state
        self._producer = producer
        self._produce: Callable[[KafkaRecord, OnReport, int], None] = producer.produce

    def end(self) -> None:
        """Send nothing more: in a forked child, where a call of the parent's may go on that a handler forked in."""
        self._produce = _refuse

    def send(self, lane: Lane, entry: Entry) -> bool:
        """Give an entry to librdkafka; whether there was room. Without it the entry is at hand again.

        Expects the lock to be held.
        """
        state = self._state
        number = self._producer.client_number
        try:
            self._produce(entry.record, entry.report, entry.partition)
            entry.client = number
        except BufferError:
            state.no_room(lane, entry)
            return False
        except Exception as error:
            if is_interruption(error):
                raise
            self._refused(lane, entry, number, self._code_of(error, entry))
        return True

    @staticmethod
    def _code_of(error: Exception, entry: Entry) -> int:
        """What Kafka would say of a record that was refused at once."""
        if isinstance(error, KafkaException):
            return int(error.args[0].code())
        if isinstance(error, NoSchemaIdError):
            return NO_SCHEMA_ID
        if isinstance(error, RuntimeError):  # there is no client: closed or given up meanwhile, or it cannot be made
            return KafkaError._DESTROY
        if isinstance(error, (TypeError, ValueError)):
            note("unsendable", "a record for %s is nothing that can be sent: %s", entry.record.topic, error)
            return KafkaError._INVALID_ARG
        # No memory, or a fault of the client: another one may do better.
        note("producer_fault", "the Kafka producer failed, with %s: %s", type(error).__name__, error)
        # Alone, and by a new client by now: then it is the record after all.
        return KafkaError._INVALID_ARG if entry.alone else KafkaError._FATAL

    def _refused(self, lane: Lane, entry: Entry, client_number: int, code: int) -> None:
        entry.client = client_number
        self._state.returned(lane, entry, code)

    def load(self, lane: Lane) -> Entry | None:
        """The next waiting record that may be sent, as an entry that is on its way. Expects the lock to be held."""
        state = self._state
        if state.outbox is None:
            return None
        for _ in range(_SKIPPED):
            place = state.outbox.next_waiting(lane.stream, lane.cursor)
            if place is None:
                return None
            lane.cursor = place
            try:
                record = decode_row(state.outbox.read(place), lane.category).record
            except ValueError as error:
                state.damaged(lane, place, error)
                continue
            if not self._may_go(lane, record.key):
                continue
            return state.resume(lane, record, place)
        return None

    def _may_go(self, lane: Lane, key: bytes | None) -> bool:
        """Whether the partition of a waiting record takes records, as far as is known."""
        if key is None and lane.count:
            return bool(lane.open_partitions())
        return lane.takes(lane.partition_of(key))

    def waits(self, lane: Lane) -> bool:
        """Whether anything of a lane waits in the outbox. Expects the lock to be held."""
        return self._state.outbox is not None and self._state.outbox.waiting(lane.stream) > 0

    def drain(self, lane: Lane) -> None:
        """Send what waits in the outbox, oldest first, as far as librdkafka takes it."""
        is_room = True
        while is_room:
            with self._state.lock:
                is_room = self._send_waiting(lane, _CHUNK)

    def take_along(self, lane: Lane) -> bool:
        """Send some of what waits; whether too much is on its way for that. Expects the lock to be held.

        A caller whose record went behind others does so, and serves reports where there are too many to come: threads
        that log without a pause leave the thread that drains the outbox so little of the interpreter that it would
        never catch up.
        """
        if self._state.away or lane.partitions:
            return False  # what waits does so for a reason: the background thread looks through it
        self._send_waiting(lane, _TAKEN_ALONG)
        return len(lane.recent) >= _WINDOW

    def _send_waiting(self, lane: Lane, records: int) -> bool:
        """Send so many waiting records; whether there may be more. Expects the lock to be held."""
        for _ in range(records):
            if lane.blocked or self._state.holds_up or len(lane.recent) >= _WINDOW:
                return False
            before = lane.cursor
            entry, room = self._send_next(lane)
            if entry is None:
                return lane.cursor is not before  # there may be more behind what was passed over
            if not room:
                return False
        return True

    def _send_next(self, lane: Lane, *, trial: bool = False) -> tuple[Entry | None, bool]:
        """Send the next waiting record that may be sent, if there is one; whether there was room.

        Expects the lock to be held.
        """
        try:
            entry = self.load(lane)
            if entry is None:
                return None, True
            if trial:
                entry.alone = entry.trial = lane.trial = True
            room = self.send(lane, entry)
            if not room:
                entry.trial = lane.trial = False
                self._state.keep(lane, entry, "queue_full")
        except BaseException:  # Ctrl-C, in a thread of the application's
            if lane.cursor is not None:
                self._state.not_sent(lane, lane.cursor)
            raise
        return entry, room

    def send_again(self, lane: Lane, number: int) -> None:
        """Send what is to be sent once more to a partition, as far as those before it have been reported on."""
        is_room = True
        while is_room:
            with self._state.lock:
                is_room = self._send_group(lane, number)
        # A batch that nothing will be added to need not linger.
        self._producer.flush(0)

    def _send_group(self, lane: Lane, number: int) -> bool:
        """Send some of those that may go beside each other; whether there are more. Expects the lock to be held."""
        found = lane.partitions.get(number)
        for _ in range(_CHUNK):
            if found is None or not found.again or found.failed or not lane.may_try(found):
                return False
            if found.open and found.again[0].group != found.group:
                return False
            again, entry = found.again, found.again[0]
            del again[0]
            try:
                entry = self._state.successor(entry)
                entry.alone = bool(entry.group) and not found.open and not (again and again[0].group == entry.group)
                found.group = entry.group
                self._state.depart(lane, entry)
                is_room = self.send(lane, entry)
            except BaseException:  # Ctrl-C, in a thread of the application's that waits
                if entry.state in WITH_CLIENT and not entry.client:
                    self._state.no_room(lane, entry)  # librdkafka may have it or not: rather twice than not at all
                if entry.state in AT_HAND:
                    again.appendleft(entry)
                lane.recount()
                raise
            if not is_room:
                again.appendleft(entry)
                return False
        return True

    def try_oldest(self, lane: Lane) -> None:
        """Send the oldest waiting record of a blocked lane alone; its report tells whether the way is open."""
        lane.cursor = None
        entry, is_more = None, True
        while is_more:
            with self._state.lock:
                before = lane.cursor
                entry, room = self._send_next(lane, trial=True)
                is_more = entry is None and lane.cursor is not before  # behind what was passed over
                if not room:
                    lane.try_later()
                elif not is_more and not self.waits(lane):
                    lane.blocked = ""  # the next record will tell


def _refuse(_record: KafkaRecord, _on_report: OnReport, _partition: int) -> None:
    raise RuntimeError("it is the parent's")
