"""The way back from librdkafka: what is on its way is taken back, and put where it belongs."""

from __future__ import annotations

import time
from collections import deque

from confluent_kafka import KafkaError

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.outbox import Front

from .lane import Lane
from .state import DeliveryState

#: How long one wait for reports lasts.
SLICE_SECONDS = 0.05
#: The reason of a retreat that is no failure.
SHUTDOWN = "shutdown"
#: How long the reports on purged records may take; they are local.
_PURGE_SECONDS = 1.0
#: How many records are put away under one lock.
_CHUNK = 64


class Retreat:
    """Takes records back.

    Args:
        state: the records' states.
        producer: has what is on its way.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer) -> None:
        self._state = state
        self._producer = producer

    def take_back(self, client_number: int) -> None:
        """Have everything failed that is on its way; afterwards librdkafka has nothing of it."""
        self._producer.purge(client_number)
        deadline = time.monotonic() + _PURGE_SECONDS
        while self._is_in_flight() and time.monotonic() < deadline and self._producer.flush(SLICE_SECONDS):
            pass
        if self._is_in_flight():  # its client swallowed reports, as one with a fatal error does, or is gone
            self._producer.renew(client_number)
        with self._state.lock:
            self._fail_all()

    def _is_in_flight(self) -> bool:
        return any(lane.in_flight for lane in self._state.lanes.values())

    def _fail_all(self) -> None:
        """No more reports are expected. Expects the lock to be held."""
        for lane in self._state.lanes.values():
            for entry in list(lane.in_flight.values()):
                self._state.fail(lane, entry, KafkaError._FATAL)

    def put_away(self, reason: str) -> None:
        """Put everything away that is not at rest, without a turn: the thread whose turn it is may hang."""
        state = self._state
        with state.lock:
            state.away = reason
            self._fail_all()
            for lane in state.lanes.values():
                self._gather(lane)
                front = self._front(lane)
                while self._put_back_some(lane, reason, front, hold=False):
                    pass

    def put_back(self, lane: Lane, reason: str, *, hold: bool) -> None:
        """Into the outbox with all that failed in a lane, before everything that waits there.

        Args:
            lane: the lane.
            reason: why, for those that cannot be kept.
            hold: whether a process without an outbox sends them once more, by a new client.
        """
        with self._state.lock:
            self._gather(lane)
            front = self._front(lane)
        is_more = True
        while is_more:
            with self._state.lock:
                is_more = self._put_back_some(lane, reason, front, hold=hold)
            time.sleep(0)  # let others have the lock, which would not get it by themselves
        with self._state.lock:
            lane.paused = bool(lane.again)

    @staticmethod
    def _gather(lane: Lane) -> None:
        """Put what failed and what was to be sent again in one order. Expects the lock to be held."""
        failed = [*lane.failed, *((entry, KafkaError._PURGE_QUEUE) for entry in lane.again)]
        lane.failed = deque(sorted(failed, key=lambda failure: failure[0].number))
        lane.again.clear()

    def _put_back_some(self, lane: Lane, reason: str, front: Front | None, *, hold: bool) -> bool:
        """Put some of what failed where it belongs; whether there is more. Expects the lock to be held."""
        state = self._state
        for _ in range(min(_CHUNK, len(lane.failed))):
            # It stays in the lane until it has found its place: Ctrl-C may come at any moment.
            entry = lane.failed[0][0]
            entry.group = 0
            entry.alone = False
            if hold and state.outbox is None:
                lane.again.append(entry)
            else:
                state.keep(lane, entry, reason, front=front)
            lane.failed.popleft()
        return bool(lane.failed)

    def _front(self, lane: Lane) -> Front | None:
        """Where to put what failed, which is older than everything that waits with the same key.

        Those that all have their places in the outbox have them in the right order.
        """
        if self._state.outbox is None or all(entry.place is not None for entry, _ in lane.failed):
            return None
        return self._state.outbox.front(lane.stream)
