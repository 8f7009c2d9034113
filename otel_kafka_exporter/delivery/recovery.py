"""Records that failed, and those that wait in the outbox: what happens next to them.

One thread at a time decides: the background thread, or a caller who waits for outcomes.

- The cluster is *away* when a report says so, or when nothing was acknowledged for `delivery_wait`. Then everything
  that is on its way is purged and put before all that waits in the outbox, in the order of hand-over, and new records
  go behind it. The cluster is asked with a growing pause; once it answers, the oldest record goes alone, because a
  cluster with too few in-sync replicas answers too. When that one is acknowledged, the rest follows.
- A topic is *blocked* when a broker refuses it: it does not exist, or may not be written to. Its records wait, and
  its oldest one is tried with a growing pause. The other topics flow.
- A record that a broker refuses may be refused for another one in its batch: its lane pauses until everything on its
  way is reported on, and then those that were refused go again in two halves, one after the other, each of which is
  halved again if it is refused. Whoever is refused alone is a dead letter.
- The rest of the outbox is drained, oldest first, as fast as librdkafka takes it, while new records of other keys flow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from confluent_kafka import KafkaError

from otel_kafka_exporter.kafka import NO_SCHEMA_ID, KafkaProducer, verdict
from otel_kafka_exporter.process import Disposition, note

from .lane import Lane
from .retreat import SHUTDOWN, Retreat
from .sending import Sending
from .state import DeliveryState, is_away

#: How long one question to a cluster that is away may take, and the pauses between two.
_PROBE_SECONDS = 0.25
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
#: The same for a blocked topic: an operator is slower than an election.
_LONGEST_BLOCK = 5.0
#: A record is given up at the latest after so many times `delivery_wait` without its report, whatever else flows.
_PATIENCE = 5
#: A client with a fatal error purges what it has, and may report that first. Our own purges are heard of in `_retreat`.
_END_OF_A_CLIENT = frozenset({KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class Recovery:
    """Decides over failed and waiting records.

    Args:
        state: the records' states.
        producer: takes them to Kafka.
        sending: how they get there.
        retreat: how they come back.
        delivery_wait: seconds without an acknowledgement after which the cluster is away.
        message_timeout: seconds after which librdkafka gives a record up; ours has to be over before.
    """

    def __init__(
        self,
        state: DeliveryState,
        producer: KafkaProducer,
        sending: Sending,
        retreat: Retreat,
        delivery_wait: float,
        message_timeout: float,
    ) -> None:
        self._state = state
        self._producer = producer
        self._sending = sending
        self._retreat = retreat
        self._delivery_wait = delivery_wait
        self._patience = min(_PATIENCE * delivery_wait, 0.75 * message_timeout)
        self._client_number = producer.client_number
        self._probe_at = 0.0
        self._pause = _FIRST_PAUSE
        #: Held by the one thread that decides; not reentrant, because a signal handler must not decide in between.
        self._turn = threading.Lock()

    def step(self) -> None:
        """Do whatever is due now, unless another thread is at it. Takes the lock itself, and never for long."""
        if self._turn.acquire(blocking=False):
            try:
                self._step()
            finally:
                self._turn.release()

    def retreat_if(self, condition: Callable[[], bool], reason: str, seconds: float) -> bool:
        """Take everything back, if that still has to be when its turn comes; whether it came in so many seconds."""
        if not self._turn.acquire(timeout=seconds):
            return False
        try:
            if condition():
                self._go_back(reason)
        finally:
            self._turn.release()
        return True

    def is_sorting_out(self) -> bool:
        """Whether brokers answer, and refuse some of what they are sent. Takes the lock itself."""
        state = self._state
        with state.lock:
            refused = any(lane.paused for lane in state.lanes.values())
            return refused and not state.away and time.monotonic() - state.answered < self._delivery_wait

    def waits_for_frames(self) -> list[Lane]:
        """The lanes that are blocked for want of a schema's ID only; they are tried at once from here on."""
        with self._state.lock:
            lanes = [lane for lane in self._state.lanes.values() if lane.blocked == verdict(NO_SCHEMA_ID).reason]
            for lane in lanes:
                lane.backoff = lane.probe_at = 0.0
        return lanes

    def may_be_framed(self, lanes: Collection[Lane]) -> bool:
        """Whether something of these waits that is about to be sent."""
        with self._state.lock:
            return any(self._sending.waits(lane) and self._producer.frame_is_near(lane.topic) for lane in lanes)

    def adopt(self) -> int:
        """Take over what processes that are dead have left in their outboxes; how many records."""
        state = self._state
        with state.lock:
            outbox = state.outbox
            if outbox is None:
                return 0
            steps = outbox.adopt()
        records = 0
        is_more = True
        try:
            while is_more:
                with state.lock:
                    found = next(steps, None) if state.outbox is outbox else None
                    if found is not None:
                        state.adopted(*found)
                        records += found[1]
                    is_more = found is not None
                time.sleep(0)  # let others have the lock, which would not get it by themselves
        finally:
            steps.close()
        return records

    def check_outbox(self) -> None:
        """Have the outbox look after its files, and after what operators have done to them."""
        with self._state.lock:
            if self._state.outbox is not None:
                for stream, rows in self._state.outbox.check().items():
                    self._state.settled_by_others(stream, rows)

    def _step(self) -> None:
        self._judge()
        now = time.monotonic()
        if self._is_stalled(now):
            self._go_back("delivery_timeout")
        if self._state.away:
            if now >= self._probe_at and not self._in_flight():
                self._probe()
            return
        for lane in self._state.lanes.values():
            if lane.failed:
                continue  # until everything on its way is reported on
            if lane.again:
                self._sending.send_again(lane)
            elif lane.blocked:
                if now >= lane.probe_at and not lane.in_flight:
                    self._sending.try_oldest(lane)
            else:
                if lane.paused:
                    with self._state.lock:
                        lane.paused = bool(lane.in_flight or lane.failed or lane.again)
                self._sending.drain(lane)

    def due(self) -> float:
        """Seconds until there is something to do that no event tells of; takes the lock itself."""
        state = self._state
        with state.lock:
            if state.away:
                return max(0.0, self._probe_at - time.monotonic())
            waits = [lane.probe_at - time.monotonic() for lane in state.lanes.values() if lane.blocked]
            return max(0.0, min(waits, default=1.0))

    # What has failed

    def _judge(self) -> None:
        """Decide over what failed, as far as all reports on its lane are in."""
        state = self._state
        with state.lock:
            state.attention.clear()
            self._fail_those_of_former_clients()
            number = self._producer.client_number
            away = [failure for lane in state.lanes.values() for failure in lane.failed if is_away(failure[1])]
            # Not the cluster's fault, or not surely: a producer that is new may do better.
            former = any(entry.client != number for entry, _ in away)
            fatal = any(code in _END_OF_A_CLIENT for _, code in away)
            was_away = state.away
            if away:
                state.away = verdict(away[0][1]).reason  # at once: nothing goes to a client that is to be given up
        if away:
            if fatal and not former:
                self._producer.renew(number)
            self._go_back(state.away, was_away=was_away, hold=fatal or former)
            return
        for lane in state.lanes.values():
            if lane.failed and not lane.in_flight:
                self._dispose(lane)

    def _fail_those_of_former_clients(self) -> None:
        """A client that was given up has taken its reports along. Expects the lock to be held."""
        number = self._producer.client_number
        if number != self._client_number:
            self._client_number = number
            for lane in self._state.lanes.values():
                for entry in [entry for entry in lane.in_flight.values() if entry.client != number]:
                    self._state.fail(lane, entry, KafkaError._FATAL)

    def _go_back(self, reason: str, *, was_away: str | None = None, hold: bool = False) -> None:
        """The cluster is away: take everything back that is on its way, and put it before all that waits."""
        state = self._state
        with state.lock:
            was_away = state.away if was_away is None else was_away
            state.away = reason
            number = self._producer.client_number
        if not was_away and reason != SHUTDOWN:
            cause = f"; last error: {self._producer.last_error}" if self._producer.last_error else ""
            where = "wait in the outbox" if state.outbox is not None else "are dropped, since there is no outbox"
            note(f"away:{reason}", "Kafka takes no records at present, because of %s; they %s%s", reason, where, cause)
        self._retreat.take_back(number)
        for lane in state.lanes.values():
            self._retreat.put_back(lane, reason, hold=hold and not was_away)
        self._pause_probing(_FIRST_PAUSE if not was_away else 2 * self._pause)
        if not was_away:
            self._probe_at = 0.0  # at once: it may have been the producer's fault alone

    def _pause_probing(self, seconds: float) -> None:
        self._pause = min(seconds, _LONGEST_PAUSE)
        self._probe_at = time.monotonic() + self._pause

    def _dispose(self, lane: Lane) -> None:
        """Decide over a lane's failures, none of which is the cluster's."""
        state = self._state
        with state.lock:
            if any(code != NO_SCHEMA_ID for _, code in lane.failed):
                state.away = ""  # whoever refuses a record is there
                state.answered = time.monotonic()
            verdicts = [verdict(code) for _, code in lane.failed]
            blocked = next((each.reason for each in verdicts if each.disposition is Disposition.BLOCKED), "")
            if not blocked:
                self._halve(lane)
            elif state.outbox is not None:
                self._block(lane, blocked)
            else:
                note(
                    f"blocked:{lane.topic}:{blocked}",
                    "%s records are dropped, because of %s at the topic %s, and because there is no outbox",
                    *(lane.category, blocked, lane.topic),
                )
        if blocked:
            # All of them: what is a dead letter for itself is found to be one when the topic is open again.
            self._retreat.put_back(lane, blocked, hold=False)
        state.attention.set()

    def _halve(self, lane: Lane) -> None:
        """Have both halves of the refused ones sent again; done with who was alone. Expects the lock to be held."""
        state = self._state
        again = []
        for entry, code in sorted(lane.failed, key=lambda failure: failure[0].number):
            if not entry.alone:
                again.append(entry)
            elif code == KafkaError.INVALID_TIMESTAMP and entry.record.milliseconds:
                entry.record = entry.record._replace(milliseconds=0)  # librdkafka takes the time of sending
                again.append(entry)
            else:
                reason = verdict(code).reason
                state.dead_letter(lane, entry, reason)
                note(reason, "a record for %s was refused for good: %s", entry.record.topic, reason)
        lane.failed.clear()
        middle = (len(again) + 1) // 2
        for half in (again[middle:], again[:middle]):
            for entry in half:
                entry.group = half[0].number
            lane.again.extendleft(reversed(half))
        lane.paused = bool(lane.again)

    def _block(self, lane: Lane, reason: str) -> None:
        lane.backoff = min(2 * lane.backoff, _LONGEST_BLOCK) if lane.blocked else _FIRST_PAUSE
        lane.probe_at = time.monotonic() + lane.backoff
        if not lane.blocked and reason != verdict(NO_SCHEMA_ID).reason:  # the registry's client says more
            note(
                f"blocked:{lane.topic}:{reason}",
                "%s records wait in the outbox, because of %s at the topic %s; it is tried again and again",
                *(lane.category, reason, lane.topic),
            )
        lane.blocked = reason

    # What waits

    def _probe(self) -> None:
        """Ask a cluster that is away whether it is back, and send one record to see."""
        state = self._state
        with state.lock:
            lane = next((lane for lane in state.lanes.values() if not lane.blocked and self._sending.waits(lane)), None)
        topic = next((lane.topic for lane in state.lanes.values() if lane.topic), "")
        if not self._producer.reachable(topic, _PROBE_SECONDS):
            with state.lock:
                state.away = "broker_unavailable"
            patience_ends = time.monotonic() - self._delivery_wait
            for each in state.lanes.values():
                if each.again and each.again[0].since < patience_ends:
                    self._retreat.put_back(each, state.away, hold=False)
            self._pause_probing(2 * self._pause)
        elif lane is None:
            with state.lock:
                state.away = ""
        else:
            self._sending.try_oldest(lane)

    def _in_flight(self) -> bool:
        return any(lane.in_flight for lane in self._state.lanes.values())

    def _is_stalled(self, now: float) -> bool:
        """Whether a record has been on its way for too long."""
        with self._state.lock:
            oldest = min(
                (next(iter(lane.in_flight.values())).since for lane in self._state.lanes.values() if lane.in_flight),
                default=now,
            )
            silent = min(now - oldest, now - self._state.acknowledged)
            return silent > self._delivery_wait or now - oldest > self._patience
