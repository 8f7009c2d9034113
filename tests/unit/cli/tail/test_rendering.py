"""Records as a person reads them."""

from __future__ import annotations

import json
import re
from datetime import timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from otel_kafka_exporter.cli.tail.fields import field
from otel_kafka_exporter.cli.tail.output import as_json
from otel_kafka_exporter.cli.tail.record import OutboxPlace, Record
from otel_kafka_exporter.cli.tail.rendering import Renderer, View, elapsed
from otel_kafka_exporter.cli.tail.text import cut, lines, pad, visible, wrapped
from otel_kafka_exporter.records import Category
from tests.strategies import any_text, json_value
from tests.tailing import record

TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1\n\tboom()\nKeyError: 1\n'
STYLES = re.compile("\x1b\\[[0-9;]*m")
ESCAPES = [
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))),
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029\ufeff\u200b\ud800",
    *("\x1b[31m", "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bPq#0\x1b\\", "\x1bc", "\x1b(0"),
    *("\x9b31m", "\x9d0;title\x9c", "\x90q\x9c", "\x1b[", "\x1b]52;c;aGk=", "\x1b"),
]


def shown(each: Record, **view: Any) -> list[str]:
    return list(Renderer(View(**{"zone": timezone.utc, **view})).record(each))


@pytest.mark.parametrize(
    ("category", "changes", "expected"),
    [
        ("application", {"context": {"a": 1}}, "INFO     shop         stock is low  a=1"),
        (
            "application",
            {"code": "E1", "tenant_id": "acme"},
            "INFO     shop         stock is low  tenant=acme  code=E1",
        ),
        ("audit", {}, "audit    shop         bob order.delete on order/17: success"),
        ("security", {"context": {"message": "no"}}, "security shop         eve permission_check on ledger: deny  no"),
    ],
)
def test_a_line_reads_as_a_log_or_as_a_sentence(category: Category, changes: dict[str, Any], expected: str) -> None:
    """Time, level, service, message, context and correlation; of an event who, what, on what, outcome."""
    each = record(category, correlation_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736", at=1.5, **changes)
    [line] = shown(each)
    assert line == f"2026-11-25 22:00:01.500Z {expected}  0e0e4736"


def test_a_stack_trace_is_unfolded_below_its_line() -> None:
    """Each of its lines is one, and what its last one says is not said twice."""
    context = {"exception.stacktrace": TRACE, "exception.type": "KeyError", "exception.message": "1", "a": 1}
    head, *below = shown(record(context=context))
    assert "stock is low  a=1  " in head
    assert "exception" not in head
    assert below == [
        "    Traceback (most recent call last):",
        '      File "a.py", line 1',
        "        boom()",
        "    KeyError: 1",
    ]


def test_a_message_of_many_lines_goes_on_below() -> None:
    """The first line stands with the columns, the others below it."""
    head, *below = shown(record(message="first\nsecond\n  third"))
    assert "shop         first" in head
    assert below == ["    second", "      third"]


@pytest.mark.parametrize("evil", ESCAPES)
@pytest.mark.parametrize("category", ["application", "audit", "security"])
def test_nothing_in_a_record_reaches_the_terminal_as_a_command(evil: str, category: Category) -> None:
    """No C0, C1, escape sequence, OSC, or bidi control of any field, key or value is written, in lines or in JSON."""
    text = f"a{evil}b"
    if category == "application":
        payload: dict[str, Any] = {"message": text, "level": text, "logger": text, "code": text}
    elif category == "audit":
        payload = {"actor": text, "action": text, "resource": text, "outcome": text}
    else:
        payload = {"user_id": text, "event_type": text, "resource": text, "decision": text}
    payload["context"] = {text: text, "exception.stacktrace": text, "message": text, "deep": {text: [text]}}
    each = record(category, source=text.replace("\ud800", ""), tenant_id=text.replace("\ud800", ""), **payload)
    each.key = text.encode("utf-8", "surrogatepass")
    broken = Record("t", 0, 0, 0, None, [("content-type", text.encode("utf-8", "replace"))], b"x")
    broken.decode()
    for width in (None, 30, 200):
        for color in (False, True):
            for one in (each, broken):
                written = shown(one, width=width, color=color, expand=True, offsets=True, fields=[field("context")])
                written += shown(one, width=width, color=color)
                assert all(STYLES.sub("", line).isprintable() for line in written), written
                if not color:
                    assert "\x1b" not in "".join(written)
    assert as_json(each).isprintable()
    assert as_json(broken).isprintable()


@given(any_text, st.dictionaries(any_text, json_value, max_size=3), st.integers(1, 200), st.booleans())
def test_a_line_fits_the_terminal(message: str, context: dict[str, Any], width: int, color: bool) -> None:  # noqa: FBT001 - one of two
    """However wide the terminal and the text, no line is wider, and none holds what moves a cursor."""
    each = record(message=message, context=context)
    for line in shown(each, width=width, color=color, expand=True):
        plain = STYLES.sub("", line)
        assert plain.isprintable()
        assert cell_len(plain) <= max(width, 20)


@pytest.mark.parametrize("width", [40, 50, 71, 72, 80, 99, 100, 200])
def test_on_a_narrow_terminal_columns_give_way_and_the_message_does_not(width: int) -> None:
    """The message is wrapped and whole; columns are left out below 72, fractions and IDs below 100."""
    words = [f"word{number}" for number in range(30)]
    found = shown(record(message=" ".join(words), context={"k": "v" * 300}), width=width)
    text = " ".join(found)
    assert [word for word in re.findall(r"word\d+", text) if word in words] == words
    assert all(cell_len(line) <= width for line in found)
    assert ("shop" in text) is (width >= 72)
    assert (".000" in text) is (width >= 100)
    assert "…" in text


def test_a_day_is_named_where_it_begins() -> None:
    """On a terminal, where lines have the time alone, another day than today and each change of it is a line."""
    renderer = Renderer(View(width=80, zone=timezone.utc))
    found = [line for hours in (0, 1, 3) for line in renderer.record(record(at=hours * 3600))]
    assert [line.strip() for line in found if "──" in line] == ["── 2026-11-25 ──", "── 2026-11-26 ──"]


def test_a_story_tells_the_time_since_its_first_line() -> None:
    """Of one request's records, each says how long after the first it was."""
    renderer = Renderer(View(story=True, zone=timezone.utc))
    found = [next(iter(renderer.record(record(at=at)))) for at in (0, 0.25, 83)]
    assert [line.split()[2] for line in found] == ["+0.000", "+0.250", "+1:23.000"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "+0.000"), (-0.5, "-0.500"), (59.9996, "+1:00.000"), (3_599.5, "+59:59.500"), (7_923, "+2:12:03")],
)
def test_elapsed_times(seconds: float, expected: str) -> None:
    """Seconds, minutes and hours, with their fractions below an hour."""
    assert elapsed(seconds) == expected


def test_fields_hide_expand_and_offsets() -> None:
    """What is chosen stands behind the message, what is hidden nowhere, the whole below."""
    each = record(context={"a": 1, "b": {"c": 2}}, partition=3, offset=17)
    [line] = shown(each, fields=[field("logger"), field("context.b.c"), field("context.none")])
    assert "low  logger=shop.orders  context.b.c=2  " in line
    [line] = shown(each, hide=frozenset({"a", "source", "correlation_id", "timestamp", "level"}))
    assert line == 'stock is low  b={"c":2}'
    [line] = shown(each, offsets=True)
    assert "  omninode.logging.application.v1/3/17  a=1" in line
    _, *below = shown(each, expand=True, hide=frozenset({"a"}))
    assert "    logger: shop.orders" in below
    assert '    context.b: {"c":2}' in below
    assert not any("context.a" in line or "message" in line for line in below)
    assert len(below) == len(set(below))


def test_what_is_sought_is_marked() -> None:
    """Each place where a pattern is found is in reverse, over whatever style it has."""
    [line] = shown(record(context={"a": "low"}), color=True, marks=(re.compile("low"), re.compile("is l")))
    assert line.count("\x1b[7m") == 1
    assert "stock \x1b[7mis low\x1b[0m" in line
    assert "\x1b[2ma=\x1b[0m\x1b[2;7mlow\x1b[0m" in line


def test_what_is_no_envelope_is_one_line_that_says_where_and_why() -> None:
    """An undecodable value has its place and its problem; a dead letter of an outbox its beginning."""
    each = Record("some.topic", 2, 9, 0, None, [], b"\xff nothing of ours")
    each.decode()
    [line] = shown(each)
    assert "some.topic/2/9: expected JSON, got something else at character 0" in line
    letter = Record(
        "t",
        -1,
        40,
        0,
        None,
        [],
        b'{"body": "b"}',
        OutboxPlace("f", "audit.dead", "conversion:omni.audit.action", "e1", "shop", 7, 0),
    )
    letter.decode()
    [line] = shown(letter)
    assert line.endswith('{"body": "b"}')


def test_a_json_document_has_all_of_a_record() -> None:
    """Its keys are API: place, time, key, headers, envelope, and what is known about it."""
    each = record(partition=1, offset=2, context={"evil": "\x1b\x9b\u202e\U0001f600"})
    assert each.envelope is not None
    text = as_json(each, late=True, duplicate=True)
    assert json.loads(text) == {
        "topic": "omninode.logging.application.v1",
        "partition": 1,
        "offset": 2,
        "timestamp": each.milliseconds,
        "key": "shop",
        "headers": {name: bytes(value or b"").decode() for name, value in each.headers.items()},  # type: ignore[arg-type]
        "envelope": each.envelope._asdict(),
        "error": None,
        "value": None,
        "late": True,
        "duplicate": True,
        "outbox": None,
    }
    broken = Record(
        "t", 0, 0, 0, b"\xff", [("h", None)], b"\xffx", OutboxPlace("file", "audit", "", "e1", "shop", 7, 0)
    )
    broken.decode()
    document = json.loads(as_json(broken))
    assert (document["key"], document["headers"], document["envelope"]) == ("\ufffd", {"h": None}, None)
    assert document["value"] == "\ufffdx"
    assert "expected JSON" in document["error"]
    assert document["outbox"] == {
        "file": "file", "stream": "audit", "reason": "", "event_id": "e1", "logger": "shop", "bytes": 7,
        "tries": 0, "row": 0,
    }  # fmt: skip


@given(any_text, st.integers(0, 40), st.integers(1, 40))
def test_texts_for_columns(text: str, first: int, width: int) -> None:
    """What is cut, padded or wrapped has the columns that it was given, and wrapping loses nothing but blanks."""
    text = visible(text)
    assert text.isprintable()
    assert cell_len(cut(text, width)) <= width
    assert cell_len(pad(text, width)) == width
    parts = list(wrapped(text, first, width))
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(part) <= max(2, width) for part in parts[1:])
    assert all(line.isprintable() for line in lines(text))
