"""The bound of all processes together: what gives way, whose, and that nothing goes uncounted."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox.outbox import Adopter, Fate, Judge, Outbox
from otel_kafka_exporter.outbox.stream import Stream
from otel_kafka_exporter.process import RLock
from tests.outboxes import APPLICATION, AUDIT, DEAD, QUARTER, SEGMENT_BYTES, Losses, all_waiting, waiting

BOUND = 16 * SEGMENT_BYTES  # the least of which a part, a segment, is for events
OWNER = {"bootstrap_servers": "a:1", "topic_prefix": "", "namespace": "n"}


def takes_all(_stream: Stream, _payload: bytes) -> Fate:
    return Fate.TAKEN


class Process(NamedTuple):
    """A process with an outbox."""

    outbox: Outbox
    losses: Losses
    adopted: Counter[Stream]

    def fill(self, stream: Stream, segments: int, text: bytes = b"") -> None:
        for n in range(4 * segments):
            self.outbox.append(stream, (b"%s%d:" % (text, n)).ljust(QUARTER, b"."))

    def keep_bound(self) -> None:
        self.outbox.keep_bound(Adopter(RLock(), lambda stream, rows: self.adopted.update({stream: rows})))


class Processes:
    """All that share a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.alive: list[Process] = []

    def start(self, configuration: str = "one", *, judge: Judge = takes_all, **owner: str) -> Process:
        losses = Losses()
        most = BOUND  # by which each segment has the least size
        outbox = Outbox(
            *(self.directory, configuration, most, OWNER | owner, losses, judge),
            dead_max_bytes=most // 2,
            directory_max_bytes=BOUND,
        )
        process = Process(outbox, losses, Counter())
        self.alive.append(process)
        return process

    def kill(self, process: Process) -> None:
        self.alive.remove(process)
        process.outbox.abandon()

    def files(self) -> set[Path]:
        return set(self.directory.rglob("*.segment"))

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.directory.rglob("*.segment"))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    for each in found.alive:
        each.outbox.abandon()


def test_a_crash_loop_leaves_no_more_than_the_bound(processes: Processes) -> None:
    """However often processes die without taking over what is there, all of it stays within the bound, and counted."""
    for _ in range(8):
        process = processes.start()
        process.fill(APPLICATION, 3)
        process.keep_bound()
        assert processes.size() <= BOUND
        processes.kill(process)
    last = processes.start()
    last.keep_bound()
    given_up = last.losses[APPLICATION, "outbox_full"]
    assert last.adopted[APPLICATION] == given_up
    assert processes.size() <= BOUND


def test_what_gives_way_is_what_would_within_a_process(processes: Processes) -> None:
    """Dead letters first, then application records, each the oldest first, be they a dead process's or its own."""
    dead = processes.start()
    dead.fill(APPLICATION, 4)
    dead.fill(DEAD, 4)
    dead.fill(AUDIT, 4)
    processes.kill(dead)
    process = processes.start()
    process.fill(DEAD, 4)
    process.keep_bound()
    for letters in range(2, 9):
        process.fill(AUDIT, 1)
        process.keep_bound()
        assert process.losses == {(DEAD, "dead_letters_full"): 4 * letters}
    for records in range(1, 4):
        process.fill(AUDIT, 1)
        process.keep_bound()
        assert process.losses[APPLICATION, "outbox_full"] == 4 * records
    assert processes.size() <= BOUND
    assert process.adopted == {DEAD: 16, APPLICATION: 12}
    process.outbox.adopt(Adopter(RLock(), lambda *_: None))
    assert len(waiting(process.outbox, AUDIT)) == 56
    assert len(waiting(process.outbox, APPLICATION)) == 4


def test_events_do_not_give_way(processes: Processes) -> None:
    """Where events take all of the bound, the next one has no room, and the error names the setting."""
    dead = processes.start()
    dead.fill(AUDIT, 16)
    processes.kill(dead)
    process = processes.start()
    process.keep_bound()
    with pytest.raises(OutboxError, match="outbox_directory_max_bytes") as raised:
        process.fill(AUDIT, 1)
    assert raised.value.reason == "outbox_full"
    process.outbox.adopt(Adopter(RLock(), lambda *_: None))
    assert len(waiting(process.outbox, AUDIT)) == 64
    assert not process.losses


@pytest.mark.parametrize(
    "other",
    [{"bootstrap_servers": "b:1"}, {"topic_prefix": "another."}, {"cluster_id": "another"}],
    ids=["another cluster's", "other topics'", "another cluster's by its ID"],
)
def test_what_is_anothers_is_counted_and_left_alone(processes: Processes, other: dict[str, str]) -> None:
    """Records for another cluster or other topics are not given up for this process's, which has what is left."""
    stranger = processes.start("another", judge=takes_all, **other)
    stranger.fill(APPLICATION, 12)
    processes.kill(stranger)
    process = processes.start(cluster_id="ours")
    process.fill(APPLICATION, 6)
    process.keep_bound()
    assert processes.size() <= BOUND
    assert process.adopted[APPLICATION] == 0
    assert process.losses[APPLICATION, "outbox_full"] == 12
    assert all_waiting(process.outbox) == {APPLICATION: waiting(process.outbox)}


def test_living_processes_share_the_bound(processes: Processes) -> None:
    """A living process's own records give way where others need room for events; what is a living one's stays its."""
    hog, modest = processes.start(), processes.start()
    hog.fill(APPLICATION, 16)
    modest.keep_bound()
    assert not hog.losses
    hog.keep_bound()
    assert hog.losses[APPLICATION, "outbox_full"] == 4
    modest.keep_bound()
    modest.fill(AUDIT, 1)
    assert processes.size() <= BOUND


def test_adopting_needs_no_room_beside_itself(processes: Processes) -> None:
    """What is taken over was there before: a full directory keeps nobody from delivering it."""
    dead = processes.start()
    dead.fill(AUDIT, 12)
    processes.kill(dead)
    process = processes.start()
    process.fill(AUDIT, 2)
    process.keep_bound()
    process.outbox.adopt(Adopter(RLock(), lambda *_: None))
    assert len(waiting(process.outbox, AUDIT)) == 56
    process.fill(AUDIT, 2)  # it is not counted twice


def judge(_stream: Stream, payload: bytes) -> Fate:
    """What becomes of a record, as its first word says."""
    return {b"leave": Fate.LEFT, b"aside": Fate.SET_ASIDE}.get(payload[:5], Fate.TAKEN)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[QUARTER // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("text", [b"leave", b"aside"], ids=["need a Schema Registry", "are for other topics"])
def test_what_adoption_leaves_or_sets_aside_is_left_alone(processes: Processes, text: bytes) -> None:
    """Records that this process would not deliver if it took them over are not given up for its own."""
    dead = processes.start()
    for _ in range(6):
        dead.fill(APPLICATION, 1)
        dead.outbox.append(DEAD, text.ljust(3 * QUARTER, b"."))  # a file each, with one letter of ours behind it
        dead.outbox.append(DEAD, b"ours".ljust(QUARTER // 2, b"."))
    processes.kill(dead)
    letters = set(processes.directory.rglob("*.dead.*"))
    process = processes.start(judge=judge)
    process.fill(APPLICATION, 6)
    for _ in range(2):
        process.keep_bound()
    assert letters <= processes.files()
    assert processes.size() <= BOUND
    assert process.adopted[DEAD] == process.losses[DEAD, "dead_letters_full"] == 0
    assert process.adopted[APPLICATION] == process.losses[APPLICATION, "outbox_full"] == 12


def test_what_is_damaged_is_left_alone(processes: Processes) -> None:
    """A file that a person may want to look at is not deleted, be it a dead process's or its own."""
    dead = processes.start()
    dead.fill(APPLICATION, 8)
    processes.kill(dead)
    first, header, *_ = sorted(processes.files())
    damage(first)
    header.write_bytes(b"no header".ljust(SEGMENT_BYTES, b"."))
    process = processes.start()
    process.fill(APPLICATION, 8)
    (own,) = {path.parent for path in processes.files()} - {first.parent}
    oldest = min(own.glob("*.segment"))
    damage(oldest)
    place = process.outbox.next_waiting(APPLICATION)
    assert place is not None
    with pytest.raises(ValueError, match="undamaged"):
        process.outbox.read(place)
    for _ in range(8):
        process.fill(AUDIT, 1)
        process.keep_bound()
    assert {first, header, oldest} <= processes.files()
    assert processes.size() <= BOUND


def test_what_may_be_another_clusters_is_left_alone(processes: Processes) -> None:
    """While its own cluster has not answered, a process gives up nothing of one whose ID is known."""
    other = processes.start(cluster_id="another")
    other.fill(APPLICATION, 12)
    processes.kill(other)
    theirs = processes.files()
    process = processes.start()
    process.fill(APPLICATION, 6)
    process.keep_bound()
    assert theirs <= processes.files()
    assert processes.size() <= BOUND
    process.outbox.reached("another")
    process.fill(APPLICATION, 1)
    process.keep_bound()
    assert process.adopted[APPLICATION] == 4


def test_many_processes_give_up_what_one_has_to(processes: Processes) -> None:
    """Processes that find too much at the same moment, as the workers of a service do, have it give way once."""
    dead = processes.start()
    for _ in range(2):
        dead.fill(APPLICATION, 16)
        processes.kill(dead)
        dead = processes.start()
    go, let_go = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            try:
                process = processes.start()
                os.close(let_go)
                os.read(go, 1)  # until all can begin
                process.keep_bound()
            finally:
                os._exit(0)
        children.append(child)
    os.close(let_go)
    os.close(go)
    for child in children:
        os.waitpid(child, 0)
    assert len(processes.files()) == 15


class Meanwhile:
    """A lock, after whose first use another process gives way."""

    def __init__(self, other: Process) -> None:
        self._others: list[Process] = [other]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._others:
            self._others.pop().keep_bound()


def test_who_comes_later_looks_again(processes: Processes) -> None:
    """A process that was about to have something give way finds out first whether another one has done so meanwhile."""
    dead = processes.start()
    dead.fill(APPLICATION, 16)
    processes.kill(dead)
    late, other = processes.start(), processes.start()
    late.outbox.keep_bound(Adopter(Meanwhile(other), lambda *_: None))
    assert other.losses[APPLICATION, "outbox_full"] == 4
    assert not late.losses


def test_a_fork_meanwhile_holds_nothing(processes: Processes) -> None:
    """A child that is forked while a dead process's file is read keeps nobody from that process's directory."""
    dead = processes.start()
    dead.fill(AUDIT, 1)
    dead.fill(APPLICATION, 15)
    processes.kill(dead)
    oldest = min(path for path in processes.files() if path.name.startswith("application"))
    reads, forked = threading.Event(), threading.Event()

    def wait(_stream: Stream, _payload: bytes) -> Fate:
        is_first = not reads.is_set()
        reads.set()
        assert forked.wait(30)
        return Fate.LEFT if is_first else Fate.TAKEN

    process = processes.start(judge=wait)
    thread = threading.Thread(target=process.keep_bound)
    thread.start()
    assert reads.wait(30)
    (ends, end), (began, begins) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            process.outbox.abandon()  # as the exporter does in a child
            os.write(begins, b".")
            os.close(end)
            os.read(ends, 1)  # it lives on
        finally:
            os._exit(0)
    try:
        os.read(began, 1)
        forked.set()
        thread.join(30)
        assert process.losses[APPLICATION, "outbox_full"] == 4
        other = processes.start()
        other.fill(AUDIT, 1)
        other.keep_bound()
        assert other.losses[APPLICATION, "outbox_full"] == 4
        assert oldest not in processes.files()
        other.outbox.adopt(Adopter(RLock(), lambda *_: None))
        assert len(waiting(other.outbox, AUDIT)) == 8
    finally:
        for descriptor in (ends, end, began, begins):
            os.close(descriptor)
        os.waitpid(child, 0)
