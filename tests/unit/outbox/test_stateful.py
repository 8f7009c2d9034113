"""The outbox beside a model of it that is a few lists, through whatever happens to it, in any order."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import merging
from otel_kafka_exporter.outbox.outbox import Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT, WAITING
from otel_kafka_exporter.outbox.segment_format import HEADER_BYTES, ROW_BYTES
from otel_kafka_exporter.outbox.stream import STREAMS, Place, Stream
from tests.outboxes import SEGMENT_BYTES, Losses, adopt, boxes, make_outbox, places

MAX_BYTES = 6 * SEGMENT_BYTES

sizes = st.sampled_from([0, 1, 7, 8, 100, 5_000, 16_000, 40_000, 70_000])
streams = st.sampled_from(STREAMS)
states = st.sampled_from([WAITING, SENT, DONE])


@dataclass(eq=False)
class Row:
    """A row as the model knows it."""

    payload: bytes
    state: int
    place: Place
    path: Path | None
    damaged: bool = False
    tries: int = 0


Rows = dict[Stream, list[Row]]


class OutboxBesideModel(RuleBasedStateMachine):
    """One living process at a time, and those that died before it."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.directory = Path(tempfile.mkdtemp())
        self.number = 0
        self.dead: list[Rows] = []  # the oldest first
        self.dead_bytes = 0
        self.start()

    @initialize(few=st.sampled_from([0, 2, merging._FEW]))
    def merge_from(self, few: int) -> None:
        """From how many segments on small ones are merged that are adopted."""
        self.patch.setattr(merging, "_FEW", few)

    def start(self) -> None:
        self.losses = Losses()
        self.outbox: Outbox = make_outbox(self.directory, MAX_BYTES, self.losses, MAX_BYTES)
        self.rows: Rows = {stream: [] for stream in STREAMS}

    def teardown(self) -> None:
        try:
            self.deliver_all()
        finally:
            self.patch.undo()

    def deliver_all(self) -> None:
        """In the end all that died is adopted, as room comes, and delivered once and in order; nothing is left."""
        for row in [row for rows in self.rows.values() for row in rows]:
            self.outbox.set_state(row.place, DONE)
        delivered: dict[Stream, list[bytes]] = {stream: [] for stream in STREAMS}
        for _ in range(2 + len(self.dead)):
            adopt(self.outbox)
            for stream in STREAMS:
                for place in places(self.outbox, stream):
                    delivered[stream].append(self.outbox.read(place))
                    self.outbox.set_state(place, DONE)
        for stream in STREAMS:
            left = [[row.payload for row in rows[stream] if not row.damaged] for rows in self.dead]
            assert sorted(delivered[stream]) == sorted(payload for payloads in left for payload in payloads)
            for payloads in left:
                assert [payload for payload in delivered[stream] if payload in payloads] == payloads
        self.outbox.close()
        assert boxes(self.directory) == []
        shutil.rmtree(self.directory)

    def payload(self, size: int) -> bytes:
        self.number += 1
        return b"%d:" % self.number + os.urandom(1) * size

    def gone(self, stream: Stream) -> list[Row]:
        return [row for row in self.rows[stream] if not self.outbox.exists(row.place)]

    def forget_evicted(self, before: int, appended_to: Stream, payload: bytes) -> None:
        """What gave way had to: dead letters, and then application records; the oldest. It was told of if it waited."""
        told: Losses = Losses()
        for stream in sorted(STREAMS, key=lambda stream: stream.dead):
            gone = self.gone(stream)
            if not gone:
                continue
            assert stream.dead or (stream.category == "application" and not appended_to.dead)
            assert before + max(SEGMENT_BYTES, len(payload)) > MAX_BYTES
            left = [
                row
                for name in STREAMS
                if name.dead or (name.category == "application" and not stream.dead)
                for row in self.rows[name]
                if self.outbox.exists(row.place) and row.payload != payload
            ]
            assert stream.dead or not any(row in self.rows[name] for row in left for name in STREAMS if name.dead)
            youngest = max(row.place.segment.created for row in gone)
            assert all(row.place.segment.created >= youngest for row in left)
            waited = sum(row.state == WAITING and row.payload != payload for row in gone)
            if waited:
                told(stream, waited, "dead_letters_full" if stream.dead else "outbox_full")
            self.rows[stream] = [row for row in self.rows[stream] if row not in gone]
        assert told == self.losses
        self.losses.clear()

    def put(self, stream: Stream, place: Place, at: int, payload: bytes, state: int) -> None:
        if state != DONE:
            self.rows[stream].insert(at, Row(payload, state, place, place.segment.path))

    def refused(self, stream: Stream, payload: bytes) -> None:
        """A row is refused only when what does not give way to it leaves no room."""
        stays = {
            row.place.segment
            for name in STREAMS
            if not name.dead and (stream.dead or name.category != "application")
            for row in self.rows[name]
        }
        least = max(SEGMENT_BYTES, len(payload))
        assert sum(segment.size for segment in stays) + least + 4096 > MAX_BYTES
        assert not self.losses, stream

    @rule(stream=streams, size=sizes, state=states)
    def append(self, stream: Stream, size: int, state: int) -> None:
        payload = self.payload(size)
        before = self.outbox.usage().bytes
        try:
            place = self.outbox.append(stream, payload, state)
        except OutboxError:
            self.refused(stream, payload)
            return
        self.put(stream, place, len(self.rows[stream]), payload, state)
        self.forget_evicted(before, stream, payload)

    @rule(stream=streams, rows=st.lists(st.tuples(sizes, states), max_size=5))
    def put_before(self, stream: Stream, rows: list[tuple[int, int]]) -> None:
        front = self.outbox.front(stream)
        mine: list[Row] = []
        for size, state in rows:
            payload = self.payload(size)
            before = self.outbox.usage().bytes
            try:
                place = front.append(payload, state)
            except OutboxError:
                self.refused(stream, payload)
                return
            self.put(stream, place, sum(row in self.rows[stream] for row in mine), payload, state)
            mine += [row for row in self.rows[stream] if row.payload == payload]
            self.forget_evicted(before, stream, payload)

    @precondition(lambda self: any(self.rows.values()))
    @rule(data=st.data(), state=states)
    def set_state(self, data: st.DataObject, state: int) -> None:
        stream = data.draw(st.sampled_from([stream for stream in STREAMS if self.rows[stream]]))
        row = data.draw(st.sampled_from(self.rows[stream]))
        self.outbox.set_state(row.place, state)
        row.state = state
        if state == DONE:
            self.rows[stream].remove(row)

    @precondition(lambda self: any(self.rows.values()))
    @rule(data=st.data(), tries=st.sampled_from([1, 1, 1, -1, 100]))
    def try_again(self, data: st.DataObject, tries: int) -> None:
        stream = data.draw(st.sampled_from([stream for stream in STREAMS if self.rows[stream]]))
        row = data.draw(st.sampled_from(self.rows[stream]))
        self.outbox.count_try(row.place, tries)
        row.tries = max(0, min(row.tries + tries, 255))

    @precondition(lambda self: any(self.rows.values()))
    @rule(data=st.data())
    def retreat(self, data: st.DataObject) -> None:
        """A row goes before all others of its stream, and another one takes its place."""
        stream = data.draw(st.sampled_from([stream for stream in STREAMS if self.rows[stream]]))
        row = data.draw(st.sampled_from(self.rows[stream]))
        before = self.outbox.usage().bytes
        try:
            place = self.outbox.front(stream).append(row.payload, WAITING)
        except OutboxError:
            self.refused(stream, row.payload)
            return
        self.forget_evicted(before, stream, bytes(len(row.payload)))  # this one may give way as well
        if row in self.rows[stream]:
            self.outbox.supersede(row.place, place)
            self.rows[stream].remove(row)
        else:  # it had to give way itself, for its own sake
            row.tries = 0
        row.place, row.path, row.state = place, place.segment.path, WAITING
        self.rows[stream].insert(0, row)

    @rule(stream=streams, count=st.integers(1, 30))
    def deliver(self, stream: Stream, count: int) -> None:
        for _ in range(count):
            place = self.outbox.next_waiting(stream)
            if place is None:
                break
            row = next(row for row in self.rows[stream] if row.state == WAITING)
            assert (place, self.outbox.read(place)) == (row.place, row.payload)
            self.outbox.set_state(place, SENT)
            self.outbox.set_state(place, DONE)
            self.rows[stream].remove(row)

    @rule(gently=st.booleans(), data=st.data())
    def end(self, data: st.DataObject, *, gently: bool) -> None:
        """The process ends, or is killed; bits of its files flip, or files are cut short."""
        self.die(gently=gently)
        rows = [row for left in self.dead[-1:] for rows in left.values() for row in rows]
        for row in data.draw(st.lists(st.sampled_from(rows), max_size=3, unique=True)) if rows else []:
            if data.draw(st.booleans()):
                self.flip(row, data)
            else:
                self.cut(row, rows, data)

    def die(self, *, gently: bool) -> None:
        before = set(boxes(self.directory))
        used = self.outbox.usage().bytes
        if gently:
            self.outbox.close()
        else:
            self.outbox.abandon()  # which touches no file, as a SIGKILL does not
        for box in before:
            if box.exists() and (box / "owner").stat().st_mtime > 1_000_000:
                self.number += 1
                os.utime(box / "owner", (self.number, self.number))
        if any(self.rows.values()):
            self.dead.append(self.rows)
            self.dead_bytes += used
        self.start()

    @staticmethod
    def flip(row: Row, data: st.DataObject) -> None:
        """A bit in a row flips, of those that mean anything and have no other bits to speak for them."""
        assert row.path is not None
        at = data.draw(st.integers(0, ROW_BYTES + len(row.payload) - 1).filter(lambda at: at not in {2, 3}))
        content = bytearray(row.path.read_bytes())
        if row.place.offset + at < len(content) and not row.damaged:
            content[row.place.offset + at] ^= 1 << data.draw(st.integers(0, 7))
            row.path.write_bytes(content)
            row.damaged = True

    @staticmethod
    def cut(row: Row, rows: list[Row], data: st.DataObject) -> None:
        assert row.path is not None
        size = data.draw(st.integers(HEADER_BYTES, row.place.offset + ROW_BYTES + len(row.payload)))
        if size < row.path.stat().st_size:
            os.truncate(row.path, size)
        for other in rows:
            if other.path == row.path and other.place.offset + ROW_BYTES + len(other.payload) > size:
                other.damaged = True

    @precondition(lambda self: self.dead and self.dead_bytes + self.outbox.usage().bytes <= MAX_BYTES)
    @rule()
    def adopt_what_fits(self) -> None:
        self.adopt()

    def adopt(self) -> None:
        """All that died goes before all that is here, but for what was damaged, which is counted."""
        adopted = adopt(self.outbox)
        lost: dict[Stream, int] = {}
        for stream in STREAMS:
            rows = [row for left in self.dead for row in left[stream]]
            good = [row for row in rows if not row.damaged]
            lost[stream] = len(rows) - len(good)
            for row in good:
                row.state = WAITING
            assert adopted.get(stream, 0) == len(good)
            self.rows[stream] = good + self.rows[stream]
            found = places(self.outbox, stream)
            waiting = [row for row in self.rows[stream] if row.state == WAITING]
            assert [self.outbox.read(place) for place in found] == [row.payload for row in waiting]
            for row, place in zip(waiting, found, strict=True):
                row.place, row.path = place, place.segment.path
        for stream in STREAMS:
            # Of damaged rows side by side nobody can tell how many they were; a file that was cut counts as one more.
            told = self.losses.pop((stream, "outbox_damaged"), 0)
            assert bool(told) >= bool(lost[stream])
        assert not self.losses
        self.dead, self.dead_bytes = [], 0

    @invariant()
    def it_is_as_the_model(self) -> None:
        for stream in STREAMS:
            waiting = [row.place for row in self.rows[stream] if row.state == WAITING]
            assert places(self.outbox, stream) == waiting
            for row in self.rows[stream]:
                assert self.outbox.read(row.place) == row.payload
                assert self.outbox.tries(row.place) == row.tries
        usage = self.outbox.usage()
        assert usage.bytes <= MAX_BYTES
        live = [row.place.segment for rows in self.rows.values() for row in rows if row.state == WAITING]
        assert usage.oldest == min((segment.created for segment in live), default=None)


TestOutboxBesideModel = OutboxBesideModel.TestCase
TestOutboxBesideModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, database=None)
