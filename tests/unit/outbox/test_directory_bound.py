"""The bound of all processes together: what gives way, whose, and that nothing goes uncounted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox.outbox import Adopter, Outbox
from otel_kafka_exporter.outbox.stream import Stream
from otel_kafka_exporter.process import RLock
from tests.outboxes import APPLICATION, AUDIT, DEAD, QUARTER, SEGMENT_BYTES, Losses, all_waiting, waiting

BOUND = 16 * SEGMENT_BYTES  # the least of which a part, a segment, is for events
OWNER = {"bootstrap_servers": "a:1", "topic_prefix": "", "namespace": "n"}


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

    def start(self, configuration: str = "one", **owner: str) -> Process:
        losses = Losses()
        most = BOUND  # by which each segment has the least size
        outbox = Outbox(
            *(self.directory, configuration, most, OWNER | owner, losses),
            dead_max_bytes=most // 2,
            directory_max_bytes=BOUND,
        )
        process = Process(outbox, losses, Counter())
        self.alive.append(process)
        return process

    def kill(self, process: Process) -> None:
        self.alive.remove(process)
        process.outbox.abandon()

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
    stranger = processes.start("another", **other)
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
