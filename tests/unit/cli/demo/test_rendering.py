"""What the command line shows of envelopes, and how it counts them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from otel_kafka_exporter import OnexEnvelopeV1
from otel_kafka_exporter.cli.demo.rendering import Screen, pretty, record_line, visible
from otel_kafka_exporter.cli.demo.tally import Line, Tally, category_of, count_emitted
from otel_kafka_exporter.records.envelope import Category

APPLICATION = {
    "service_name": "shop",
    "instance_id": "i-1",
    "level": "WARN",
    "logger": "shop.orders",
    "message": "stock is low",
    "code": "UNSPECIFIED",
    "context": {},
}
AUDIT = {"action": "user.login", "actor": "ada", "resource": "shop", "outcome": "success", "context": {}}
SECURITY = {"event_type": "check", "user_id": "eve", "resource": "/admin", "decision": "deny", "context": {}}
PAYLOADS: dict[Category, dict[str, Any]] = {"application": APPLICATION, "audit": AUDIT, "security": SECURITY}


def envelope(category: Category = "application", event_id: str = "e-1", **payload: Any) -> OnexEnvelopeV1:
    return OnexEnvelopeV1(
        event_type=f"omninode.logging.{category}.v1",
        event_id=event_id,
        timestamp="2026-03-01T12:34:56.789012Z",
        tenant_id="default",
        namespace="omninode",
        source="shop",
        correlation_id="d4cb2a31-464c-b789-71de-995b207ab4b5",
        causation_id="d4cb2a31-464c-b789-71de-995b207ab4b5",
        schema_ref=f"registry://omninode/logging/{category}/v1",
        payload={**PAYLOADS[category], **payload},
    )


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("application", ["12:34:56", "WARN", "shop", "stock", "is", "low", "d4cb2a31"]),
        ("audit", ["12:34:56", "audit", "shop", "ada", "user.login", "shop", "success", "d4cb2a31"]),
        ("security", ["12:34:56", "security", "shop", "eve", "check", "/admin", "deny", "d4cb2a31"]),
    ],
)
def test_a_line_says_when_what_kind_who_what_and_in_which_trace(category: Category, words: list[str]) -> None:
    """Time, level or category, service, message, and the start of the correlation ID, in this order."""
    assert record_line(envelope(category), None).plain.split() == words
    assert record_line(envelope(category), 120).plain.split() == words


@pytest.mark.parametrize("width", [1, 8, 20, 40, 60, 79, 80, 81, 200])
@pytest.mark.parametrize("message", ["short", "long " * 100, "注文が届きました" * 20])
def test_a_line_fits_the_terminal(width: int, message: str) -> None:
    """However narrow the terminal and however wide its characters, a record takes one line of it."""
    assert record_line(envelope(message=message), width).cell_len <= width


def test_on_a_narrow_terminal_columns_give_way_to_the_message() -> None:
    """With 60 columns, a message of 40 characters is whole, and without service and correlation ID."""
    message = "m" * 40
    assert record_line(envelope(message=message), 60).plain.split() == ["12:34:56", "WARN", message]


def test_a_pipe_cuts_nothing() -> None:
    """A reader that is a program gets the whole message, however long."""
    assert "x" * 5_000 in record_line(envelope(message="x" * 5_000), None).plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a window's title\x07after", "after"),
        ("\x1b", ""),
        ("\x9b2J C1 \x85 and \x00 NUL", "2J C1 and NUL"),
        ("reversed \u202e by bidi", "reversed by bidi"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("größer 注文", "größer 注文"),
    ],
)
def test_what_a_record_holds_cannot_move_the_cursor(text: str, shown: str) -> None:
    """Escape sequences, control characters and line breaks of a message do not reach the terminal."""
    assert visible(text) == shown
    assert shown in record_line(envelope(message=text), None).plain


def test_an_envelope_in_full_is_its_json() -> None:
    """Pretty printed, an envelope is the same JSON document, with every harmful character escaped."""
    whole = envelope(message='größer \x1b[31m \x9b \u202e "quoted" 注文', context={"a": {"b": [1, None]}})
    text = pretty(whole)
    assert json.loads(text) == whole._asdict()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "größer" in text


def test_a_pipe_gets_no_colours() -> None:
    """What is no terminal gets text alone, and no line is wrapped."""
    file = io.StringIO()
    screen = Screen(file)
    screen.columns()
    screen.record(envelope("audit", actor="a" * 300))
    screen.envelope(envelope(message="[bold]m[/bold] :smile:"))
    screen.accounting([Line("total", 2, 1)])
    written = file.getvalue()
    assert "\x1b" not in written
    assert "a" * 300 in written
    assert "[bold]m[/bold] :smile:" in written
    assert written.splitlines()[-1].split() == ["total", "2", "1", "1"]


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool) -> None:  # noqa: FBT001 - a case of two
    """A terminal gets colours unless NO_COLOR is set; empty is as if not set."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    Screen(terminal, width=80).record(envelope())
    assert ("\x1b" in terminal.getvalue()) is coloured


def test_emitted_is_counted_from_the_console_exporters_output() -> None:
    """Each JSON object of the SDK's console exporter is one record, whatever stands between them."""
    records: list[dict[str, Any]] = [
        {"body": "plain", "severity_number": 9, "attributes": None, "event_name": ""},
        {"body": '{"severity_number": 1}\n{', "severity_number": 9, "attributes": {"omni.category": "audit"}},
        {"body": None, "severity_number": 13, "attributes": {"omni.category": "security"}, "event_name": "x"},
        {"body": None, "severity_number": 9, "attributes": {"a": 1}, "event_name": "omni.audit"},
        {"body": None, "severity_number": None, "attributes": {"omni.category": "unknown"}},
    ]
    noise = [" * Serving Flask app", "{not JSON", '{"a": "of the service"}', "", '{"severity_number": 9,']
    shown = [json.dumps(record, indent=4) for record in records]
    output = "\n".join(line for pair in zip(noise, shown, strict=True) for line in pair)
    assert count_emitted(output + "\n{") == {"application": 2, "audit": 2, "security": 1}


def test_a_record_that_arrives_twice_counts_once() -> None:
    """At-least-once delivery may bring a record again; its event ID tells."""
    tally = Tally()
    assert [tally.arrive(envelope(event_id=event_id)) for event_id in ("a", "b", "a")] == [True, True, False]
    assert tally.lines()[-1].arrived == 2


def test_losses_are_counted_by_category() -> None:
    """A record too many in one category does not hide one that is missing in another."""
    tally = Tally()
    tally.emitted.update({"application": 2, "audit": 1, "security": 1})
    for event_id, category in enumerate(("application", "audit", "audit", "security")):
        tally.arrive(envelope(category, str(event_id)))  # type: ignore[arg-type]  # mypy widens the literals to str
    assert tally.lost == 1
    assert not tally.complete
    assert [line.lost for line in tally.lines()] == [1, 0, 0, 0]


def test_complete_is_every_category_and_no_difference() -> None:
    """A run in which a category is silent has shown nothing about it."""
    tally = Tally()
    categories: tuple[Category, ...] = ("application", "audit", "security")
    for category in categories:
        assert not tally.complete
        tally.emitted[category] += 1
        tally.arrive(envelope(category, category))
    assert tally.complete
    assert tally.lost == 0


def test_the_category_is_in_the_event_type() -> None:
    """Whatever the namespace, an envelope's category is read from its event type."""
    assert category_of(envelope("audit")._replace(event_type="a.logging.b.logging.audit.v1")) == "audit"
