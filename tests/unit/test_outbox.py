"""The outbox: what is in it, in which order, and what a crash, a full disk or a damaged file leaves of it."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.kafka_record import KafkaRecord
from otel_kafka_exporter.outbox import Outbox
from otel_kafka_exporter.rows import Row, decode_row, encode_row
from otel_kafka_exporter.segment import DONE, SENT, WAITING
from otel_kafka_exporter.stream import STREAMS, Place, Stream
from tests.strategies import QUICK
from tests.waiting import exit_code, until

APPLICATION, AUDIT = Stream("application"), Stream("audit")
LOST: list[tuple[Stream, int, str]] = []


@pytest.fixture(autouse=True)
def nothing_lost() -> Iterator[None]:
    LOST.clear()
    yield
    LOST.clear()


def lose(stream: Stream, rows: int, reason: str) -> None:
    LOST.append((stream, rows, reason))


def outbox_in(directory: Path, max_bytes: int = 1 << 20) -> Outbox:
    return Outbox(directory, "configuration", max_bytes, {"pid": os.getpid()}, lose)


def waiting(outbox: Outbox, stream: Stream) -> list[bytes]:
    found, place = [], None
    while (place := outbox.next_waiting(stream, place)) is not None:
        found.append(outbox.read(place))
    return found


def crash(outbox: Outbox) -> None:
    """What is left of it when its process is killed: its files, with the locks gone."""
    outbox.abandon()


# Rows

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
records = st.builds(
    KafkaRecord,
    topic=texts,
    key=st.none() | st.binary(max_size=20),
    value=st.binary(max_size=200),
    headers=st.lists(st.tuples(texts, st.none() | st.binary(max_size=20)), max_size=9),
    milliseconds=st.integers(-(2**63), 2**63 - 1),
    category=st.sampled_from(["application", "audit", "security"]),
    event_id=texts,
    cuts=st.just(0),
    uncut=st.none(),
)


@QUICK
@given(records, texts, st.integers(0, 2**63 - 1))
def test_rows_come_back_as_they_were(record: KafkaRecord, reason: str, nanoseconds: int) -> None:
    """A record, its reason and its time survive the bytes."""
    assert decode_row(encode_row(record, reason, nanoseconds), record.category) == Row(record, reason, nanoseconds)


@QUICK
@given(st.binary(max_size=300))
def test_other_bytes_are_no_row(payload: bytes) -> None:
    """Bytes that are no row are a ValueError, and nothing else."""
    with suppress(ValueError):
        decode_row(payload)


# The store

rows = st.binary(min_size=1, max_size=3000)


class Store(RuleBasedStateMachine):
    """The outbox beside a list for each stream: every step does the same to both."""

    directory: Path
    counter = 0

    def __init__(self) -> None:
        super().__init__()
        Store.counter += 1
        self.home = self.directory / str(Store.counter)
        self.outbox = outbox_in(self.home, 64 << 20)
        self.model: dict[Stream, list[tuple[Place | None, bytes, int]]] = {stream: [] for stream in STREAMS}

    @rule(stream=st.sampled_from(STREAMS), row=rows, state=st.sampled_from([WAITING, SENT]))
    def append(self, stream: Stream, row: bytes, state: int) -> None:
        self.model[stream].append((self.outbox.append(stream, row, state), row, state))

    @rule(stream=st.sampled_from(STREAMS), some=st.lists(rows, min_size=1, max_size=5))
    def put_in_front(self, stream: Stream, some: list[bytes]) -> None:
        front = self.outbox.front(stream)
        self.model[stream][:0] = [(front.append(row), row, WAITING) for row in some]

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data(), state=st.sampled_from([WAITING, SENT, DONE]))
    def change(self, data: st.DataObject, state: int) -> None:
        stream = data.draw(st.sampled_from([stream for stream, kept in self.model.items() if kept]))
        at = data.draw(st.integers(0, len(self.model[stream]) - 1))
        place, row, _ = self.model[stream].pop(at)
        if place is not None:
            self.outbox.set_state(place, state)
            if state != DONE:
                self.model[stream].insert(at, (place, row, state))

    @rule(how=st.sampled_from([crash, Outbox.close]))
    def restart(self, how: object) -> None:
        assert callable(how)
        how(self.outbox)
        self.outbox = outbox_in(self.home, 64 << 20)
        adopted = self.outbox.adopt()
        assert adopted == {stream: len(kept) for stream, kept in self.model.items() if kept}
        for stream, kept in self.model.items():
            place = None
            for at, (_, row, _) in enumerate(kept):
                place = self.outbox.next_waiting(stream, place)
                kept[at] = (place, row, WAITING)

    @invariant()
    def the_same_waits_in_the_same_order(self) -> None:
        for stream, kept in self.model.items():
            expected = [row for _, row, state in kept if state == WAITING]
            assert waiting(self.outbox, stream) == expected
            assert self.outbox.waiting(stream) == len(expected)

    def teardown(self) -> None:
        self.outbox.close()


def test_the_outbox_does_what_a_list_does(tmp_path: Path) -> None:
    """Whatever is appended, put in front, changed, closed or killed: the same rows wait in the same order."""
    Store.directory = tmp_path
    run_state_machine_as_test(Store, settings=QUICK)
    assert not LOST


def test_files_are_for_their_user_only(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600; the directory is made on first need."""
    outbox = outbox_in(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    outbox.append(APPLICATION, b"row")
    found = list((tmp_path / "a").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()} == {0o600}
    outbox.close()


def test_an_outbox_with_nothing_left_leaves_nothing(tmp_path: Path) -> None:
    """When everything is DONE at the end, no file stays."""
    outbox = outbox_in(tmp_path)
    outbox.set_state(outbox.append(AUDIT, b"row"), DONE)
    outbox.close()
    assert not list(tmp_path.rglob("*.segment"))
    assert not list(tmp_path.rglob("owner"))


def test_application_rows_give_way(tmp_path: Path) -> None:
    """At its bound the oldest application rows go, counted; audit rows never do, and then it says that it is full."""
    outbox = outbox_in(tmp_path)
    row = b"x" * 10_000
    for _ in range(200):
        outbox.append(APPLICATION, row)
    evicted = sum(rows for _, rows, _ in LOST)
    assert {(stream, reason) for stream, _, reason in LOST} == {(APPLICATION, "outbox_full")}
    assert outbox.waiting(APPLICATION) == 200 - evicted
    kept = 0
    with pytest.raises(OutboxError) as raised:  # noqa: PT012 - it is the last of many that raises
        while True:
            outbox.append(AUDIT, row)
            kept += 1
    assert raised.value.reason == "outbox_full"
    assert outbox.waiting(AUDIT) == kept > 80
    assert outbox.waiting(APPLICATION) == 0
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.segment")) <= 1 << 20
    outbox.close()


def test_what_cannot_be_read_is_set_aside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A foreign or unreadable file in a dead process's directory is kept beside, with one line; the rest is adopted."""
    dead = outbox_in(tmp_path)
    dead.append(AUDIT, b"good")
    dead.append(APPLICATION, b"unreadable")
    crash(dead)
    [segment] = tmp_path.rglob("application.*.segment")
    segment.write_bytes(b"something else")
    (segment.parent / "foreign").write_text("mine")
    outbox = outbox_in(tmp_path)
    assert outbox.adopt() == {AUDIT: 1}
    kept = {path.read_bytes() for path in tmp_path.rglob("set-aside/*")}
    assert kept == {b"something else", b"mine"}
    assert capfd.readouterr().err.count("was set aside as") >= 1
    outbox.close()


def test_a_flipped_bit_costs_its_own_row(tmp_path: Path) -> None:
    """A row whose bytes have changed is lost and counted, and never delivered; its neighbours are."""
    dead = outbox_in(tmp_path)
    for row in (b"first", b"second", b"third"):
        dead.append(AUDIT, row)
    crash(dead)
    [segment] = tmp_path.rglob("*.segment")
    content = bytearray(segment.read_bytes())
    content[content.index(b"second")] ^= 0x20
    segment.write_bytes(content)
    outbox = outbox_in(tmp_path)
    outbox.adopt()
    assert waiting(outbox, AUDIT) == [b"first", b"third"]
    assert LOST == [(AUDIT, 1, "outbox_damaged")]
    outbox.close()


def test_files_that_somebody_removes_are_written_anew(tmp_path: Path) -> None:
    """Rows whose file was removed while in use are still there, and on the disk again after a check."""
    outbox = outbox_in(tmp_path)
    outbox.append(AUDIT, b"row")
    [segment] = tmp_path.rglob("*.segment")
    segment.unlink()
    outbox.check()
    assert list(tmp_path.rglob("*.segment")) == [segment]
    crash(outbox)
    adopter = outbox_in(tmp_path)
    adopter.adopt()
    assert waiting(adopter, AUDIT) == [b"row"]
    adopter.close()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """Without a usable directory the reason is `outbox_unavailable`, and the text names the directory."""
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="file") as raised:
        outbox_in(tmp_path / "file").append(AUDIT, b"row")
    assert raised.value.reason == "outbox_unavailable"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_lives_is_not_adopted(tmp_path: Path) -> None:
    """A living process's rows are its own, whatever its children do; they are adopted when it is dead."""
    pid = os.fork()
    if pid == 0:
        outbox = outbox_in(tmp_path)
        outbox.append(AUDIT, b"row")
        if os.fork() == 0:
            outbox.abandon()
        (tmp_path / f"ready-{os.getpid()}").touch()
        signal.pause()
    try:
        until(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
        outbox = outbox_in(tmp_path)
        assert outbox.adopt() == {}
        os.kill(pid, signal.SIGKILL)
        assert exit_code(pid) == -signal.SIGKILL
        assert outbox.adopt() == {AUDIT: 1}
        outbox.close()
    finally:
        for ready in tmp_path.glob("ready-*"):
            child = int(ready.name.removeprefix("ready-"))
            if child != pid:
                os.kill(child, signal.SIGKILL)
