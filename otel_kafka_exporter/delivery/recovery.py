"""Records that came back, and those that wait in the outbox: what happens next to them.

One thread at a time decides: the background thread, or a caller who waits for outcomes. What a report asks for stands
in `kafka.errors`; here it is done:

- *Later*: the partition takes nothing at present. What came back waits in the outbox, and goes again after a pause.
- *Away*: the cluster is not willing. The same for all partitions; a client with a fatal error is made anew.
- *Blocked*: a broker refuses the topic: it does not exist, or may not be written to. Its records wait, and its oldest
  one is tried with a growing pause. The other topics flow.
- *Refused*: a record may be refused for another one in its batch, and batches are of one partition. So that is held
  back until everything of it is reported on, and then those that were refused go again in two halves, one after the
  other, each of which is halved again if it is refused. Whoever is refused alone is a dead letter.

The rest of the outbox is drained, oldest first, as fast as librdkafka takes it, while new records of other keys flow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from confluent_kafka import KafkaError

from otel_kafka_exporter.kafka import END_OF_A_CLIENT, NO_SCHEMA_ID, KafkaProducer, verdict
from otel_kafka_exporter.process import Disposition, RLock, monotonic, note, owns
from otel_kafka_exporter.records import KafkaRecord, describe

from .batch_limit import BatchLimit
from .entry import Entry
from .lane import Lane, Partition
from .lateness import Lateness
from .retreat import SHUTDOWN, Retreat
from .sending import Sending
from .state import DeliveryState
from .steps import AT_HAND

#: The pauses after which what came back is tried again.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


def _refusal(record: KafkaRecord, reason: str) -> tuple[str, str, str]:
    limit = "; the limit is the topic's max.message.bytes" if reason == "record_too_large" else ""
    return record.topic, reason, describe(record) + limit


class Recovery:
    """Decides over records that came back, and over waiting ones.

    Args:
        state: the records' states.
        producer: takes them to Kafka.
        sending: how they get there.
        retreat: how they come back.
        lateness: what is overdue.
        delivery_wait: seconds for which brokers that answer are waited for.
    """

    def __init__(
        self,
        state: DeliveryState,
        producer: KafkaProducer,
        sending: Sending,
        retreat: Retreat,
        lateness: Lateness,
        delivery_wait: float,
    ) -> None:
        self._state = state
        self._producer = producer
        self._sending = sending
        self._retreat = retreat
        self._lateness = lateness
        self._delivery_wait = delivery_wait
        self._batch_limit = BatchLimit(state, producer, delivery_wait)
        self._client_number = producer.client_number
        #: Held by the one thread that decides. Nobody takes it twice: a signal handler must not decide in between.
        self._turn = RLock()

    def step(self) -> None:
        """Do whatever is due now, unless another thread is at it. Takes the lock itself, and never for long."""
        self._in_turn(self._step, 0.0)

    def retreat(self, seconds: float) -> bool:
        """Take everything back at a shutdown; whether the turn to do so came in so many seconds."""
        return self._in_turn(self._take_all_back, seconds)

    def _take_all_back(self) -> None:
        with self._state.lock:
            self._state.away = SHUTDOWN
            number = self._producer.client_number
        self._retreat.take_back(number)
        self._retreat.put_all_back(SHUTDOWN)

    def _in_turn(self, do: Callable[[], None], seconds: float) -> bool:
        """Do something when the turn comes, in so many seconds; whether it came. This thread may be at it already."""
        if owns(self._turn):
            return False
        try:
            if not self._turn.acquire(timeout=seconds):
                return False
            try:
                do()
            finally:
                self._turn.release()
        except BaseException:  # Ctrl-C, between the two
            if owns(self._turn):
                self._turn.release()
            raise
        return True

    def is_sorting_out(self) -> bool:
        """Whether brokers answer, and refuse some of what they are sent. Takes the lock itself."""
        state = self._state
        with state.lock:
            troubled = (each for lane in state.lanes.values() for each in lane.partitions.values())
            refused = any(_is_refused(each) for each in troubled)
            return refused and monotonic() - state.answered < self._delivery_wait

    def waits_for_frames(self) -> list[Lane]:
        """The lanes that are blocked for want of a schema's ID only; they are tried at once from here on."""
        with self._state.lock:
            lanes = [lane for lane in self._state.lanes.values() if lane.blocked == verdict(NO_SCHEMA_ID).reason]
            for lane in lanes:
                lane.backoff = lane.probe_at = 0.0
        return lanes

    def may_be_framed(self, lanes: Collection[Lane]) -> bool:
        """Whether something of these waits that is about to be sent, or is on its way from the outbox."""
        with self._state.lock:
            open_ = [lane for lane in lanes if self._sending.waits(lane) or lane.recent or lane.overdue]
            return any(self._producer.frame_is_near(lane.topic) for lane in open_)

    def due(self) -> float:
        """Seconds until there is something to do that no event tells of; takes the lock itself."""
        now = monotonic()
        with self._state.lock:
            lanes = self._state.lanes.values()
            waits = [lane.probe_at - now for lane in lanes if lane.blocked]
            waits += [each.rests_until - now for lane in lanes for each in lane.partitions.values() if each.rests_until]
            return max(0.0, min(waits, default=1.0))

    def _step(self) -> None:
        self._state.attention.clear()
        self._renew_client()
        self._lateness.look()
        self._batch_limit.step()
        now = monotonic()
        for lane in self._state.lanes.values():
            for number in list(lane.partitions):
                self._decide(lane, number, now)
            if lane.blocked:
                if now >= lane.probe_at and not lane.trial:
                    self._sending.try_oldest(lane)
            else:
                self._sending.drain(lane)

    def _renew_client(self) -> None:
        """Give a client up that reports a fatal error; have all come back whose client is gone, with their reports."""
        state = self._state
        with state.lock:
            number = self._producer.client_number
            fatal = any(
                self._is_by_its_client(entry, code)
                for lane in state.lanes.values()
                for each in lane.partitions.values()
                for entry, code in each.failed
            )
            if not fatal and self._producer.was_broken_off():
                state.settle_reports()
                open_ = (entry for lane in state.lanes.values() for entry in lane.with_client())
                fatal = self._producer.lacks_reports(number, sum(entry.client == number for entry in open_))
        if fatal:
            self._producer.renew(number)
        with state.lock:
            number = self._producer.client_number
            if number != self._client_number:
                self._client_number = number
                state.return_former(number)

    def _is_by_its_client(self, entry: Entry, code: int) -> bool:
        """Whether it came back because the present client is of no further use."""
        return code in END_OF_A_CLIENT and entry.client == self._producer.client_number

    # What came back

    def _decide(self, lane: Lane, number: int, now: float) -> None:
        """Decide over what came back from a partition, once all reports on it are in but those of late records."""
        state = self._state
        with state.lock:
            found = lane.partitions.get(number)
            if found is None or any(self._is_by_its_client(entry, code) for entry, code in found.failed):
                return  # there is nothing, or its client is made anew first
            codes = [code for _, code in found.failed]
            newly_blocked = self._block(lane, codes)  # at once, so that nothing is sent in vain
            # What is late may stay so for long; what came back is written down, too.
            is_complete = bool(codes) and found.open == (found.overdue if state.outbox is not None else 0)
        if is_complete:
            self._dispose(lane, number, found, codes)
        if newly_blocked:
            self._say_blocked(lane, newly_blocked)  # behind that, by which it is known whether the outbox takes them
        with state.lock:
            found = lane.partitions.get(number)
            again = found is not None and bool(found.again) and not found.failed
            is_stuck = found is not None and not found.open
        if again and not lane.blocked:
            self._sending.send_again(lane, number)
        elif again and is_stuck:  # one of them may be the one by whose trial the topic opens
            self._retreat.put_back(lane, number, lane.blocked)
        with state.lock:
            found = lane.partitions.get(number)
            if found is None:
                return
            if found.rests_until and now >= found.rests_until:
                found.rests_until = 0.0
                lane.cursor = None
            # Its next record tells whether a silent one is back, if there will be one: the oldest that waits.
            if found.is_sorted_out() and (not found.silent or lane.has_no_more(number)):
                state.open(lane, number)
            elif found.wants_probe() and not found.is_looked_for:
                found.is_looked_for = True
                lane.cursor = None

    def _dispose(self, lane: Lane, number: int, found: Partition, codes: list[int]) -> None:
        """Decide over what came back from a partition, all of which has but what is late."""
        state = self._state
        away = _reason(codes, Disposition.AWAY)
        later = _reason(codes, Disposition.LATER)
        blocked = _reason(codes, Disposition.BLOCKED)
        if away or later:
            reason = self._producer.trouble.why(away or later, lane.acknowledged.get(number, 0.0))
            # Not the cluster's fault, or not surely: a client that is new may do better.
            hold = any(code in END_OF_A_CLIENT for code in codes) and not found.silent
            is_new = not hold and not state.away and reason != SHUTDOWN
            with state.lock:
                found.silent = True
                found.is_held = hold
                if not hold or state.outbox is not None:
                    pause = lane.pause(number, _FIRST_PAUSE, _LONGEST_PAUSE)
                    found.rests_until = monotonic() + (0.0 if hold else pause)
                if is_new and away:
                    state.go_away(reason)
                lane.told = lane.told or (is_new and not away)
            self._retreat.put_back(lane, number, reason, hold=hold)
            if is_new:  # behind that, as of a topic
                self._say_away(lane, number, reason, away=bool(away))
        elif blocked:
            if state.outbox is None:
                lane.told = True
                note(
                    f"blocked:{lane.topic}:{blocked}",
                    "%s records are dropped, because of %s at the topic %s, and because there is no outbox",
                    *(lane.category, blocked, lane.topic),
                )
            # All of them: what is a dead letter for itself is found to be one when the topic is open again.
            self._retreat.put_back(lane, number, blocked)
        elif found.overdue or found.is_parted:
            # Which of them is refused is found out when nothing else is on its way. Until then all of them wait.
            found.is_parted = True
            self._retreat.put_back(lane, number, verdict(codes[0]).reason)
        else:
            with state.lock:
                state.answered = monotonic()
                self._halve(lane, found)
        state.attention.set()

    def _say_away(self, lane: Lane, number: int, reason: str, *, away: bool) -> None:
        """Say that records come back."""
        cause = self._producer.trouble.cause(self._state.acknowledged)
        where = self._state.where()
        if away:
            note("away", "Kafka takes no records at present, because of %s; they %s%s", reason, where, cause)
        else:
            note(
                f"late:{lane.topic}",
                "partition %s of %s takes no records at present, because of %s; they %s, the others are delivered%s",
                *(number if number >= 0 else "?", lane.topic, reason, where, cause),
            )

    def _halve(self, lane: Lane, found: Partition) -> None:
        """Have both halves of the refused ones sent again; done with who was alone. Expects the lock to be held."""
        again = []
        company = [entry for entry, code in found.failed if code in _TOO_LARGE and not entry.alone]
        if company:
            found.too_large = sum(len(entry.record.value) for entry in company)
        for entry, code in sorted(found.failed, key=lambda failure: failure[0].number):
            if entry.state not in AT_HAND:
                continue  # a dead letter, and Ctrl-C came behind that
            if not entry.alone:
                again.append(entry)
            elif code == KafkaError.INVALID_TIMESTAMP and entry.record.milliseconds:
                entry.record = entry.record._replace(milliseconds=0)  # librdkafka takes the time of sending
                again.append(entry)
            else:
                found.too_large = 0
                reason = verdict(code).reason
                self._state.dead_letter(lane, entry, reason)
                note(reason, "a record for %s was refused for good: %s; %s", *_refusal(entry.record, reason))
        middle = (len(again) + 1) // 2
        for half in (again[middle:], again[:middle]):
            for entry in half:
                entry.group = half[0].number
        # As in `Retreat.put_back`.
        found.failed, found.again = deque(), deque((*again, *found.again))

    def _block(self, lane: Lane, codes: Collection[int]) -> str:
        """Close a topic, if that is what these ask for and it is open; why, or nothing. Expects the lock to be held."""
        blocked = _reason(codes, Disposition.BLOCKED)
        if not blocked or self._state.outbox is None or lane.blocked:
            return ""
        lane.block(blocked)
        return blocked

    def _say_blocked(self, lane: Lane, reason: str) -> None:
        """Say that a topic is closed."""
        unkept = self._state.unkept
        where = f"are dropped, since the outbox takes none ({unkept})" if unkept else "wait in the outbox"
        if unkept or reason != verdict(NO_SCHEMA_ID).reason:  # the registry's client says more
            note(
                f"blocked:{lane.topic}:{reason}",
                "%s records %s, because of %s at the topic %s; it is tried again and again",
                *(lane.category, where, reason, lane.topic),
            )


def _reason(codes: Collection[int], disposition: Disposition) -> str:
    """The reason of the first that asks for this; empty where none does."""
    return next((found.reason for found in map(verdict, codes) if found.disposition is disposition), "")


def _is_refused(partition: Partition) -> bool:
    """Whether it is being found out which of its records is at fault."""
    if partition.failed:
        return verdict(partition.failed[0][1]).disposition is Disposition.DEAD_LETTER
    return bool(partition.again) or partition.is_tried()
