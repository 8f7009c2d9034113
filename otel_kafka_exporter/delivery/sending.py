"""Giving records to librdkafka: new ones, those that wait in the outbox, and those that are sent once more."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException

from otel_kafka_exporter.kafka import NO_SCHEMA_ID, KafkaProducer, NoSchemaIdError
from otel_kafka_exporter.outbox import decode_row
from otel_kafka_exporter.process import note

from .entry import Entry
from .lane import Lane
from .state import DeliveryState

#: Records of the outbox that are on their way at the same time, and how many are sent under one lock.
_WINDOW = 5_000
_CHUNK = 64
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

    def send(self, lane: Lane, entry: Entry) -> bool:
        """Give an entry to librdkafka; whether there was room. Expects the lock to be held."""
        entry.client = self._producer.client_number
        try:
            self._producer.produce(entry.record, entry.report)
        except BufferError:
            lane.in_flight.pop(entry.number, None)
            if entry.spooled:
                self._state.keep(lane, entry, "queue_full")
            return False
        except KafkaException as error:
            self._state.fail(lane, entry, error.args[0].code())
        except NoSchemaIdError:
            self._state.fail(lane, entry, NO_SCHEMA_ID)
        except RuntimeError:  # there is no client: closed or given up meanwhile, or it cannot be made
            self._state.fail(lane, entry, KafkaError._DESTROY)
        except (TypeError, ValueError) as error:
            note("unsendable", "a record for %s is nothing that can be sent: %s", entry.record.topic, error)
            self._state.fail(lane, entry, KafkaError._INVALID_ARG)
        except Exception as error:  # noqa: BLE001 - no memory, or a fault of the client: another one may do better
            note("producer_fault", "the Kafka producer failed, with %s: %s", type(error).__name__, error)
            # Alone, and by a new client by now: then it is the record after all.
            self._state.fail(lane, entry, KafkaError._INVALID_ARG if entry.alone else KafkaError._FATAL)
        return True

    def load(self, lane: Lane) -> Entry | None:
        """The next waiting record of a lane, as an entry that is on its way. Expects the lock to be held."""
        state = self._state
        if state.outbox is None:
            return None
        while (place := state.outbox.next_waiting(lane.stream, lane.cursor)) is not None:
            lane.cursor = place
            try:
                record = decode_row(state.outbox.read(place), lane.category).record
            except ValueError as error:
                state.damaged(lane, place, error)
                continue
            return state.resume(lane, record, place)
        return None

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
        self._send_waiting(lane, _TAKEN_ALONG)
        return len(lane.in_flight) >= _WINDOW and not self._state.away

    def _send_waiting(self, lane: Lane, records: int) -> bool:
        """Send so many waiting records; whether there may be more. Expects the lock to be held."""
        for _ in range(records):
            if self._state.away or lane.holds_back() or len(lane.in_flight) >= _WINDOW:
                return False
            entry = self.load(lane)
            if entry is None or not self.send(lane, entry):
                return False
        return True

    def send_again(self, lane: Lane) -> None:
        """Send what is to be sent once more, as far as those before it have been reported on."""
        is_room = True
        while is_room:
            with self._state.lock:
                is_room = self._send_group(lane)
        # A batch that nothing will be added to need not linger.
        self._producer.flush(0)

    def _send_group(self, lane: Lane) -> bool:
        """Send some of those that may go beside each other; whether there are more. Expects the lock to be held."""
        again = lane.again
        for _ in range(_CHUNK):
            if not again or lane.failed or (lane.in_flight and again[0].group != lane.group):
                return False
            entry = again.popleft()
            entry.alone = bool(entry.group) and not lane.in_flight and not (again and again[0].group == entry.group)
            entry.since = time.monotonic()
            lane.group = entry.group
            self._state.depart(lane, entry)
            if not self.send(lane, entry):
                again.appendleft(entry)
                return False
        return True

    def try_oldest(self, lane: Lane) -> None:
        """Send the oldest waiting record of a lane alone; its report tells whether the way is open."""
        with self._state.lock:
            entry = self.load(lane)
            if entry is None:
                lane.blocked = ""  # nothing waits: the next record will tell
            else:
                entry.alone = entry.trial = True
                self.send(lane, entry)
