"""The engine without its thread, at a clock and a cluster that do what a test tells them; its outbox is real."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, cast
from zlib import crc32

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from hypothesis import register_random

from otel_kafka_exporter.delivery import (
    batch_limit,
    entry,
    flight,
    intake,
    lane,
    lateness,
    maintenance,
    placing,
    recovery,
    rest,
    retreat,
    sending,
    state,
)
from otel_kafka_exporter.delivery.background import Background
from otel_kafka_exporter.delivery.entry import Batch, Entry
from otel_kafka_exporter.delivery.intake import Intake
from otel_kafka_exporter.delivery.lane import Lane
from otel_kafka_exporter.delivery.lateness import Lateness
from otel_kafka_exporter.delivery.maintenance import Maintenance
from otel_kafka_exporter.delivery.recovery import Recovery
from otel_kafka_exporter.delivery.retreat import SHUTDOWN, Retreat
from otel_kafka_exporter.delivery.sending import Sending
from otel_kafka_exporter.delivery.state import DeliveryState
from otel_kafka_exporter.delivery.steps import Event, State
from otel_kafka_exporter.errors import ConversionError, OutboxError
from otel_kafka_exporter.kafka import (
    NO_SCHEMA_ID,
    EnoughServedError,
    KafkaProducer,
    NoSchemaIdError,
    OnReport,
    Reports,
    partitioner,
    reports,
)
from otel_kafka_exporter.kafka.trouble import Trouble
from otel_kafka_exporter.outbox import WAITING, Front, OnLoss, Outbox, Place, Stream, decode_row
from otel_kafka_exporter.process import chance, log_lines
from otel_kafka_exporter.records import Category, KafkaRecord
from tests.outboxes import CONFIGURATION

DELIVERY_WAIT = 2.0
PARTITIONS = 4
#: Notes that tell of a fault of the engine's, and of none of the cluster's.
FAULTS = {"fault", "unsendable"}
#: The engine's bounds, so small that a few records reach them.
BOUNDS = [
    *((lateness, "_CHUNK", 2), (retreat, "_CHUNK", 2), (sending, "_CHUNK", 2)),
    *((sending, "_SKIPPED", 3), (sending, "_WINDOW", 12), (placing, "_LONGEST_AGAIN", 6), (lane, "_SAME_PARTITION", 3)),
]

register_random(chance)  # the same course of things has the same outcome

partition_of = partitioner("murmur2_random")
assert partition_of is not None

Target = tuple[str, int]


class Clock:
    """Stands for the module `time` and for `process.monotonic`: its time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        self.now += 1e-6  # no two moments are the same
        return self.now

    def time_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Gaps:
    """The engine's lock, of one thread: as it is let go, what another thread does is let in."""

    def __init__(self) -> None:
        self._depth = 0
        self._waiting: list[tuple[int, Callable[[], object]]] = []
        self._is_let_in = False

    def let_in(self, action: Callable[[], object], after: int) -> None:
        """Have another thread do something when the lock has been let go so many times."""
        self._waiting.append((after, action))

    def forget(self) -> None:
        """No other thread comes any more."""
        self._waiting.clear()

    def _is_owned(self) -> bool:
        return self._depth > 0

    def acquire(self, blocking: bool) -> bool:  # noqa: FBT001 - as an RLock has it
        """It is free, or held by the same thread."""
        assert not blocking
        self._depth += 1
        return True

    def release(self) -> None:
        self.__exit__(sys.exc_info()[0], None, None)

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth or self._is_let_in or kind is not None or not self._waiting:
            return
        self._waiting = [(after - 1, action) for after, action in self._waiting]
        due = [action for after, action in self._waiting if after < 0]
        self._waiting = [(after, action) for after, action in self._waiting if after >= 0]
        self._is_let_in = True
        try:
            for action in due:
                action()
        finally:
            self._is_let_in = False


def value(number: int, size: int) -> bytes:
    """The value of the record with this number."""
    return b"%d:" % number + b"x" * size


def number_of(record: KafkaRecord) -> int:
    return int(record.value.split(b":")[0])


class Sent(NamedTuple):
    """A record that the client has been given."""

    at: int
    number: int
    key: bytes | None
    target: Target
    milliseconds: int
    on_report: OnReport
    client: int


class Arrival(NamedTuple):
    """A record that a broker has written, and when the client was given it."""

    number: int
    key: bytes | None
    target: Target
    sent_at: int


class Acknowledged:
    """The part of a `Message` that delivery reads."""

    def __init__(self, partition: int) -> None:
        self._partition = partition

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 7


class FakeKafka:
    """A cluster, and the client that a process has of it, with the methods of `KafkaProducer` that the engine calls.

    It promises what librdkafka does: each partition is a queue, each record has one report, and none is overtaken
    within its partition unless an error ends it.

    Attributes:
        arrived: what brokers have written, in order.
        refused_alone: the records that a broker, or librdkafka, refused for good with no other one beside them.
        acknowledged: the records whose report from a living client said so.
        silent: the partitions that answer nothing.
        refusing: the partitions that refuse everything, and with which code.
        at_once: the topics whose records the client refuses at once, and with which code.
        poisoned: the records that no broker takes, nor anything in one batch with them.
        full_until: until when the local queue has no room.
        reached: how many of each partition's records had been written when a client was given up, unacknowledged.
        swallows: whether a client that is given up reports on nothing.
        interrupting: what a signal handler does in the middle of the next report.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events = 0
        self._round_robin = 0
        self.queues: dict[Target, deque[Sent]] = {}
        self.reports: deque[tuple[Sent, int]] = deque()
        self.stale: deque[tuple[Sent, int]] = deque()
        self.arrived: list[Arrival] = []
        self.refused_alone: set[int] = set()
        self.acknowledged: set[int] = set()
        self.silent: set[Target] = set()
        self.refusing: dict[Target, int] = {}
        self.at_once: dict[str, int] = {}
        self.poisoned: set[int] = set()
        self.full_until = 0.0
        self.reached = 0
        self.swallows = False
        self.hasty = False
        self.interrupting: list[Callable[[], object]] = []
        self.begin()

    def begin(self) -> None:
        """A new process has no client yet."""
        self.collected: Reports[Entry] = Reports()
        self.client_number = 0
        self.trouble = Trouble()
        self.warm = True
        self.is_being_made = False
        self._has_client = self._fatal = self._inside = self._closed = False
        self.batch_bytes = 1_000_000
        self.stale.clear()

    def tick(self) -> int:
        """Number the events of all kinds, one after the other."""
        self._events += 1
        return self._events

    # What brokers do

    def works(self, batch: int) -> bool:
        """Every broker answers what it has, in batches of this size; whether there was anything to answer."""
        worked = False
        for target, queue in self.queues.items():
            while queue and target not in self.silent and not self._fatal:
                worked = True
                some = min(batch, len(queue))
                if target in self.refusing:
                    self.refuse(target, some, self.refusing[target])
                elif any(sent.number in self.poisoned for sent in list(queue)[:some]):
                    self.refuse(target, some, KafkaError.INVALID_RECORD)
                else:
                    self.acknowledge(target, some)
        return worked

    def acknowledge(self, target: Target, records: int) -> None:
        for _ in range(records):
            sent = self.queues[target].popleft()
            self._arrive(sent)
            self.reports.append((sent, KafkaError.NO_ERROR))

    def refuse(self, target: Target, records: int, code: int, *, arrived: bool = False) -> None:
        """The oldest records of a partition fail together; some failures leave it open whether they were written."""
        queue = self.queues[target]
        if records == 1:
            self.refused_alone.add(queue[0].number)
        for _ in range(records):
            sent = queue.popleft()
            if arrived:
                self._arrive(sent)
            self.reports.append((sent, code))

    def fail(self) -> None:
        """The client has a fatal error, and is of no further use."""
        self._fatal = self._has_client
        if not self.swallows and self._has_client:
            self._purge(self.reports, KafkaError._FATAL)

    def mend(self) -> None:
        """Nothing is wrong with the cluster any more."""
        self.silent.clear()
        self.refusing.clear()
        self.at_once.clear()
        self.poisoned.clear()
        self.full_until = 0.0
        self.hasty = False

    def _arrive(self, sent: Sent) -> None:
        self.arrived.append(Arrival(sent.number, sent.key, sent.target, sent.at))

    def _purge(self, reports: deque[tuple[Sent, int]], code: int) -> None:
        for queue in self.queues.values():
            for at, sent in enumerate(queue):
                if at < self.reached:
                    self._arrive(sent)
                reports.append((sent, code))
            queue.clear()

    def has(self) -> list[Sent]:
        """What the client has no report on yet, or one that was not served."""
        return [sent for queue in self.queues.values() for sent in queue] + [sent for sent, _ in self.reports]

    # What the engine calls

    def produce(self, record: KafkaRecord, on_report: OnReport, partition: int = -1) -> None:
        if self._closed:
            raise RuntimeError("closed")
        number = number_of(record)
        code = self.at_once.get(record.topic)
        if code == NO_SCHEMA_ID:
            raise NoSchemaIdError
        if self._fatal:
            code = KafkaError._FATAL
        self._has_client = True
        if self._clock.now < self.full_until:
            raise BufferError
        if code is not None:
            self.refused_alone.add(number)
            raise KafkaException(KafkaError(code))
        if partition < 0:
            partition = self.partition_of(record.key)
        target = (record.topic, partition)
        sent = Sent(self.tick(), number, record.key, target, record.milliseconds, on_report, self.client_number)
        self.queues.setdefault(target, deque()).append(sent)

    def partition_of(self, key: bytes | None) -> int:
        if key is None:
            self._round_robin += 1
            return self._round_robin % PARTITIONS
        assert partition_of is not None
        return partition_of(key, PARTITIONS)

    def cluster_id(self, _topic: str, _seconds: float) -> str | None:
        return "cluster"

    def poll(self, seconds: float) -> bool:
        return self._serve(seconds)

    def flush(self, seconds: float) -> bool:
        return self._serve(seconds)

    def catch_up(self, _seconds: float) -> bool:
        if not self._has_client:
            return True
        return self._serve(0.0) and not self.reports

    def _serve(self, seconds: float) -> bool:
        if not self._has_client or self._inside:
            return False
        if self._fatal and self.swallows:
            self.renew(self.client_number)  # as it does where the client raises
            return False
        if not self.reports:
            self._clock.now += seconds
        self.collected.ends_at = -math.inf if self.hasty else self._clock.now + max(seconds, 0.02)
        self._report(self.reports)
        return True

    def _report(self, reports: deque[tuple[Sent, int]]) -> None:
        was_inside, self._inside = self._inside, True
        try:
            while reports:
                sent, code = reports.popleft()
                if self.interrupting:
                    self.interrupting.pop()()
                if code:
                    sent.on_report(KafkaError(code), cast("Message", None))
                else:
                    if reports is self.reports:
                        self.acknowledged.add(sent.number)
                    sent.on_report(None, cast("Message", Acknowledged(sent.target[1])))
        except EnoughServedError:
            pass
        finally:
            self._inside = was_inside
        self.collected.settle()

    def report_stale(self) -> None:
        """The thread that closes a client that was given up serves what reports it still had."""
        self._report(self.stale)

    def is_inside(self) -> bool:
        return self._inside

    def was_broken_off(self) -> bool:
        return False

    def await_frame(self, _record: KafkaRecord, _deadline: float) -> None: ...

    def frame_is_near(self, topic: str) -> bool:
        return self.at_once.get(topic) != NO_SCHEMA_ID

    def partitions(self, topic: str, _seconds: float) -> int:
        return 0 if topic in self.at_once else PARTITIONS

    def purge(self, number: int) -> None:
        if self.client_number == number and self._has_client and not self._fatal:
            self._purge(self.reports, KafkaError._PURGE_QUEUE)

    def limit_batches(self, size: int) -> None:
        assert not any(self.queues.values()), "records are on their way"
        self.batch_bytes = size
        self.renew(self.client_number)

    def renew(self, number: int) -> None:
        if not self._has_client or self.client_number != number or self._closed:
            return
        with self.collected.lock:
            self._has_client = self._fatal = False
            self.client_number += 1
            self._purge(self.reports, KafkaError._PURGE_INFLIGHT)
            self.stale.extend(self.reports)
            self.reports.clear()
            if not self.swallows:
                self.report_stale()
            self.collected.settle()
            self.collected.renewed(self.client_number)

    def close(self) -> None:
        self.renew(self.client_number)
        self._closed = True


class WatchedFront(Front):
    """Notes what finds no room in front."""

    outbox: WatchedOutbox

    def append(self, payload: bytes, state: int = WAITING) -> Place:
        with self.outbox.at_its_bound(payload):
            return super().append(payload, state)


class _AtItsBound:
    def __init__(self, outbox: WatchedOutbox, payload: bytes) -> None:
        self._outbox = outbox
        self._payload = payload

    def __enter__(self) -> None:
        if self._outbox.broken:
            self._outbox.found_no_room.add(number_of(decode_row(self._payload).record))
            raise OutboxError("outbox_unavailable", "broken")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._outbox.found_no_room.add(number_of(decode_row(self._payload).record))


class WatchedOutbox(Outbox):
    """An outbox that notes what finds no room in it, and whose disk may break."""

    broken = False
    found_no_room: set[int]

    def at_its_bound(self, payload: bytes) -> _AtItsBound:
        return _AtItsBound(self, payload)

    def append(self, stream: Stream, payload: bytes, state: int = WAITING) -> Place:
        with self.at_its_bound(payload):
            return super().append(stream, payload, state)

    def front(self, stream: Stream) -> Front:
        front = WatchedFront(self._storage, self._queues[stream])
        front.outbox = self
        return front


class WatchedState(DeliveryState):
    """Notes every entry that there was, when each came back, and every step that was taken."""

    entries: list[Entry]
    taken: set[tuple[State, Event]]
    came_back: dict[int, int]
    tick: Callable[[], int]

    def _entry(self, record: KafkaRecord, place: Place | None, batch: Batch | None) -> Entry:
        entry = super()._entry(record, place, batch)
        self.entries.append(entry)
        return entry

    def successor(self, entry: Entry) -> Entry:
        another = super().successor(entry)
        if entry in self.entries:  # else Ctrl-C came in between
            self.entries.remove(entry)
        return another

    def _step(self, entry: Entry, event: Event) -> None:
        self.taken.add((entry.state, event))
        super()._step(entry, event)

    def returned(self, lane: Lane, entry: Entry, code: int) -> None:
        self.came_back[number_of(entry.record)] = self.tick()
        super().returned(lane, entry, code)

    def drop(self, entry: Entry, reason: str) -> None:
        self.taken.add((entry.state, Event.LOST))
        super().drop(entry, reason)

    def _lost(self, stream: Stream, rows: int, reason: str) -> None:
        if not stream.dead:
            self.taken.add((State.WAITING, Event.LOST))
        super()._lost(stream, rows, reason)


class Handed(NamedTuple):
    """What an application hands over."""

    number: int
    category: Category
    key: bytes | None
    size: int
    milliseconds: int = 7
    is_wrong: bool = False


class Build:
    """Makes records of what is handed over."""

    def build(self, source: Handed) -> KafkaRecord:
        if source.is_wrong:
            raise ConversionError("field", "wrong")
        return self.letter(source)

    def letter(self, source: Handed) -> KafkaRecord:
        return KafkaRecord(
            source.category,
            source.key,
            value(source.number, source.size),
            [("name", b"text")],
            source.milliseconds,
            source.category,
            str(source.number),
        )


class Engine:
    """One process's engine, wired as `Delivery` does, but for the thread."""

    def __init__(
        self,
        kafka: FakeKafka,
        directory: Path | None,
        *,
        max_bytes: int,
        durable: Collection[Category],
        knows_partitions: bool,
        taken: set[tuple[State, Event]],
        came_back: dict[int, int],
    ) -> None:
        self.kafka = kafka
        self.lock = Gaps()

        def make_outbox(on_loss: OnLoss) -> Outbox:
            owner = {"pid": 7, "host": "h"}
            # Letters have the room that they had, and are whole: their numbers are read from them.
            outbox = WatchedOutbox(
                directory, CONFIGURATION, max_bytes, owner, on_loss, dead_max_bytes=max(max_bytes, 1 << 24)
            )
            outbox.found_no_room = set()
            return outbox

        producer = cast("KafkaProducer", kafka)
        self.state = WatchedState(
            None if directory is None else make_outbox,
            durable,
            partition_of if knows_partitions else None,
            kafka.collected,
        )
        self.state.entries = []
        self.state.taken = taken
        self.state.came_back = came_back
        self.state.tick = kafka.tick
        self.state.lock = cast("Any", self.lock)
        self.outbox = cast("WatchedOutbox | None", self.state.outbox)
        sending = Sending(self.state, producer)
        self.retreat = Retreat(self.state, producer)
        self.lateness = Lateness(self.state, producer, DELIVERY_WAIT)
        self.recovery = Recovery(self.state, producer, sending, self.retreat, self.lateness, DELIVERY_WAIT)
        self.intake = Intake(self.state, producer, sending)
        self.maintenance = Maintenance(self.state, producer)
        self.background = Background(
            self.state, self.recovery, self.maintenance, producer, lambda: None, lambda: None, lambda: None
        )  # never started

    @property
    def lanes(self) -> list[Lane]:
        return list(self.state.lanes.values())

    def shut_down(self, *, hangs: bool) -> None:
        """As `Delivery` does in the end, once it has waited; perhaps beside a thread that hangs in its turn."""
        self.state.closed = True
        if hangs:
            with self.recovery._turn:
                assert not self.recovery.retreat(0.0)
                self.retreat.put_away(SHUTDOWN)
        else:
            assert self.recovery.retreat(0.0)
        self.lock.forget()
        self.intake.start_deferred()


def at(clock: Clock, tell: Callable[..., None]) -> pytest.MonkeyPatch:
    """Have the engine live by this clock, keep its bounds small and its lines to this test; to be undone."""
    patches = pytest.MonkeyPatch()
    for module in (
        batch_limit,
        entry,
        flight,
        intake,
        lane,
        lateness,
        maintenance,
        recovery,
        reports,
        rest,
        retreat,
        sending,
        state,
    ):
        for name, value in (("monotonic", clock.monotonic), ("time", clock)):
            if hasattr(module, name):
                patches.setattr(module, name, value)
    for module, name, bound in BOUNDS:
        patches.setattr(module, name, bound)
    # Which keys share a counter must not differ from run to run.
    patches.setattr(lane, "hash", lambda key: crc32(key or b""), raising=False)
    patches.setattr(log_lines, "_noted", {})
    patches.setattr(log_lines, "warn", tell)
    return patches
