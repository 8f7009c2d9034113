"""The way back from librdkafka, for two cases: a client that is given up, and the end of a shutdown."""

from __future__ import annotations

from collections import deque

from confluent_kafka import KafkaError

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.outbox import Front
from otel_kafka_exporter.process import in_greenlet, monotonic, pause, sleep

from .entry import Entry
from .lane import Lane, Partition
from .state import DeliveryState
from .steps import AT_HAND, WITH_CLIENT

#: How long one wait for reports lasts.
SLICE_SECONDS = 0.05
#: The reason of a retreat that is no failure.
SHUTDOWN = "shutdown"
#: How long the reports on purged records may take; they are local.
_PURGE_SECONDS = 1.0
#: How many records are put away under one lock.
_CHUNK = 64


class Retreat:
    """Takes records back, and puts what came back where it belongs.

    Args:
        state: the records' states.
        producer: has what is on its way.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer) -> None:
        self._state = state
        self._producer = producer

    def take_back(self, client_number: int) -> None:
        """Have everything come back that is on its way; afterwards librdkafka has nothing of it."""
        self._producer.purge(client_number)
        started = monotonic()
        while self._is_on_its_way() and monotonic() < started + _PURGE_SECONDS and self._serve(started):
            pass
        if self._is_on_its_way():  # its client swallowed reports, as one with a fatal error does, or is gone
            self._producer.renew(client_number)
        with self._state.lock:
            self._return_all()

    def _serve(self, since: float) -> bool:
        """Serve reports for a moment; whether there is a client to wait for."""
        if not in_greenlet():
            return self._producer.flush(SLICE_SECONDS)
        is_client = self._producer.flush(0)  # all greenlets wait for a call to the client
        pause(SLICE_SECONDS, since)
        return is_client

    def _is_on_its_way(self) -> bool:
        return any(lane.recent or lane.overdue for lane in self._state.lanes.values())

    def _return_all(self) -> None:
        """No more reports are expected. Expects the lock to be held."""
        for lane in self._state.lanes.values():
            self.return_some(lane, lane.with_client())

    def return_some(self, lane: Lane, entries: list[Entry]) -> None:
        """These entries have no reports to come. Expects the lock to be held."""
        for entry in entries:
            if entry.state in WITH_CLIENT:
                self._state.returned(lane, entry, KafkaError._FATAL)

    def put_all_back(self, reason: str, *, hold: bool = False) -> None:
        """Put everything back that is at hand."""
        for lane in self._state.lanes.values():
            for number in list(lane.partitions):
                self.put_back(lane, number, reason, hold=hold)

    def put_away(self, reason: str) -> None:
        """Put everything away that is not at rest, without a turn: the thread whose turn it is may hang."""
        state = self._state
        with state.lock:
            state.away = reason
            self._return_all()
        self.put_all_back(reason)

    def put_back(self, lane: Lane, number: int, reason: str, *, hold: bool = False) -> None:
        """Into the outbox with all of a partition that is at hand, before everything that waits there.

        Args:
            lane: its lane.
            number: the partition.
            reason: why, for those that cannot be kept.
            hold: whether a process without an outbox sends them once more, by a new client.
        """
        with self._state.lock:
            found = lane.partitions.get(number)
            if found is None:
                return
            failed = [*found.failed, *((entry, KafkaError._PURGE_QUEUE) for entry in found.again)]
            failed.sort(key=lambda failure: failure[0].number)
            # In one step, with no call in it at which Ctrl-C could come: nothing is in neither of the two.
            found.failed, found.again = deque(failed), deque()
            front = self._front(lane, found)
            # Those that librdkafka still has keep their places before newer ones.
            theirs = [each for each in lane.with_client() if front and lane.partition(each) == number]
            late = deque(sorted(theirs, key=lambda each: each.number))
        is_more = True
        while is_more:
            with self._state.lock:
                is_more = self._put_back_some(lane, found, late, reason, front, hold=hold)
                if not is_more and hold:  # newer ones may have come in between
                    found.again = deque(sorted(found.again, key=lambda entry: entry.number))
            sleep(0)  # let others have the lock, which would not get it by themselves

    def _put_back_some(
        self, lane: Lane, found: Partition, late: deque[Entry], reason: str, front: Front | None, *, hold: bool
    ) -> bool:
        """Put some of what came back where it belongs; whether there is more. Expects the lock to be held."""
        for _ in range(min(_CHUNK, len(found.failed))):
            # It stays in the lane until it has found its place: Ctrl-C may come at any moment.
            entry = found.failed[0][0]
            while front and late and late[0].number < entry.number:
                self._state.move(late.popleft(), front)
            entry.group = 0
            entry.alone = False
            if hold and self._state.outbox is None:
                found.again.append(entry)
            elif entry.state in AT_HAND:
                self._state.keep(lane, entry, reason, front=front)
            else:  # Ctrl-C came when it had found its place
                self._state.settle_at_rest(entry)
            found.failed.popleft()
        return bool(found.failed)

    def _front(self, lane: Lane, found: Partition) -> Front | None:
        """Where to put what came back, which is older than everything that waits with the same key.

        Those that all have their places in the outbox, in their order, keep them.
        """
        outbox = self._state.outbox
        if outbox is None:
            return None
        places = [entry.place for entry, _ in found.failed]
        if all(place is not None and outbox.exists(place) for place in places):
            order = [(place.segment.order, place.offset) for place in places if place is not None]
            if order == sorted(order):
                return None
        return outbox.front(lane.stream)
