"""The engine beside a model of it, through whatever a cluster, an outbox, threads and signal handlers do to it.

A test of its logic, and not of its timing: the clock, the cluster and the client are the test's own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaError
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from otel_kafka_exporter.delivery.entry import Batch, Entry
from otel_kafka_exporter.delivery.steps import COUNTED_AS, TABLE, WITH_CLIENT, Event, State
from otel_kafka_exporter.kafka import NO_SCHEMA_ID
from otel_kafka_exporter.kafka.errors import TABLE as ERRORS
from otel_kafka_exporter.outbox import decode_row
from otel_kafka_exporter.outbox.stream import STREAMS
from otel_kafka_exporter.process import Disposition, log_lines
from otel_kafka_exporter.records import CATEGORIES, Category
from tests.outboxes import SEGMENT_BYTES, boxes, places

from .engine import FAULTS, PARTITIONS, Build, Clock, Engine, FakeKafka, Handed, Target, at, number_of

#: Within so many rounds everything that can be delivered has been, when nothing is wrong any more.
ROUNDS = 300
#: Between two of them, less than what counts as a process that did not run.
ROUND_SECONDS = 0.4

#: After so many records are late.
LATE = 7

categories = st.sampled_from(CATEGORIES)
# Two keys share each of three partitions; the fourth one has only records without a key.
KEYS = (None, b"k0", b"k1", b"k3", b"k5", b"k8", b"k10")
keys = st.sampled_from(KEYS)
sizes = st.sampled_from([0, 0, 0, 0, 10_000, 30_000])
right_or_wrong = st.sampled_from([False] * 7 + [True])
few = st.integers(1, 3)
#: Kafka's codes, by what they ask for.
CODES = {
    kind: [code for code, each in ERRORS.items() if each.disposition is kind and code != NO_SCHEMA_ID]
    for kind in Disposition
}
codes = st.sampled_from([*CODES.values(), CODES[Disposition.DEAD_LETTER]]).flatmap(st.sampled_from)
codes_at_once = st.sampled_from(
    [
        *(
            NO_SCHEMA_ID,
            KafkaError._UNKNOWN_TOPIC,
            KafkaError._UNKNOWN_PARTITION,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
        ),
        *(KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._INVALID_ARG, KafkaError._QUEUE_FULL, KafkaError._TIMED_OUT),
    ]
)
#: What another thread does.
MEANWHILE = ("serve", "step", "works", "fail", "log", "logs")
TARGETS = [(category, number) for category in CATEGORIES for number in range(PARTITIONS)]
AT_REST = {"DELIVERED", "DROPPED", "letter"}
#: With these a record may have been written all the same.
UNCERTAIN = {*CODES[Disposition.LATER], *CODES[Disposition.AWAY]}


class EngineBesideModel(RuleBasedStateMachine):
    """One living process at a time, and the outboxes that others left."""

    taken: ClassVar[set[tuple[State, Event]]] = set()

    @initialize(
        has_outbox=st.sampled_from([True, True, False]),
        segments=st.sampled_from([2, 3, 40]),
        durable=st.sampled_from([(), ("audit", "security"), CATEGORIES]),
        knows_partitions=st.sampled_from([True, True, False]),
        has_counted=st.sampled_from([True, True, False]),
    )
    def begin(
        self,
        *,
        has_outbox: bool,
        segments: int,
        durable: tuple[Category, ...],
        knows_partitions: bool,
        has_counted: bool,
    ) -> None:
        self.clock = Clock()
        self.notes: list[str] = []
        self.patches = at(self.clock, self.tell)
        self.kafka = FakeKafka(self.clock)
        self.directory = Path(tempfile.mkdtemp()) if has_outbox else None
        self.max_bytes = segments * SEGMENT_BYTES
        self.durable = durable
        self.knows_partitions = knows_partitions
        self.has_counted = has_counted
        self.handed: dict[int, Handed] = {}
        self.began: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        self.came_back: dict[int, int] = {}
        self.out_of_order: set[int] = set()  # was adopted, or found no room in front
        self.left: set[int] = set()  # in outboxes of the dead
        self.dead = 0
        self.start()

    def start(self) -> None:
        self.kafka.begin()
        self.engine = Engine(
            self.kafka,
            self.directory,
            max_bytes=self.max_bytes,
            durable=self.durable,
            knows_partitions=self.knows_partitions,
            taken=self.taken,
            came_back=self.came_back,
        )
        self.state = self.engine.state
        self.mine: set[int] = set()  # accepted by this process
        self.lost: set[int] = set()  # rows of its that gave way
        self.batches: list[tuple[Batch, list[int]]] = []
        self.roomless: list[Entry] = []
        self.deferred: list[int] = []
        if self.has_counted:
            for lane in self.engine.lanes:
                lane.count = PARTITIONS

    def tell(self, kind: str, message: str, *arguments: object) -> None:
        assert message % arguments
        self.notes.append(kind.partition(":")[0])

    def teardown(self) -> None:
        """In the end, with nothing in the way any more, every record is delivered, a dead letter or dropped."""
        if not hasattr(self, "engine"):
            return
        try:
            self.bring_to_rest()
            self.it_is_as_it_should_be()
            self.nothing_is_stuck()
            self.order_is_kept()
        finally:
            if self.engine.outbox is not None:
                self.engine.outbox.close()
            self.patches.undo()
            if self.directory is not None:
                shutil.rmtree(self.directory)

    # What the application does

    def make(self, category: Category, key: bytes | None, size: int, *, is_wrong: bool = False) -> Handed:
        number = len(self.handed)
        self.handed[number] = found = Handed(number, category, key, size, number % 2, is_wrong)
        self.began[number] = self.kafka.tick()
        self.mine.add(number)
        return found

    def done(self, handed: Handed) -> None:
        self.ended[handed.number] = self.kafka.tick()

    def take(self, *handed: Handed, batch: Batch | None = None, room_within: float = 0.0) -> None:
        before = len(self.engine.intake.deferred)
        intake, room_by = self.engine.intake, self.clock.now + room_within
        if batch is None:  # one, as `Delivery.put` does it
            intake.take_one(handed[0], Build(), None, 0.0, room_within)
        else:
            intake.take(handed, Build(), batch, room_by, 0.0)
        deferred = len(self.engine.intake.deferred) - before
        for each in handed[: len(handed) - deferred]:
            self.done(each)
        self.deferred += [each.number for each in handed[len(handed) - deferred :]]

    @rule(category=categories, key=keys, size=sizes, room_within=st.sampled_from([0.0, 0.05]))
    def hand_over(self, category: Category, key: bytes | None, size: int, room_within: float) -> None:
        self.take(self.make(category, key, size), room_within=room_within)

    @rule(of=st.lists(st.tuples(categories, keys, right_or_wrong), min_size=1, max_size=8), size=sizes)
    def hand_over_a_batch(self, of: list[tuple[Category, bytes | None, bool]], size: int) -> None:
        batch = Batch()
        handed = [self.make(category, key, size, is_wrong=is_wrong) for category, key, is_wrong in of]
        self.take(*handed, batch=batch, room_within=0.05)
        self.batches.append((batch, [each.number for each in handed]))

    def hand_over_some(self, category: Category, of: list[bytes | None], size: int) -> None:
        self.hand_over_a_batch([(category, key, False) for key in of], size)

    @rule(category=categories, key=keys)
    def hand_over_a_wrong_one(self, category: Category, key: bytes | None) -> None:
        self.take(self.make(category, key, 0, is_wrong=True))

    @rule(category=categories, key=keys, size=sizes)
    def begin_to_hand_over(self, category: Category, key: bytes | None, size: int) -> None:
        handed = self.make(category, key, size)
        entry, room = self.engine.intake.offer(handed, Build(), None)
        if room:
            self.done(handed)
        else:
            assert entry is not None
            self.roomless.append(entry)

    @precondition(lambda self: self.roomless)
    @rule(gives_up=st.booleans())
    def try_again(self, *, gives_up: bool) -> None:
        entry = self.roomless[0]
        if gives_up:
            self.engine.intake.give_up(entry)
        elif not self.engine.intake.try_again(entry):
            return
        self.roomless.remove(entry)
        self.done(self.handed[number_of(entry.record)])

    @precondition(lambda self: self.batches)
    @rule()
    def a_batch_has_waited_for_long(self) -> None:
        batch, _ = self.batches.pop(0)
        self.engine.recovery.step()
        self.engine.lateness.expire(batch)

    @rule(category=categories, key=keys)
    def a_signal_handler_logs_in_a_report(self, category: Category, key: bytes | None) -> None:
        self.kafka.interrupting.append(lambda: self.take(self.make(category, key, 0)))

    # What threads do

    @rule(what=st.sampled_from(["serve", "serve", "serve one", "step", "step", "look", "count", "tell", "former"]))
    def a_thread_goes_on(self, what: str) -> None:
        self.kafka.hasty = what == "serve one"
        if what.startswith("serve"):
            self.kafka.poll(0.05)
        elif what == "step":
            self.engine.recovery.step()
        elif what == "look":
            self.engine.lateness.look()
        elif what == "count":
            self.engine.maintenance._count_partitions()
        elif what == "tell":
            self.look_after()
        else:
            self.kafka.report_stale()  # by the thread that closes a client that was given up

    def look_after(self) -> None:
        if self.engine.intake.deferred:
            self.engine.intake.start_deferred()
        log_lines.tell()

    @rule(after=st.integers(0, 12), what=st.sampled_from(MEANWHILE), category=categories, key=keys)
    def another_thread_comes_in_between(self, after: int, what: str, category: Category, key: bytes | None) -> None:
        actions: dict[str, Callable[[], object]] = {
            "serve": lambda: self.kafka.poll(0.0),
            "step": self.engine.recovery.step,
            "works": lambda: self.brokers_work(3),
            "fail": lambda: self.the_client_fails(swallows=self.kafka.swallows, reached=self.kafka.reached),
            "log": lambda: self.take(self.make(category, key, 0)),
            "logs": lambda: self.hand_over_some(category, [key, None, key], 0),
        }
        self.engine.lock.let_in(actions[what], after)

    # What time does

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.sleep(seconds)  # 20: the process is frozen

    @rule(rounds=st.sampled_from([1, 2, LATE]), batch=st.sampled_from([0, 0, 2, 6]))
    def it_runs(self, rounds: int, batch: int) -> None:
        """Time passes, and brokers work, unless their batches are of none."""
        for _ in range(rounds):
            self.round(batch)

    # What the cluster does

    def busy(self) -> list[Target]:
        return sorted(target for target, queue in self.kafka.queues.items() if queue)

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), records=few)
    def acknowledge(self, data: st.DataObject, records: int) -> None:
        target = data.draw(st.sampled_from(self.busy()))
        self.kafka.acknowledge(target, min(records, len(self.kafka.queues[target])))

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), records=few, code=codes, arrived=st.booleans())
    def refuse(self, data: st.DataObject, records: int, code: int, *, arrived: bool) -> None:
        target = data.draw(st.sampled_from(self.busy()))
        records = min(records, len(self.kafka.queues[target]))
        self.kafka.refuse(target, records, code, arrived=arrived and code in UNCERTAIN)
        self.kafka.poll(0.0)

    @precondition(lambda self: self.busy())
    @rule(batch=st.integers(1, 6))
    def brokers_work(self, batch: int) -> None:
        self.kafka.works(batch)
        self.kafka.poll(0.05)

    @rule(category=categories, partition=st.integers(0, PARTITIONS - 1), everywhere=st.booleans())
    def partitions_are_silent(self, category: Category, partition: int, *, everywhere: bool) -> None:
        self.kafka.silent |= set(TARGETS) if everywhere else {(category, partition)}

    @rule(category=categories, partition=st.integers(0, PARTITIONS - 1), code=codes)
    def a_partition_refuses(self, category: Category, partition: int, code: int) -> None:
        self.kafka.refusing[category, partition] = code

    @rule(category=categories, code=codes_at_once)
    def a_topic_is_refused_at_once(self, category: Category, code: int) -> None:
        self.kafka.at_once[category] = code

    @precondition(lambda self: self.handed)
    @rule(back=st.integers(1, 10))
    def a_record_is_poisoned(self, back: int) -> None:
        self.kafka.poisoned.add(max(0, len(self.handed) - back))

    @rule(seconds=st.sampled_from([0.01, 0.2, 5.0]))
    def the_queue_is_full(self, seconds: float) -> None:
        self.kafka.full_until = self.clock.now + seconds

    @rule(swallows=st.booleans(), reached=st.integers(0, 2))
    def the_client_fails(self, *, swallows: bool, reached: int) -> None:
        self.kafka.swallows, self.kafka.reached = swallows, reached
        self.kafka.fail()

    @rule()
    def the_cluster_is_mended(self) -> None:
        self.kafka.mend()

    # What the outbox does

    @precondition(lambda self: self.directory is not None)
    @rule(broken=st.booleans())
    def the_disk_breaks(self, *, broken: bool) -> None:
        assert self.engine.outbox is not None
        self.engine.outbox.broken = broken

    # Longer courses

    @rule(
        category=categories,
        of=st.lists(keys, min_size=1, max_size=4),
        code=codes,
        breaks=st.booleans(),
        is_full=st.booleans(),
    )
    def late_records_come_back(
        self, category: Category, of: list[bytes | None], code: int, *, breaks: bool, is_full: bool
    ) -> None:
        self.kafka.silent = set(TARGETS)
        self.hand_over_some(category, of, 0)
        if is_full:  # newer ones wait already when these are late
            self.the_queue_is_full(5.0)
            self.hand_over_some(category, of, 0)
        self.it_runs(LATE, 0)
        if self.engine.outbox is not None:
            self.engine.outbox.broken = breaks
        self.kafka.refusing.update((target, code) for target in TARGETS if target[0] == category)
        self.kafka.silent.clear()
        self.it_runs(3, 6)

    @rule(category=categories, key=keys, then=categories)
    def the_outbox_fills(self, category: Category, key: bytes | None, then: Category) -> None:
        self.kafka.silent = set(TARGETS)
        self.hand_over_some(category, [key], 30_000)
        self.it_runs(LATE, 0)
        self.hand_over_some(then, [key] * 4, 30_000)

    @rule()
    def all_is_well_for_a_while(self) -> None:
        self.bring_to_rest()
        self.nothing_is_stuck()

    @precondition(lambda self: self.knows_partitions and self.has_counted)
    @rule()
    def what_is_fine_flows(self) -> None:
        """What is silent stays so; nothing waits but for that."""
        silent = set(self.kafka.silent)
        self.mend()
        self.kafka.silent = silent
        self.rounds(lambda: not all(self.is_of(number, silent) for number in self.open()))

    def open(self) -> list[int]:
        """The records that are neither at rest nor dead letters."""
        return [number for number, where in self.where().items() if where and where[0] not in AT_REST]

    def is_of(self, number: int, targets: set[Target]) -> bool:
        """Whether a record is of these partitions, or may be."""
        handed = self.handed[number]
        return any(
            target[0] == handed.category and (handed.key is None or target[1] == self.kafka.partition_of(handed.key))
            for target in targets
        )

    def mend(self) -> None:
        self.kafka.mend()
        self.kafka.interrupting.clear()
        self.engine.lock.forget()
        if self.engine.outbox is not None:
            self.engine.outbox.broken = False

    def bring_to_rest(self) -> None:
        self.mend()
        self.rounds(lambda: not self.is_at_rest())
        # Of a partition that has none left the next records tell whether it is back.
        for _ in range(ROUNDS):
            doubtful = [
                lane
                for lane in self.engine.lanes
                if lane.partitions or lane.blocked or (self.state.away and lane.topic)
            ]
            for lane in doubtful:
                for key in KEYS:
                    self.take(self.make(lane.category, key, 0))
            self.rounds(lambda: not self.is_at_rest())
            if not doubtful:
                break

    def rounds(self, goes_on: Callable[[], bool]) -> None:
        for _ in range(ROUNDS):
            self.round(3)
            if not goes_on():
                return
        raise AssertionError(f"not at rest: {self.state.ledger.stats()}, {self.where()}")

    def round(self, batch: int) -> None:
        """What brokers do, the background thread, and a caller that waits for room."""
        if batch:
            self.kafka.works(batch)
        self.kafka.poll(0.0)
        self.clock.sleep(ROUND_SECONDS)
        self.engine.recovery.step()
        self.look_after()
        while self.roomless and self.engine.intake.try_again(self.roomless[0]):
            self.done(self.handed[number_of(self.roomless.pop(0).record)])

    def is_at_rest(self) -> bool:
        stats = self.state.ledger.stats(len(self.engine.intake.deferred))
        return not (stats.in_flight or stats.spooled)

    @rule(hangs=st.booleans(), swallows=st.booleans(), reached=st.integers(0, 2))
    def it_is_shut_down_and_started_anew(self, *, hangs: bool, swallows: bool, reached: int) -> None:
        self.kafka.swallows, self.kafka.reached = swallows, reached
        self.engine.shut_down(hangs=hangs)
        for entry in self.roomless:
            assert self.engine.intake.try_again(entry)
            self.done(self.handed[number_of(entry.record)])
        self.roomless.clear()
        if hangs:  # nobody takes back what the client has: it may be acknowledged meanwhile, and is sent once more
            self.kafka.acknowledged.clear()
        self.note_what_was_started()
        self.counts_are_those_of_the_records()
        self.kafka.close()
        stats = self.state.ledger.stats()
        assert stats.in_flight == 0
        assert not self.engine.state.on_the_way()
        if self.engine.outbox is not None:
            waiting, dead = self.rows(dead=False), self.rows(dead=True)
            assert stats.spooled == len(waiting)
            self.left |= {*waiting, *dead}
            self.out_of_order |= self.engine.outbox.found_no_room
            self.engine.outbox.close()
            self.number_the_dead()
        self.kafka.queues.clear()
        self.kafka.reports.clear()
        self.start()

    def number_the_dead(self) -> None:
        """Give each outbox that was left its own time: the oldest is adopted first."""
        assert self.directory is not None
        for box in boxes(self.directory):
            if (box / "owner").stat().st_mtime > 1_000_000:
                self.dead += 1
                os.utime(box / "owner", (self.dead, self.dead))

    @precondition(lambda self: self.left)
    @rule()
    def adopt(self) -> None:
        self.engine.lock.forget()
        before = {*self.rows(dead=False), *self.rows(dead=True)}
        accepted = self.engine.state.ledger.accepted
        self.engine.maintenance.adopt()
        adopted = {*self.rows(dead=False), *self.rows(dead=True)} - before
        assert len(adopted) == self.engine.state.ledger.accepted - accepted
        self.mine |= adopted
        self.left -= adopted
        self.out_of_order |= adopted

    # What always holds

    def rows(self, *, dead: bool) -> list[int]:
        """The records that wait in the outbox."""
        outbox = self.engine.outbox
        if outbox is None:
            return []
        return [
            number_of(decode_row(outbox.read(place)).record)
            for stream in STREAMS
            if stream.dead == dead
            for place in places(outbox, stream)
        ]

    def where(self) -> dict[int, list[str]]:
        """Where each record is."""
        found: dict[int, list[str]] = {number: [] for number in self.mine}
        for entry in self.state.entries:
            if entry.state not in {State.WAITING, State.DEAD_LETTERED}:  # which rows speak for
                found[number_of(entry.record)].append(entry.state.name)
        for number in self.rows(dead=False):
            found[number].append("row")
        for number in self.rows(dead=True):
            found[number].append("letter")
        for record, _ in self.engine.intake.deferred:
            assert record is not None
            found[number_of(record)].append("deferred")
        return found

    @invariant()
    def it_is_as_it_should_be(self) -> None:
        self.note_what_was_started()
        self.counts_are_those_of_the_records()
        self.nothing_is_forgotten()
        assert not FAULTS.intersection(self.notes)

    def note_what_was_started(self) -> None:
        waiting = {number_of(record) for record, _ in self.engine.intake.deferred if record is not None}
        for number in [number for number in self.deferred if number not in waiting]:
            self.deferred.remove(number)
            self.done(self.handed[number])

    def counts_are_those_of_the_records(self) -> None:
        """Each record is in one place, and counted there."""
        deferred = len(self.engine.intake.deferred)
        stats = self.state.ledger.stats(deferred)
        dropped = sum(stats.dropped.values())
        assert stats.accepted == stats.delivered + stats.spooled + stats.dead_lettered + stats.in_flight + dropped, (
            stats
        )
        found = self.where()
        gone = {number for number, places in found.items() if not places}
        assert self.lost <= gone
        self.lost = gone
        assert all(len(places) == 1 for number, places in found.items() if number not in gone), found
        states = Counter(places[0] for places in found.values() if places)
        count: Counter[str] = Counter()
        for name, records in states.items():
            count[COUNTED_AS[State[name]] if name in State.__members__ else name] += records
        recount = (
            len(self.mine),
            count["delivered"],
            count["spooled"] + count["row"],
            count["letter"],
            count["in_flight"] + count["deferred"],
            count["dropped"] + len(gone),
        )
        assert (*stats[:5], dropped) == recount, (stats, found)
        if gone:
            assert sum(stats.dropped.get(reason, 0) for reason in ("outbox_full", "dead_letters_full")) >= len(gone)
        delivered = {number for number, places in found.items() if places == ["DELIVERED"]}
        assert self.mine.intersection(self.kafka.acknowledged) <= delivered
        assert delivered <= {arrival.number for arrival in self.kafka.arrived}
        for batch, numbers in self.batches:
            assert batch.taken == len(numbers)
            assert batch.failed <= sum(found.get(number) in (["DROPPED"], ["deferred"]) for number in numbers) + len(
                numbers
            )

    def nothing_is_forgotten(self) -> None:
        """What librdkafka has is known to the lane, and what is at hand is about to be decided over."""
        outbox = self.engine.outbox
        with_client = {id(entry) for lane in self.engine.lanes for entry in lane.with_client()}
        assert with_client == {id(entry) for entry in self.state.entries if entry.state in WITH_CLIENT}
        on_their_way = [entry for entry in self.state.entries if entry.state in WITH_CLIENT]
        number_of_client = self.kafka.client_number
        assert sorted(sent.number for sent in self.kafka.has()) == sorted(
            number_of(entry.record) for entry in on_their_way if entry.client == number_of_client
        )
        for entry in self.state.entries:
            if entry.state in {State.AT_HAND, State.RECALLED}:
                lane = self.state.lanes[entry.record.category]
                assert (entry in lane.expected()) or entry in self.roomless, entry.state
            elif entry.state is State.LATE:
                assert outbox is not None
                assert entry.place is not None
                assert outbox.exists(entry.place), "it counts as spooled, and is in memory only"
        for lane in self.engine.lanes:
            for number, found in lane.partitions.items():
                assert found.overdue == sum(lane.partition(entry) == number for entry in lane.overdue.values())
                assert found.open == sum(lane.partition(entry) == number for entry in lane.with_client())
            if self.state.away:
                assert lane.probed <= {*lane.partitions, *map(lane.partition, lane.with_client())}
            if outbox is not None:
                for place in places(outbox, lane.stream):
                    record = decode_row(outbox.read(place), lane.category).record
                    assert lane.backlog.holds(record.key) or number_of(record) in self.out_of_order

    def nothing_is_stuck(self) -> None:
        """Nothing is in the way of anything, when all is at rest and nothing is wrong."""
        self.it_is_as_it_should_be()
        assert not self.state.away
        for lane in self.engine.lanes:
            assert not lane.blocked
            assert not lane.trial
            assert not lane.partitions
            assert not any(lane.backlog._counts)
        letters = {number for number, where in self.where().items() if where == ["letter"]}
        wrong = {number for number in letters if self.handed[number].is_wrong}
        assert letters - wrong <= self.kafka.refused_alone, "it was not refused alone"

    def order_is_kept(self) -> None:
        """Per topic and key first arrivals are in the order of hand-over, with the exceptions of docs/delivery.md."""
        if self.engine.outbox is not None:
            self.out_of_order |= self.engine.outbox.found_no_room
        first: dict[int, int] = {}
        sent_at: dict[int, int] = {}
        for at_, arrival in enumerate(self.kafka.arrived):
            if arrival.number not in first:
                first[arrival.number] = at_
                sent_at[arrival.number] = arrival.sent_at
        lanes: dict[tuple[Category, bytes | None], list[int]] = {}
        for number in first:
            handed = self.handed[number]
            if handed.key is not None:
                lanes.setdefault((handed.category, handed.key), []).append(number)
        for numbers in lanes.values():
            for later in numbers:
                for earlier in numbers:
                    if self.ended[earlier] < self.began[later] and first[earlier] > first[later]:
                        assert self.may_come_after(earlier, sent_at[later]), (earlier, later, self.kafka.arrived)

    def may_come_after(self, earlier: int, sent_at: int) -> bool:
        """Whether a record may come after a newer one that the client was given at that time."""
        # It came back when the newer one was on its way already; or it is one of those of which nothing is promised.
        return sent_at < self.came_back.get(earlier, 0) or earlier in self.out_of_order


QUICKLY = settings(
    max_examples=100, stateful_step_count=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

TestEngineBesideModel = EngineBesideModel.TestCase
TestEngineBesideModel.settings = QUICKLY


def test_it_takes_every_step() -> None:
    """The model takes the engine through every step of the table, and through no other."""
    # Those that the tests before have taken count. Mostly one or two seeds are enough; which, changes with Hypothesis.
    for number in range(10):
        if EngineBesideModel.taken == set(TABLE):
            break
        machine = seed(number)(type(f"Seed{number}", (EngineBesideModel,), {}))
        run_state_machine_as_test(machine, settings=QUICKLY)
    assert EngineBesideModel.taken == set(TABLE)


def test_what_came_back_is_put_behind_older_ones_that_are_late() -> None:
    """A record that was refused at once, and put aside, does not overtake one that its client gives back later."""
    course = EngineBesideModel()
    course.begin(has_outbox=True, segments=2, durable=(), knows_partitions=True, has_counted=True)
    course.hand_over(category="application", key=b"k0", room_within=0.0, size=0)
    course.a_topic_is_refused_at_once(category="application", code=NO_SCHEMA_ID)
    course.late_records_come_back(
        category="application", of=[b"k0"], code=KafkaError._FATAL, breaks=False, is_full=False
    )
    course.teardown()


def test_nothing_overtakes_what_is_to_be_sent_again_when_no_more_may_wait_with_it() -> None:
    """Without an outbox a record is rather dropped, and counted, than delivered before older ones of its key."""
    course = EngineBesideModel()
    course.begin(has_outbox=False, segments=2, durable=(), knows_partitions=True, has_counted=True)
    course.a_signal_handler_logs_in_a_report(category="application", key=b"k0")
    course.the_outbox_fills(category="audit", key=b"k0", then="application")
    for _ in range(4):
        course.the_cluster_is_mended()
    code = KafkaError.MSG_SIZE_TOO_LARGE
    course.late_records_come_back(category="application", of=[b"k0", b"k0"], code=code, breaks=False, is_full=False)
    course.brokers_work(batch=1)
    for _ in range(3):
        course.the_cluster_is_mended()
    course.the_outbox_fills(category="application", key=b"k0", then="application")
    course.teardown()
