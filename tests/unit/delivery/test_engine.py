"""What the engine promises where several things go wrong at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter.delivery.entry import Batch
from otel_kafka_exporter.records import Category
from tests.interrupting import interrupt_at_signal_point
from tests.outboxes import SEGMENT_BYTES, in_memory

from .engine import PARTITIONS, Build, Clock, Engine, FakeKafka, Handed, at

SILENT = frozenset((category, number) for category in ("application", "audit") for number in range(PARTITIONS))


class Process:
    """A process with an engine, whose time passes in steps."""

    def __init__(self, clock: Clock, directory: Path | None, *, max_bytes: int = 1 << 20) -> None:
        self.clock = clock
        self.kafka = FakeKafka(clock)
        self.engine = Engine(
            self.kafka,
            directory,
            max_bytes=max_bytes,
            durable=(),
            knows_partitions=True,
            taken=set(),
            came_back={},
        )
        self.handed = 0
        for lane in self.engine.lanes:
            lane.count = PARTITIONS

    def hand_over(self, category: Category, *keys: bytes | None, size: int = 0) -> None:
        for key in keys:
            self.engine.intake.take((Handed(self.handed, category, key, size),), Build(), None, 0.0, 0.0)
            self.handed += 1

    def runs(self, steps: int, batch: int = 10) -> None:
        for _ in range(steps):
            self.kafka.works(batch)
            self.kafka.poll(0.0)
            self.clock.sleep(0.3)
            self.engine.recovery.step()

    def comes_to_rest(self) -> None:
        """Until no record waits or is on its way, and a little longer: then nothing more may come of any."""
        for _ in range(60):
            if not sum(self.counts()[2::2]):
                break
            self.runs(1, batch=1)
        self.runs(3, batch=1)

    def refuse(self, records: int, code: int) -> None:
        target = next(target for target, queue in self.kafka.queues.items() if queue)
        self.kafka.refuse(target, records, code)
        self.kafka.poll(0.0)

    def arrived(self) -> list[int]:
        return [arrival.number for arrival in self.kafka.arrived]

    def counts(self) -> tuple[int, ...]:
        """As `stats`: accepted, delivered, spooled, dead lettered, in flight."""
        return tuple(self.engine.state.ledger.stats()[:5])


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    """Makes a process, in place of the one before."""
    clock = Clock()
    patches = at(clock, lambda *_: None)
    made: list[Process] = []

    def make(*, has_outbox: bool = True, **options: Any) -> Process:
        close()  # the one before: outboxes of the living are looked at by each that is made
        made.append(Process(clock, directory / str(len(made)) if has_outbox else None, **options))
        return made[-1]

    def close() -> None:
        if made and made[-1].engine.outbox is not None:
            made[-1].engine.outbox.close()

    with in_memory() as directory:
        yield make
        close()
    patches.undo()


def test_records_without_a_key_find_out_that_a_partition_is_back(process: Callable[..., Process]) -> None:
    """Without an outbox a partition that failed has records again when it is back, though none has a key."""
    one = process(has_outbox=False)
    one.hand_over("application", None)
    failed = next(target for target, queue in one.kafka.queues.items() if queue)
    one.refuse(1, KafkaError.NETWORK_EXCEPTION)
    one.runs(2)
    for _ in range(200):  # partitions are chosen at random
        one.hand_over("application", None)
        one.runs(1)
    assert failed in {arrival.target for arrival in one.kafka.arrived}
    assert one.engine.state.lanes["application"].partitions == {}


def test_records_whose_partition_was_not_known_leave_nothing_behind(process: Callable[..., Process]) -> None:
    """What was sent before the partitions were known, and failed, is the end of what has no partition."""
    one = process(has_outbox=False)
    lane = one.engine.state.lanes["application"]
    lane.count = 0
    one.hand_over("application", None)
    lane.count = PARTITIONS
    one.refuse(1, KafkaError.NETWORK_EXCEPTION)
    one.runs(2)
    assert lane.partitions == {}


def test_late_records_whose_rows_give_way_are_in_flight(process: Callable[..., Process]) -> None:
    """A late record whose row gave way counts as in flight again, be it that no other row there waited."""
    one = process(max_bytes=2 * SEGMENT_BYTES)
    one.kafka.silent = set(SILENT)
    one.hand_over("application", b"k0")
    one.runs(12)
    assert one.counts() == (1, 0, 1, 0, 0)
    one.hand_over("audit", b"k0", b"k0", size=60_000)
    one.runs(1)
    assert one.counts() == (3, 0, 2, 0, 1)
    one.kafka.mend()
    one.runs(10)
    assert one.counts() == (3, 3, 0, 0, 0)
    assert one.engine.state.ledger.dropped == {}


def test_without_room_in_the_outbox_nothing_overtakes_what_came_back(process: Callable[..., Process]) -> None:
    """A record that cannot be kept goes behind those of its partition that came back, and are to be decided over."""
    one = process()
    assert one.engine.outbox is not None
    one.hand_over("audit", b"k0")
    one.refuse(1, KafkaError.NETWORK_EXCEPTION)
    one.engine.outbox.broken = True
    one.hand_over("audit", b"k0")
    one.engine.outbox.broken = False
    one.runs(10)
    assert one.arrived() == [0, 1]
    assert one.counts() == (2, 2, 0, 0, 0)


def test_a_late_record_that_goes_again_is_in_one_place_while_the_queue_is_full(process: Callable[..., Process]) -> None:
    """What is sent once more, and finds no room, is neither sent nor counted twice."""
    one = process()
    one.kafka.silent = set(SILENT)
    one.hand_over("audit", b"k0", b"k0")
    one.runs(12)
    assert one.counts() == (2, 0, 2, 0, 0)
    one.refuse(2, KafkaError.INVALID_RECORD)
    one.kafka.full_until = one.clock.now + 1.0
    one.runs(2)
    assert one.counts() == (2, 0, 2, 0, 0)
    one.kafka.silent = set()
    one.runs(10)
    assert one.arrived() == [0, 1]
    assert one.counts() == (2, 2, 0, 0, 0)


def test_a_blocked_topic_is_tried_again_after_a_full_queue(process: Callable[..., Process]) -> None:
    """That there was no room for the record that tries a blocked topic is not the last try."""
    one = process()
    one.hand_over("audit", b"k0")
    one.refuse(1, KafkaError.UNKNOWN_TOPIC_OR_PART)
    one.engine.recovery.step()
    one.kafka.full_until = one.clock.now + 1.0
    one.runs(20)
    assert one.counts() == (1, 1, 0, 0, 0)
    assert one.engine.state.lanes["audit"].blocked == ""


def test_a_cluster_that_is_away_is_tried_again_after_a_full_queue(process: Callable[..., Process]) -> None:
    """That there was no room for the record that tries a partition is not the last try."""
    one = process()
    one.hand_over("audit", b"k0")
    one.refuse(1, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
    one.engine.recovery.step()
    assert one.engine.state.away
    one.kafka.full_until = one.clock.now + 1.0
    one.runs(20)
    assert one.counts() == (1, 1, 0, 0, 0)
    assert one.engine.state.away == ""


def test_a_report_of_a_former_client_is_none_of_the_present_ones(process: Callable[..., Process]) -> None:
    """A record that a new client has is not taken back by a report that the old one had yet."""
    one = process(has_outbox=False)
    one.kafka.swallows = True
    one.hand_over("audit", b"k0")
    one.kafka.fail()
    one.kafka.poll(0.0)
    one.engine.recovery.step()
    assert [len(queue) for queue in one.kafka.queues.values()] == [1]
    one.kafka.report_stale()
    one.engine.recovery.step()
    assert one.kafka.client_number == 1
    one.runs(2)
    assert one.arrived() == [0]
    assert one.counts() == (1, 1, 0, 0, 0)


def test_a_late_record_whose_row_gave_way_at_hand_is_in_flight(process: Callable[..., Process]) -> None:
    """A late record that came back, whose row gave way before it went again, counts as in flight."""
    one = process(max_bytes=2 * SEGMENT_BYTES)
    one.kafka.silent = set(SILENT)
    one.hand_over("application", b"k0", b"k0")
    one.runs(12)
    one.refuse(2, KafkaError.INVALID_RECORD)
    one.kafka.full_until = one.clock.now + 1.0
    one.runs(1)
    one.hand_over("audit", b"k0", b"k0", size=60_000)
    assert one.counts() == (4, 0, 4, 0, 0)
    one.runs(4)
    assert [len(queue) for queue in one.kafka.queues.values()] == [1, 1]  # the second half comes after the first
    assert one.counts() == (4, 0, 3, 0, 1)
    one.kafka.mend()
    one.runs(10)
    assert one.counts() == (4, 4, 0, 0, 0)


def test_what_goes_again_does_not_keep_a_blocked_topic_from_being_tried(process: Callable[..., Process]) -> None:
    """A topic that is blocked while records are about to go again is tried all the same, and in order."""
    one = process()
    assert one.engine.outbox is not None
    one.hand_over("audit", b"k0", b"k0")
    one.refuse(2, KafkaError.INVALID_RECORD)
    one.engine.recovery.step()
    one.hand_over("audit", b"k8")
    one.kafka.refuse(("audit", 2), 1, KafkaError.UNKNOWN_TOPIC_OR_PART)
    one.kafka.poll(0.0)
    one.engine.outbox.broken = True
    one.engine.recovery.step()
    one.engine.outbox.broken = False
    one.hand_over("audit", b"k0")
    one.runs(20)
    assert one.arrived() == [0, 1, 3]
    assert one.counts() == (4, 3, 0, 0, 0)
    assert one.engine.state.ledger.dropped == {"outbox_unavailable": 1}


def test_a_partition_is_tried_although_it_had_records_before_the_cluster_was_away(
    process: Callable[..., Process],
) -> None:
    """While the cluster is away each partition has a record on its way, whatever it had in an earlier trouble."""
    one = process()
    one.hand_over("audit", b"k0")
    one.refuse(1, KafkaError.NETWORK_EXCEPTION)
    one.hand_over("audit", b"k8")
    one.runs(5)
    one.hand_over("audit", b"k3")
    one.refuse(1, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
    one.engine.recovery.step()
    one.kafka.silent = {("audit", 0)}
    one.hand_over("audit", b"k8")
    one.runs(5)
    assert one.arrived() == [1, 0, 3]
    assert one.engine.state.away == ""


def test_nothing_is_sent_beside_the_last_one_that_goes_again_alone(process: Callable[..., Process]) -> None:
    """A record that is sent alone, to find out whether it is refused for itself, is alone until its report."""
    one = process()
    one.hand_over("audit", b"k0", b"k0")
    one.refuse(2, KafkaError.INVALID_RECORD)
    one.engine.recovery.step()
    one.refuse(1, KafkaError.INVALID_RECORD)
    one.engine.recovery.step()
    one.hand_over("audit", b"k0")
    one.engine.recovery.step()
    assert [[sent.number for sent in queue] for queue in one.kafka.queues.values()] == [[1]]
    one.runs(5)
    assert one.arrived() == [1, 2]
    assert one.counts() == (3, 2, 0, 1, 0)


@pytest.mark.parametrize(
    ("what", "has_outbox"),
    [
        ("refused", True),
        ("refused", False),
        ("late and refused", True),
        ("late and refused", False),
        ("to be sent again", True),
    ],
)
def test_ctrl_c_within_a_decision_loses_no_record(
    what: str, process: Callable[..., Process], *, has_outbox: bool
) -> None:
    """Wherever Python raises it, each record is delivered or a dead letter in the end, and counted once."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        one = process(has_outbox=has_outbox)
        one.hand_over("audit", *[b"k0"] * 5)
        if what == "late and refused":
            one.clock.sleep(2.5)
            one.engine.recovery.step()
        one.refuse(5, KafkaError.INVALID_RECORD)
        if what == "to be sent again":
            one.engine.recovery.step()
            one.refuse(3, KafkaError.NETWORK_EXCEPTION)
            one.clock.sleep(1.0)
        interrupted = interrupt_at_signal_point(number, one.engine.recovery.step)
        one.comes_to_rest()
        accepted, delivered, spooled, letters, open_ = one.counts()
        assert (accepted, spooled, open_) == (5, 0, 0), number
        assert delivered + letters == 5, number
        assert set(one.arrived()) == set(range(5)), number
    assert number > 50


@pytest.mark.parametrize("has_outbox", [True, False])
def test_ctrl_c_within_a_second_try_loses_no_record(process: Callable[..., Process], *, has_outbox: bool) -> None:
    """A record for which there was no room is delivered, kept, or counted as interrupted, and once."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        one = process(has_outbox=has_outbox)
        one.kafka.full_until = one.clock.now + 1.0
        entry, room = one.engine.intake.offer(Handed(0, "audit", b"k0", 0), Build(), None)
        assert entry is not None
        assert not room
        one.clock.sleep(2.0)
        intake = one.engine.intake
        interrupted = interrupt_at_signal_point(number, lambda: intake.try_again(entry))  # noqa: B023 - called at once
        if interrupted:
            intake.give_up(entry)  # as whoever waits for room does
        one.runs(30)
        accepted, delivered, spooled, letters, open_ = one.counts()
        dropped = sum(one.engine.state.ledger.dropped.values())
        assert (accepted, delivered + dropped, spooled, letters, open_) == (1, 1, 0, 0, 0), number
    assert number > 5  # fewer are traced from Python 3.12 on


@pytest.mark.parametrize("has_outbox", [True, False])
@pytest.mark.parametrize("what", ["delivered", "refused", "late", "back"])
def test_ctrl_c_within_a_report_leaves_nobody_waiting(
    what: str, process: Callable[..., Process], *, has_outbox: bool
) -> None:
    """Wherever Python raises it, each record of a batch has its outcome, its caller is told of all, and once."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        one = process(has_outbox=has_outbox)
        batch = Batch()
        sources = [Handed(at, "audit", b"k0", 0) for at in range(3)]
        if what == "back":  # something else was late before, and is the first that is acknowledged
            one.hand_over("audit", b"k0")
            one.kafka.silent = set(SILENT)
            one.clock.sleep(2.5)
            one.engine.recovery.step()
            one.kafka.silent = set()
        one.engine.intake.take(sources, Build(), batch, 0.0, 0.0)
        if what == "late":
            one.clock.sleep(2.5)
            one.engine.recovery.step()
        if what == "refused":
            target = next(target for target, queue in one.kafka.queues.items() if queue)
            one.kafka.refuse(target, 3, KafkaError.INVALID_RECORD)
        else:
            one.kafka.works(10)
        reports = one.kafka.collected
        settle, reports.settle = reports.settle, lambda: None
        one.kafka.poll(0.0)
        reports.settle = settle
        interrupted = interrupt_at_signal_point(number, settle)
        one.runs(60, batch=1)
        accepted, delivered, spooled, letters, open_ = one.counts()
        dropped = sum(one.engine.state.ledger.dropped.values())
        assert (accepted, spooled, open_) == (3 + (what == "back"), 0, 0), number
        assert delivered + letters + dropped == accepted, number
        assert (batch.taken, batch.open) == (3, 0), number
        assert batch.failed == (dropped if what != "back" else batch.failed), number
        assert not any(lane.trial for lane in one.engine.lanes), number
        assert one.engine.state.ledger.counts["in_flight"] == 0, number
    assert number > 10


@pytest.mark.parametrize("code", [KafkaError.NETWORK_EXCEPTION, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_ctrl_c_within_a_decision_leaves_no_other_caller_waiting(code: int, process: Callable[..., Process]) -> None:
    """Wherever Python raises it in one thread that decides, the others' batches are told of all their records."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        one = process(has_outbox=False)
        batches = [Batch() for _ in range(3)]
        for sent, batch in enumerate(batches):
            one.engine.intake.take((Handed(sent, "audit", b"k0", 0),), Build(), batch, 0.0, 0.0)
        one.refuse(3, code)
        interrupted = interrupt_at_signal_point(number, one.engine.recovery.step)
        one.runs(20)
        assert [batch.open for batch in batches] == [0, 0, 0], number
        assert one.engine.state.ledger.counts["in_flight"] == 0, number
    assert number > 50


def test_ctrl_c_while_what_was_put_off_finds_no_room(process: Callable[..., Process]) -> None:
    """Wherever Python raises it, each record that was put off is delivered or dropped in the end, and counted once."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        one = process(has_outbox=False)
        one.kafka.full_until = one.clock.now + 0.2
        intake = one.engine.intake
        for sent in range(3):
            intake.deferred.append((Build().build(Handed(sent, "audit", b"k0", 0)), ""))
        interrupted = interrupt_at_signal_point(number, intake.start_deferred)
        intake.start_deferred()
        one.runs(20)
        accepted, delivered, spooled, letters, open_ = one.counts()
        assert (accepted, delivered + sum(one.engine.state.ledger.dropped.values())) == (3, 3), number
        assert (spooled, letters, open_) == (0, 0, 0), number
    assert number > 20


def test_ctrl_c_while_all_is_taken_back_leaves_the_turn_to_others(process: Callable[..., Process]) -> None:
    """Wherever Python raises it, nobody has the turn for ever."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        one = process()
        one.hand_over("audit", b"k0")
        recovery = one.engine.recovery
        interrupted = interrupt_at_signal_point(number, lambda: recovery.retreat(0.0))  # noqa: B023 - called at once
        assert recovery.retreat(0.0), number
    assert number > 20


def test_who_has_the_turn_does_not_wait_for_it(process: Callable[..., Process]) -> None:
    """A signal handler that shuts down in the middle of a decision has no second one."""
    recovery = process().engine.recovery
    with recovery._turn:
        started = time.monotonic()
        assert not recovery.retreat(10.0)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("has_outbox", [True, False])
def test_ctrl_c_where_there_is_no_room_loses_no_record(process: Callable[..., Process], *, has_outbox: bool) -> None:
    """Wherever Python raises it, from the call on that finds the queue full, each record has its outcome."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        one = process(has_outbox=has_outbox)
        one.kafka.full_until = one.clock.now + 1.0
        interrupted = interrupt_at_signal_point(number, lambda: one.hand_over("application", b"k0"))  # noqa: B023 - called at once
        one.clock.sleep(2.0)
        one.comes_to_rest()
        accepted, delivered, _, _, open_ = one.counts()
        assert open_ == 0, number
        assert accepted == delivered + sum(one.engine.state.ledger.dropped.values()), number
    assert number > 20
