"""Records that have no report in time: they are written down, and stay with librdkafka, which goes on trying.

- A record is *overdue* when it has had no report for `delivery_wait`. It gets a row in the outbox, if it has none, so
  that whoever waits for it can go on; its report, whenever it comes, ends that row. Nothing is taken back: librdkafka
  keeps the order and makes no duplicates, which nobody could do who sends it once more.
- Its partition is held back: newer records for it go to the outbox, behind it, and those that librdkafka has already
  are written down as well. All other partitions flow.
- Where nothing at all has been acknowledged since it was sent, the cluster is *away*: new records go to the outbox at
  once. The background thread still sends one record for each partition of which librdkafka has none, to see.

Time does not count in which this process did not run (stopped, frozen, starved): the reports may be there already. Nor,
without an outbox, does that in which the client is being made: nothing would be gained by giving records up.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from itertools import takewhile

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.outbox import Front
from otel_kafka_exporter.process import monotonic, note, sleep

from .entry import Batch, Entry
from .lane import Lane
from .state import DeliveryState

#: Between two looks no more time counts than this.
LONGEST_LOOK = 0.5
#: How many records are written down under one lock.
_CHUNK = 64
#: A record is overdue after so many times `delivery_wait`, whatever its partition acknowledges.
_PATIENCE = 5
#: How long the reports that are there are served, before a look that finds some has to come again.
_CATCH_UP_SECONDS = 0.05


class Lateness:
    """Finds overdue records, and writes them down.

    Args:
        state: the records' states.
        producer: has them, and says what it last heard.
        delivery_wait: seconds after which one is overdue.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer, delivery_wait: float) -> None:
        self._state = state
        self._producer = producer
        self._delivery_wait = delivery_wait
        self._looked = self._awake = monotonic()

    def look(self) -> None:
        """Write down what is overdue now. Takes the lock itself, and never for long."""
        now = monotonic()
        if now - self._looked > LONGEST_LOOK or self._may_wait():
            self._awake = now  # reports that came meanwhile are served before time counts again
        self._looked = now
        latest = now - self._delivery_wait
        if self._awake > latest or not self._may_be_overdue(latest):
            return
        if not self._producer.catch_up(_CATCH_UP_SECONDS):
            return  # there are reports: nobody knows yet who is late
        for lane in self._state.lanes.values():
            self._write_down(lane, lambda entry: entry.since <= latest, now)

    def expire(self, batch: Batch) -> None:
        """The caller of a batch has waited long enough: what is open of it is overdue."""
        if self._may_wait():
            return
        self._producer.catch_up(_CATCH_UP_SECONDS)
        now = monotonic()
        for lane in self._state.lanes.values():
            self._write_down(lane, lambda entry: entry.batch is batch, now, of_batch=True)

    def _may_wait(self) -> bool:
        """Whether records wait in memory for a client that is being made, and cannot be written down."""
        return self._state.outbox is None and self._producer.is_being_made

    def let_go(self, batch: Batch) -> None:
        """The caller of a batch goes on: what is open of it is written down, and no partition is judged by it yet."""
        for lane in self._state.lanes.values():
            with self._state.lock:
                pending = [entry for entry in lane.recent.values() if entry.batch is batch]
                lane.let_go.update((lane.partition(entry), entry.number) for entry in pending)
            self._keep(lane, pending, frozenset(), None)

    def is_behind(self, batch: Batch) -> bool:
        """Whether all that librdkafka has of a batch is behind records that nobody waits for any more."""
        with self._state.lock:
            lanes = self._state.lanes.values()
            pending = [(lane, entry) for lane in lanes for entry in lane.recent.values() if entry.batch is batch]
            return bool(pending) and all(_is_behind(lane, entry) for lane, entry in pending)

    def _may_be_overdue(self, latest: float) -> bool:
        with self._state.lock:
            lanes = self._state.lanes.values()
            return any(next(iter(lane.recent.values())).since <= latest for lane in lanes if lane.recent)

    def _write_down(
        self, lane: Lane, is_overdue: Callable[[Entry], bool], now: float, *, of_batch: bool = False
    ) -> None:
        state = self._state
        with state.lock:
            # The oldest come first.
            entries = lane.recent.values()
            late = list(filter(is_overdue, entries) if of_batch else takewhile(is_overdue, entries))
            overdue = {entry for entry in late if not self._is_moving(lane, entry, now)}
            beside, newly = self._hold_back(lane, overdue)
            # Before all that waits: newer records are diverted from here on, between two chunks too.
            front = state.outbox.front(lane.stream) if late and state.outbox is not None else None
            # Of a partition that is only slow, what somebody waits for is written down, and nothing is held back.
            pending = sorted({*overdue, *beside, *(late if of_batch else ())}, key=lambda entry: entry.number)
            if newly:  # what is said of them depends on whether the outbox takes the first
                self._keep_some(lane, pending[:1], overdue, front)
                self._judge(lane, overdue)
        self._keep(lane, pending, overdue, front)

    def _keep(self, lane: Lane, pending: list[Entry], overdue: AbstractSet[Entry], front: Front | None) -> None:
        """Write down what librdkafka has not reported on meanwhile, a few under one lock."""
        for start in range(0, len(pending), _CHUNK):
            with self._state.lock:
                self._keep_some(lane, pending[start : start + _CHUNK], overdue, front)
            sleep(0)  # let others have the lock, which would not get it by themselves

    def _keep_some(self, lane: Lane, pending: list[Entry], overdue: AbstractSet[Entry], front: Front | None) -> None:
        """As `_keep`. Expects the lock to be held."""
        for entry in pending:
            if entry.number not in lane.recent:
                continue
            if entry in overdue:
                self._state.overdue(lane, entry, front)
            else:
                self._state.write_down(lane, entry, front)

    def _hold_back(self, lane: Lane, overdue: set[Entry]) -> tuple[list[Entry], bool]:
        """Hold the partitions of overdue records back; what else librdkafka has for those that were not yet, if any.

        Expects the lock to be held.
        """
        numbers = {lane.partition(entry) for entry in overdue}
        newly = numbers - lane.partitions.keys()
        for number in sorted(numbers):  # the same course of things, the same order
            lane.trouble(number).silent = True
        beside = [entry for entry in lane.recent.values() if lane.partition(entry) in newly] if newly else []
        return beside, bool(newly)

    def _is_moving(self, lane: Lane, entry: Entry, now: float) -> bool:
        """Whether its partition acknowledges others, so that it is only a matter of time."""
        acknowledged = lane.acknowledged.get(lane.partition(entry), 0.0)
        return now - acknowledged < self._delivery_wait and now - entry.since < _PATIENCE * self._delivery_wait

    def _judge(self, lane: Lane, overdue: set[Entry]) -> None:
        """Say what is late; and whether it is the cluster that is away. Expects the lock to be held."""
        state = self._state
        if state.away:
            return
        if all(state.acknowledged < entry.since for entry in overdue):
            state.go_away(self._producer.trouble.why("delivery_timeout", state.acknowledged))
            note("away", "Kafka takes no records at present, because of %s; %s", state.away, self._what_becomes(lane))
        else:
            lane.told = True
            numbers = sorted(number for number in lane.partitions if number >= 0)
            which = f"partitions {numbers} of {lane.topic}" if numbers else f"some partitions of {lane.topic}"
            note(f"late:{lane.topic}", "%s acknowledge nothing at present; %s", which, self._what_becomes(lane))

    def _what_becomes(self, lane: Lane) -> str:
        cause = self._producer.trouble.cause(self._state.acknowledged)
        subject, others = ("they", "") if self._state.away else ("their records", ", and the others are delivered")
        so_far = f" ({len(lane.recent) + len(lane.overdue)} so far)" if self._state.outbox is not None else ""
        return f"{subject} {self._state.where()}{so_far}{others}{cause}"


def _is_behind(lane: Lane, entry: Entry) -> bool:
    """Whether librdkafka has an older record for the same partition whose caller waits for it no longer."""
    older = lane.let_go.get(lane.partition(entry), entry.number)
    return older != entry.number and older in lane.recent
