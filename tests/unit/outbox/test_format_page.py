"""The page on the outbox's format is enough to read an outbox: the reader here knows only what that says."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.outbox import DONE, SENT, WAITING, Outbox, Segment, Stream, encode_row
from otel_kafka_exporter.records import KafkaRecord
from tests.outboxes import APPLICATION, AUDIT, DEAD, SECURITY, make_outbox
from tests.strategies import QUICK

PAGE = (Path(__file__).parents[3] / "docs" / "outbox-format.md").read_text(encoding="utf-8")
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
SEGMENT = r"((?:application|audit|security)(?:\.dead)?)\.[0-9]{18}\.segment"
TYPES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q"}

#: The tables that say what bytes mean: under which heading, and the name of their first column.
HEADER, ROW, STATES = ("Header", "offset"), ("Row", "offset"), ("States", "value")
PAYLOAD, PARTS = ("Payload", "offset"), ("Payload", "part")
LAYOUT = (HEADER, ROW, STATES, PAYLOAD, PARTS)

Line = Mapping[str, str]


# The page's tables


def blocks(page: str) -> dict[tuple[str, str], list[str]]:
    """The lines of each table as they stand, that of its columns first."""
    found = {}
    for section in re.split(r"^#+ ", page, flags=re.MULTILINE)[1:]:
        for block in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
            columns, _, *lines = block.splitlines()
            found[section.splitlines()[0], cells(columns)[0]] = [columns, *lines]
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def tables(page: str) -> dict[tuple[str, str], list[Line]]:
    """The lines of each table, by column."""
    return {
        key: [dict(zip(cells(columns), cells(line), strict=True)) for line in lines]
        for key, (columns, *lines) in blocks(page).items()
    }


def number(text: str, n: int) -> int:
    """What an offset like `40 + 4n` comes to."""
    return sum(int(term[:-1]) * n if term.endswith("n") else int(term) for term in text.split(" + "))


def literal(line: Line) -> str:
    """The value that a line's meaning begins with."""
    return line["meaning"].split("`")[1]


class Fields:
    """The fields that a table gives the offsets of; there is no gap between them."""

    def __init__(self, table: list[Line]) -> None:
        self.lines = {line["field"]: line for line in table}
        for n in (0, 3):
            if self.end(n) != sum(number(line["bytes"], n) for line in table):
                raise ValueError("expected fields one behind the other, got a gap")

    def end(self, n: int = 0) -> int:
        last = list(self.lines.values())[-1]
        return number(last["offset"], n) + number(last["bytes"], n)

    def at(self, field: str, n: int = 0) -> slice:
        start = number(self.lines[field]["offset"], n)
        return slice(start, start + number(self.lines[field]["bytes"], n))

    def numbers(self, field: str, content: bytes | bytearray, n: int = 0) -> tuple[int, ...]:
        code = TYPES[self.lines[field]["type"]]
        chunk = content[self.at(field, n)]
        return struct.unpack(f"<{len(chunk) // struct.calcsize(code)}{code}", chunk)

    def number(self, field: str, content: bytes | bytearray) -> int:
        (value,) = self.numbers(field, content)
        return value


# The reader


class Found(NamedTuple):
    stream: str
    state: str
    record: KafkaRecord
    reason: str
    nanoseconds: int


class Row(NamedTuple):
    state: int
    payload: bytes
    right: bool
    next_offset: int


class Reader:
    """Reads segments as a page says.

    Attributes:
        damaged: how often damage was met that is a loss.
    """

    def __init__(self, page: str) -> None:
        found = tables(page)
        self.header, self.row, self.payload = Fields(found[HEADER]), Fields(found[ROW]), Fields(found[PAYLOAD])
        self.parts = {line["part"]: line["type"] for line in found[PARTS]}
        self.states = {line["state"]: int(line["value"].strip("`"), 16) for line in found[STATES]}
        self.names = {value: name for name, value in self.states.items()}
        (none,) = re.findall(r"The length `(\w+)` is none", page)
        self.none = int(none, 16)
        self.damaged = 0

    def outboxes(self, directory: Path) -> Iterator[Path]:
        return (path for path in sorted(directory.glob("*/*")) if re.fullmatch(UUID, path.name))

    def alive(self, outbox: Path) -> bool:
        with (outbox / "owner").open() as owner:
            try:
                fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def records(self, directory: Path) -> list[Found]:
        """What is committed in all outboxes."""
        found = []
        for outbox in self.outboxes(directory):
            for path in sorted(outbox.iterdir()):
                match = re.fullmatch(SEGMENT, path.name)
                if match and path.is_file():
                    for _, row in self.rows(path.read_bytes()):
                        state = self.names.get(row.state, self.names[self.states["waiting"]])
                        found.append(self.record(match[1], state, row.payload))
        return found

    def rows(self, content: bytes | bytearray) -> Iterator[tuple[int, Row]]:
        """Each row that is committed and not damaged, and its offset."""
        size, salt = self.read_header(content)
        limit = min(size, len(content))
        not_committed, done = self.states["not committed"], self.states["done"]
        offset = self.header.end()
        valid = True
        while offset < limit:
            row = self.row_at(content, offset, limit, salt)
            if row is not None:
                payload = range(offset + 8, row.next_offset, 8) if row.state == done and not row.right else range(0)
                within = self.first_right(content, payload, limit, salt)
                valid = row.right or (row.state == done and within is None)
                if valid:
                    yield offset, row
                self.damaged += not valid
                offset = row.next_offset if within is None else within
                continue
            behind = self.first_right(content, range(offset + 8, limit, 8), limit, salt)
            state = content[offset + self.row.at("state").start :][:1]
            valid = state == bytes([done]) or (behind is None and state in (b"", bytes([not_committed])))
            self.damaged += not valid
            if behind is None:
                break
            offset = behind
        if len(content) < size and valid and content[offset : offset + 1] != b"\0":
            self.damaged += 1

    def first_right(self, content: bytes | bytearray, places: range, limit: int, salt: int) -> int | None:
        return next((at for at in places if (row := self.row_at(content, at, limit, salt)) and row.right), None)

    def read_header(self, content: bytes | bytearray) -> tuple[int, int]:
        """The size and the salt."""
        header = self.header
        if content[header.at("magic")] != bytes.fromhex(literal(header.lines["magic"])):
            raise ValueError("expected a segment, got other bytes")
        if header.number("version", content) != int(literal(header.lines["version"])):
            raise ValueError("expected the page's version, got another")
        if header.number("header checksum", content) != crc32(content[: header.at("header checksum").start]):
            raise ValueError("expected a right header, got a wrong checksum")
        return header.number("size", content), header.number("salt", content)

    def row_at(self, content: bytes | bytearray, offset: int, limit: int, salt: int) -> Row | None:
        fields, start = self.row, offset + self.row.end()
        head = content[offset:start]
        if start > limit or fields.number("marker", head) != int(literal(fields.lines["marker"]), 16):
            return None
        checksum, state = fields.number("payload checksum", head), fields.number("state", head)
        checked = head[fields.at("marker")] + head[fields.at("size")]
        if fields.number("row checksum", head) != crc32(checked, checksum) or state == self.states["not committed"]:
            return None
        end = start + fields.number("size", head)
        payload = content[start:end]
        right = end <= limit and crc32(payload, salt) == checksum
        return Row(state, bytes(payload), right, -(-end // 8) * 8)

    def record(self, stream: str, state: str, payload: bytes) -> Found:
        count = self.payload.number("count", payload)
        place = self.payload.end(count)
        parts: dict[str, list[Any]] = {}
        for part, kind in self.parts.items():
            parts[part] = []
            for length in self.payload.numbers(f"{part} length{'s' * part.startswith('header')}", payload, count):
                taken = 0 if length == self.none else length
                chunk = None if length == self.none else payload[place : place + length]
                parts[part].append(chunk.decode() if chunk is not None and kind == "UTF-8" else chunk)
                place += taken
        if place != len(payload):
            raise ValueError("expected parts that end with the payload, got others")
        (topic,), (key,), (value,), (event_id,), (reason,) = (
            parts[part] for part in ("topic", "key", "value", "event ID", "reason")
        )
        headers = list(zip(parts["header name"], parts["header value"], strict=True))
        milliseconds = self.payload.number("milliseconds", payload)
        category: Any = stream.removesuffix(".dead")
        record = KafkaRecord(topic, key, value, headers, milliseconds, category, event_id)
        return Found(stream, state, record, reason, self.payload.number("nanoseconds", payload))


# What it reads


def record(value: bytes, stream: Stream, key: bytes | None = b"key") -> KafkaRecord:
    headers: list[Any] = [("content-type", b"application/json"), ("empty", b""), ("ünone", None)]
    return KafkaRecord("shop.ü", key, value, headers, -5, stream.category, f"id of {value!r}")


PUT = [
    (APPLICATION, WAITING, "waiting", record(b"waits", APPLICATION), ""),
    (APPLICATION, DONE, "done", record(b"done " * 100, APPLICATION), ""),
    (APPLICATION, SENT, "sent", record(b"no key", APPLICATION, None), ""),
    (APPLICATION, WAITING, "waiting", KafkaRecord("t", b"", b"", [], 2**62), ""),
    (DEAD, WAITING, "waiting", record(b"letter", DEAD), "record_too_large: größer"),
    (AUDIT, SENT, "sent", record(bytes(range(256)) * 1000, AUDIT), ""),
    (SECURITY, WAITING, "waiting", record(b"{}", SECURITY), ""),
]
EXPECTED = [
    Found(str(stream), name, each, reason, 10**18 + at) for at, (stream, _, name, each, reason) in enumerate(PUT)
]


def filled(directory: Path) -> Outbox:
    """A living outbox with records in every state."""
    outbox = make_outbox(directory, 1 << 24)
    for at, (stream, state, _, each, reason) in enumerate(PUT):
        place = outbox.append(stream, encode_row(each, reason, 10**18 + at), SENT if state == DONE else state)
        if state == DONE:
            outbox.set_state(place, DONE)
    return outbox


def by_stream(found: list[Found]) -> dict[str, list[Found]]:
    return {stream: [each for each in found if each.stream == stream] for stream in {each.stream for each in found}}


PAYLOADS = [b"first", b"", b"third" * 9, b"12345678", b"fifth"]
BYTES = 4096


def written(path: Path, states: tuple[int, ...] = (WAITING,) * 5) -> bytes:
    """A segment of which all is on the disk."""
    path.unlink(missing_ok=True)
    segment = Segment.create(path, BYTES, 1)
    for payload, state in zip(PAYLOADS, states, strict=True):
        segment.append(payload, state)
    segment.close()
    return path.read_bytes()


def payloads(content: bytes | bytearray) -> tuple[list[bytes], int]:
    """What a reader of the page finds that is not done, and how much damage it meets."""
    reader = Reader(PAGE)
    found = [row.payload for _, row in reader.rows(content) if row.state != reader.states["done"]]
    return found, reader.damaged


def test_what_was_put_in_is_read(tmp_path: Path) -> None:
    """A reader that knows the page alone gets every record as it was put in, in its order, beside its living owner."""
    outbox = filled(tmp_path)
    reader = Reader(PAGE)
    assert by_stream(reader.records(tmp_path)) == by_stream(EXPECTED)
    (path,) = reader.outboxes(tmp_path)
    assert reader.alive(path)
    outbox.close()
    assert not reader.alive(path)
    assert by_stream(reader.records(tmp_path)) == by_stream(EXPECTED)
    assert not reader.damaged


@pytest.mark.parametrize("line", [line for key in LAYOUT for line in blocks(PAGE)[key][1:]])
def test_every_line_is_needed(tmp_path: Path, line: str) -> None:
    """Without any one line of the page's tables the same reader does not get the same records."""
    assert PAGE.count(f"{line}\n") == 1
    filled(tmp_path)
    try:
        found = Reader(PAGE.replace(f"{line}\n", "")).records(tmp_path)
    except (LookupError, ValueError, struct.error):
        return
    assert by_stream(found) != by_stream(EXPECTED)


def test_a_flipped_bit_in_a_payload(tmp_path: Path) -> None:
    """Whatever bit of a payload flips, the checksum tells, and the other rows are read."""
    content = bytearray(written(tmp_path / "a"))
    (offset,) = (at for at, row in Reader(PAGE).rows(content) if row.payload == PAYLOADS[2])
    start = offset + Reader(PAGE).row.end()
    for bit in range(8 * len(PAYLOADS[2])):
        content[start + bit // 8] ^= 1 << bit % 8
        assert payloads(content) == (PAYLOADS[:2] + PAYLOADS[3:], 1)
        content[start + bit // 8] ^= 1 << bit % 8
    assert payloads(content) == (PAYLOADS, 0)


def test_a_flipped_bit_in_the_header(tmp_path: Path) -> None:
    """Whatever bit of a header flips, the file is refused, but for the bytes that others touch."""
    content = bytearray(written(tmp_path / "a"))
    fields = Reader(PAGE).header
    for bit in range(8 * fields.at("touched").start):
        content[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="expected"):
            payloads(content)
        content[bit // 8] ^= 1 << bit % 8
    content[fields.at("touched")] = b"else"
    assert payloads(content) == (PAYLOADS, 0)


def test_a_row_that_was_not_committed(tmp_path: Path) -> None:
    """A row with the state of those that are not committed is a valid end, and is not read."""
    content = bytearray(written(tmp_path / "a"))
    reader = Reader(PAGE)
    *_, (offset, _) = reader.rows(content)
    content[offset + reader.row.at("state").start] = reader.states["not committed"]
    assert payloads(content) == (PAYLOADS[:-1], 0)


@QUICK
@given(st.lists(st.sampled_from([WAITING, SENT, DONE]), min_size=5, max_size=5), st.data())
def test_damage_is_judged_alike(
    tmp_path_factory: pytest.TempPathFactory, states: list[int], data: st.DataObject
) -> None:
    """Of a file with bytes changed, zeroed, cut off or added, the page's reader gets the rows and the losses we do."""
    path = tmp_path_factory.mktemp("damage") / "a"
    foreign = written(path, (DONE,) * 5)
    content = bytearray(written(path, tuple(states)))
    header, end = Reader(PAGE).header.end(), 300  # the rows end before that
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(header, end))
        size = data.draw(st.integers(1, 64))
        other = data.draw(st.integers(header, end)) & ~7
        damage = [bytes(size), bytes([content[at] ^ 1 << size % 8]), content[other : other + size], foreign[at:][:size]]
        content[at : at + size] = data.draw(st.sampled_from(damage))
        content = content[:BYTES].ljust(BYTES, b"\0")
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(header, end)) :]
    elif data.draw(st.booleans()):
        content += b"\xf5\xff\x0f" * 99
    path.write_bytes(content)
    segment = Segment.open(path, 1)
    assert payloads(content) == ([payload for _, payload in segment.live_rows()], segment.damaged)
    segment.close()


def test_settled_from_outside(tmp_path: Path) -> None:
    """A living owner notices who settles a dead letter as the page says, and does not keep it."""
    outbox = filled(tmp_path)
    reader = Reader(PAGE)
    (path,) = tmp_path.glob("*/*/application.dead.*")
    ((offset, _),) = reader.rows(path.read_bytes())
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), bytes([reader.states["done"]]), offset + reader.row.at("state").start)
        os.pwrite(file.fileno(), os.urandom(4), reader.header.at("touched").start)
    assert outbox.check() == {DEAD: 1}
    assert outbox.waiting(DEAD) == 0
    outbox.close()
    assert str(DEAD) not in by_stream(reader.records(tmp_path))
