"""Records that failed, and those that wait in the outbox: what happens next to them.

One thread at a time is in here: the background thread, or a caller who waits for outcomes.

- The cluster is *away* when a report says so, or when nothing was acknowledged for `delivery_wait`. Then everything
  that is on its way is purged and put before all that waits in the outbox, in the order of hand-over, and new records
  go behind it. The cluster is asked with a growing pause; once it answers, the oldest record goes alone, because a
  cluster with too few in-sync replicas answers too. When that one is acknowledged, the rest follows.
- A topic is *blocked* when a broker refuses it: it does not exist, or may not be written to. Its records wait, and
  its oldest one is tried with a growing pause. The other topics flow.
- A record that a broker refuses may be refused for another one in its batch: its lane pauses until everything on its
  way is reported on, and then each refused record goes alone. Whoever is refused alone is a dead letter.
- The rest of the outbox is drained, oldest first, as fast as librdkafka takes it, while new records of other keys flow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from .entry import Entry
from .kafka_errors import verdict
from .lane import Lane
from .outbox import Front
from .outcome import Disposition
from .producer import KafkaProducer
from .rows import decode_row
from .state import DeliveryState, is_away
from .telemetry import warn

#: How long one wait for reports lasts.
SLICE_SECONDS = 0.05
#: The reason of a retreat that is no failure.
SHUTDOWN = "shutdown"
#: How long the reports on purged records may take; they are local.
_PURGE_SECONDS = 1.0
#: How long one question to a cluster that is away may take, and the pauses between two.
_PROBE_SECONDS = 0.25
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
#: The same for a blocked topic: an operator is slower than an election.
_LONGEST_BLOCK = 5.0
#: A record is given up at the latest after so many times `delivery_wait` without its report, whatever else flows.
_PATIENCE = 5
#: Records of the outbox that are on their way at the same time, and how many are sent under one lock.
_WINDOW = 5_000
_CHUNK = 64
#: A client with a fatal error purges what it has, and may report that first. Our own purges are heard of in `_retreat`.
_END_OF_A_CLIENT = frozenset({KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class Recovery:
    """Decides over failed and waiting records.

    Args:
        state: the records' states.
        producer: takes them to Kafka.
        delivery_wait: seconds without an acknowledgement after which the cluster is away.
        message_timeout: seconds after which librdkafka gives a record up; ours has to be over before.
    """

    def __init__(
        self, state: DeliveryState, producer: KafkaProducer, delivery_wait: float, message_timeout: float
    ) -> None:
        self._state = state
        self._producer = producer
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

    def retreat_if(self, condition: Callable[[], bool], reason: str, seconds: float) -> None:
        """Take everything back, if that still has to be when it is this thread's turn, within so many seconds."""
        if self._turn.acquire(timeout=seconds):
            try:
                if condition():
                    self._retreat(reason)
            finally:
                self._turn.release()

    def adopt(self) -> None:
        """Take over what processes that are dead have left in their outboxes."""
        with self._state.lock:
            if self._state.outbox is None:
                return
            for stream, rows in self._state.outbox.adopt().items():
                self._state.adopted(stream, rows)

    def check_outbox(self) -> None:
        """Have the outbox look after its files."""
        with self._state.lock:
            if self._state.outbox is not None:
                self._state.outbox.check()

    def _step(self) -> None:
        self._judge()
        now = time.monotonic()
        if self._is_stalled(now):
            self._retreat("delivery_timeout")
        if self._state.away:
            if now >= self._probe_at and not self._in_flight():
                self._probe()
            return
        for lane in self._state.lanes.values():
            if lane.failed:
                continue  # until everything on its way is reported on
            if lane.again:
                self._send_again(lane)
            elif lane.blocked:
                if now >= lane.probe_at and not lane.in_flight:
                    self._try(lane)
            elif lane.paused:
                lane.paused = bool(lane.in_flight)
            else:
                self._drain(lane)

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
        if away:
            # Not the cluster's fault, or not surely: a producer that is new may do better.
            former = any(entry.client != number for entry, _ in away)
            fatal = any(code in _END_OF_A_CLIENT for _, code in away)
            if fatal and not former:
                self._producer.renew(number)
            self._retreat(verdict(away[0][1]).reason, hold=fatal or former)
            return
        for lane in state.lanes.values():
            with state.lock:
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

    def _retreat(self, reason: str, *, hold: bool = False) -> None:
        """The cluster is away: take everything back that is on its way, and put it before all that waits."""
        state = self._state
        with state.lock:
            was_away, state.away = state.away, reason
            number = self._producer.client_number
        if not was_away and reason != SHUTDOWN:
            cause = f"; last error: {self._producer.last_error}" if self._producer.last_error else ""
            warn(f"away:{reason}", "the Kafka cluster takes no records at present, because of %s%s", reason, cause)
        self._producer.purge(number)
        deadline = time.monotonic() + _PURGE_SECONDS
        while self._in_flight() and time.monotonic() < deadline and self._producer.flush(SLICE_SECONDS):
            pass
        if self._in_flight():  # its client swallowed reports, as one with a fatal error does, or is gone
            self._producer.renew(number)
        with state.lock:
            for lane in state.lanes.values():
                for entry in list(lane.in_flight.values()):
                    state.fail(lane, entry, KafkaError._FATAL)
        for lane in state.lanes.values():
            self._put_back(lane, reason, hold=hold and not was_away)
        self._pause_probing(_FIRST_PAUSE if not was_away else 2 * self._pause)
        if not was_away:
            self._probe_at = 0.0  # at once: it may have been the producer's fault alone

    def _pause_probing(self, seconds: float) -> None:
        self._pause = min(seconds, _LONGEST_PAUSE)
        self._probe_at = time.monotonic() + self._pause

    def _put_back(self, lane: Lane, reason: str, *, hold: bool) -> None:
        """Into the outbox with all that failed in a lane, before everything that waits there.

        Args:
            lane: the lane.
            reason: why, for those that cannot be kept.
            hold: whether a process without an outbox sends them once more, by a new client.
        """
        state = self._state
        with state.lock:
            # They stay in the lane until each has found its place: Ctrl-C may come at any moment.
            lane.failed.extend((entry, KafkaError._PURGE_QUEUE) for entry in lane.again)
            lane.failed.sort(key=lambda failure: failure[0].number)
            lane.again.clear()
            front = self._front(lane, [entry for entry, _ in lane.failed])
        while lane.failed:
            with state.lock:
                chunk = lane.failed[:_CHUNK]
                for entry, _ in chunk:
                    entry.alone = False
                    if hold and state.outbox is None:
                        lane.again.append(entry)
                    else:
                        state.keep(lane, entry, reason, front=front)
                del lane.failed[: len(chunk)]
        with state.lock:
            lane.paused = bool(lane.again)

    def _dispose(self, lane: Lane) -> None:
        """Decide over a lane's failures, none of which is the cluster's. Expects the lock to be held."""
        state = self._state
        failed = sorted(lane.failed, key=lambda failure: failure[0].number)
        lane.failed.clear()
        state.away = ""  # whoever refuses a record is there
        verdicts = [verdict(code) for _, code in failed]
        blocked = next((each.reason for each in verdicts if each.disposition is Disposition.BLOCKED), "")
        if blocked:
            if state.outbox is not None:
                self._block(lane, blocked)
            # All of them: what is a dead letter for itself is found to be one when the topic is open again.
            entries = [*(entry for entry, _ in failed), *lane.again]
            front = self._front(lane, entries)
            for entry in entries:
                state.keep(lane, entry, blocked, front=front)
            lane.again.clear()
        else:
            again = []
            for (entry, code), each in zip(failed, verdicts, strict=True):
                if not entry.alone:
                    entry.alone = True
                    again.append(entry)
                elif code == KafkaError.INVALID_TIMESTAMP and entry.record.milliseconds:
                    entry.record = entry.record._replace(milliseconds=0)  # librdkafka takes the time of sending
                    again.append(entry)
                else:
                    state.dead_letter(lane, entry, each.reason)
                    warn(each.reason, "a record for %s was refused for good: %s", entry.record.topic, each.reason)
            lane.again.extendleft(reversed(again))
        lane.paused = bool(lane.again)
        state.attention.set()

    def _front(self, lane: Lane, entries: list[Entry]) -> Front | None:
        """Where to put entries that come back, which are older than everything that waits with the same key.

        Those that all have their places in the outbox have them in the right order.
        """
        if self._state.outbox is None or all(entry.place is not None for entry in entries):
            return None
        return self._state.outbox.front(lane.stream)

    def _block(self, lane: Lane, reason: str) -> None:
        lane.backoff = min(2 * lane.backoff, _LONGEST_BLOCK) if lane.blocked else _FIRST_PAUSE
        lane.probe_at = time.monotonic() + lane.backoff
        if not lane.blocked:
            warn(f"blocked:{reason}", "records of the category %s wait, because of %s", lane.category, reason)
        lane.blocked = reason

    # What waits

    def _probe(self) -> None:
        """Ask a cluster that is away whether it is back, and send one record to see."""
        state = self._state
        lane = next((lane for lane in state.lanes.values() if not lane.blocked and self._waits(lane)), None)
        topic = next((lane.topic for lane in state.lanes.values() if lane.topic), "")
        if not self._producer.reachable(topic, _PROBE_SECONDS):
            with state.lock:
                state.away = "broker_unavailable"
            patience_ends = time.monotonic() - self._delivery_wait
            for each in state.lanes.values():
                if each.again and each.again[0].since < patience_ends:
                    self._put_back(each, state.away, hold=False)
            self._pause_probing(2 * self._pause)
        elif lane is None:
            with state.lock:
                state.away = ""
        else:
            self._try(lane)

    def _try(self, lane: Lane) -> None:
        """Send the oldest waiting record of a lane alone; its report tells whether the way is open."""
        with self._state.lock:
            entry = self._load(lane)
            if entry is None:
                lane.blocked = ""  # nothing waits: the next record will tell
            else:
                entry.alone = entry.trial = True
                self.send(lane, entry)

    def _send_again(self, lane: Lane) -> None:
        with self._state.lock:
            while lane.again and not lane.failed and not (lane.again[0].alone and lane.in_flight):
                entry = lane.again.popleft()
                entry.since = time.monotonic()
                self._state.depart(lane, entry)
                if not self.send(lane, entry):
                    lane.again.appendleft(entry)
                    return

    def _drain(self, lane: Lane) -> None:
        """Send what waits in the outbox, oldest first, as far as librdkafka takes it."""
        state = self._state
        while self._waits(lane) and len(lane.in_flight) < _WINDOW:
            with state.lock:
                for _ in range(_CHUNK):
                    entry = None if state.away or lane.paused else self._load(lane)
                    if entry is None or not self.send(lane, entry):
                        return

    def _load(self, lane: Lane) -> Entry | None:
        """The next waiting record of a lane, as an entry that is on its way. Expects the lock to be held."""
        state = self._state
        if state.outbox is None:
            return None
        while (place := state.outbox.next_waiting(lane.stream, lane.cursor)) is not None:
            lane.cursor = place
            try:
                record = decode_row(state.outbox.read(place), lane.category).record
            except ValueError as error:
                state.damaged(place, error)
                continue
            return state.resume(lane, record, place)
        return None

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
        except RuntimeError:  # there is no client: closed or given up meanwhile, or it cannot be made
            self._state.fail(lane, entry, KafkaError._DESTROY)
        return True

    def _waits(self, lane: Lane) -> bool:
        return self._state.outbox is not None and self._state.outbox.waiting(lane.stream) > 0

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
