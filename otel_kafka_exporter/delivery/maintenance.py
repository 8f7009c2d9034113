"""What is done now and then, whatever becomes of records: the outbox's files, dead processes' outboxes, partitions."""

from __future__ import annotations

import math

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.outbox import Adopter
from otel_kafka_exporter.process import allocate_lock, chance, monotonic

from .lane import Lane
from .state import DeliveryState

#: How often the outbox's files are looked after.
_CHECK_SECONDS = 1.0
#: How often dead processes' outboxes are looked for, and all of the directory for its bound.
_ADOPT_SECONDS = 10.0
#: Within what time the outbox's directory is first looked at for its bound: a process that crashes soon does so too.
_FIRST_BOUND_SECONDS = 1.0
#: After which part of an adoption reports are served in between.
_ADOPTING_SECONDS = 0.1
#: How long the cluster is waited for to say which one it is, or how many partitions a topic has.
_ASK_SECONDS = 0.25
#: How often partitions are counted once they have been: librdkafka learns of new ones within five minutes.
_COUNT_SECONDS = 60.0
#: How long after a question for them that had no answer the next one comes; twice as long each time, up to that.
_COUNT_AGAIN_SECONDS = 1.0


class Maintenance:
    """Looks after the outbox and its directory, and counts partitions.

    Args:
        state: the records' states.
        producer: asks the cluster.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer) -> None:
        self._state = state
        self._producer = producer
        self._adopting = allocate_lock()
        self._check_at = self._adopt_at = self._bound_at = 0.0
        self._count_again = _COUNT_AGAIN_SECONDS

    def step(self) -> None:
        """Do what is due now. Takes the lock itself, and never for long."""
        now = monotonic()
        if now >= self._check_at:
            self._check_at = now + _CHECK_SECONDS
            self.check_outbox()
            self._count_partitions()
        if now >= self._bound_at:
            # Not all at the same moment, where many processes start together; so with adoption.
            is_first = not self._bound_at
            later = chance.uniform(0.0, _FIRST_BOUND_SECONDS) if is_first else _ADOPT_SECONDS * chance.uniform(0.5, 1.5)
            self._bound_at = now + later
            if not is_first:
                self.keep_bound()
        if now >= self._adopt_at and not self._state.away and not self.adopt(_ADOPTING_SECONDS):
            self._adopt_at = now + _ADOPT_SECONDS * chance.uniform(0.5, 1.5)

    def adopt(self, seconds: float = math.inf) -> bool:
        """Take over what processes that are dead have left in their outboxes, and see what else is there.

        Args:
            seconds: for how long, once something was adopted.

        Returns:
            Whether it was stopped by that, and goes on when it is called again.
        """
        state = self._state
        outbox = state.outbox
        if outbox is None:
            return False
        until = monotonic() + seconds
        with self._adopting:
            topic = next((lane.topic for lane in state.lanes.values() if lane.topic), "")
            # One that is away is not asked: this thread has to find out what is late meanwhile.
            is_there = self._producer.warm or state.acknowledged
            cluster_id = self._producer.cluster_id(topic, _ASK_SECONDS) if is_there else None
            if cluster_id is not None:
                with state.lock:
                    outbox.reached(cluster_id)
            is_more = outbox.adopt(Adopter(state.lock, state.adopted), until)
            if not is_more:
                state.stranded = outbox.stranded()
        return is_more

    def check_outbox(self) -> None:
        """Have the outbox look after its files, and after what operators have done to them."""
        with self._state.lock:
            if self._state.outbox is not None:
                for stream, rows in self._state.outbox.check().items():
                    self._state.settled_by_others(stream, rows)
                for stream, rows in self._state.outbox.cut_off().items():
                    self._state.cut_off(stream, rows)
        self._state.sync()

    def keep_bound(self) -> None:
        """Have the outbox's directory hold no more than all processes together may keep, in an outage too."""
        outbox = self._state.outbox
        if outbox is not None:
            outbox.keep_bound(Adopter(self._state.lock, self._state.adopted))

    def _count_partitions(self) -> None:
        """Find out how many partitions the topics have, so that a key's is known before it is late."""
        for lane in self._state.lanes.values():
            if self._is_to_be_counted(lane):
                count = self._producer.partitions(lane.topic, _ASK_SECONDS)
                with self._state.lock:
                    self._counted(lane, count)

    def _is_to_be_counted(self, lane: Lane) -> bool:
        is_quiet = not (lane.partitions or lane.blocked or self._state.away)
        return bool(lane.topic) and is_quiet and monotonic() >= lane.count_at

    def _counted(self, lane: Lane, count: int) -> None:
        """Expects the lock to be held."""
        if not count:  # reports wait while it is asked
            lane.count_at = monotonic() + self._count_again
            self._count_again = min(2 * self._count_again, _COUNT_SECONDS)
        elif not lane.partitions:
            lane.count, lane.count_at = count, monotonic() + _COUNT_SECONDS
            self._count_again = _COUNT_AGAIN_SECONDS
