"""An application record's level, message and code say what the record says, and what they cannot say is in context."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter.records.fields import level_of
from otel_kafka_exporter.records.redaction import REDACTED
from tests.records import AUDIT, hand_made, kafka_record, payload_of
from tests.strategies import SECRET
from tests.unit.records.texts import Event, Text

LEVELS = [
    *((number, "DEBUG") for number in range(1, 9)),
    *((number, "INFO") for number in range(9, 13)),
    *((number, "WARN") for number in range(13, 17)),
    *((number, "ERROR") for number in range(17, 25)),
]
NAMES = [
    name + number for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL") for number in ("", "2", "3", "4")
]


@pytest.mark.parametrize(("number", "level"), LEVELS)
def test_level_by_number(number: int, level: str) -> None:
    """The number decides the level, as an enum's member or bare; what the level does not say is kept in context."""
    name = NAMES[number - 1]
    expected = {} if name == level else {"otel.severity_text": name}
    for given in (number, SeverityNumber(number)):
        payload = payload_of(hand_made(severity_number=given))
        assert (payload["level"], payload["context"]) == (level, expected)
        payload = payload_of(hand_made(severity_number=given, severity_text=name))
        assert (payload["level"], payload["context"]) == (level, expected)
    payload = payload_of(hand_made(severity_number=number, severity_text="LOUD"))
    assert (payload["level"], payload["context"]) == (level, {"otel.severity_text": "LOUD"})


@pytest.mark.parametrize(
    ("text", "level"),
    [
        *(("TRACE", "DEBUG"), ("DEBUG", "DEBUG"), ("INFO", "INFO"), ("WARN", "WARN"), ("WARNING", "WARN")),
        *(("ERROR", "ERROR"), ("FATAL", "ERROR"), ("CRITICAL", "ERROR"), ("debug", "DEBUG"), (" Error ", "ERROR")),
        *(("loud", "INFO"), ("", "INFO"), (None, "INFO")),
    ],
)
def test_level_by_text(text: str | None, level: str) -> None:
    """Without a usable number the text decides, in any case of letters; INFO when it says nothing."""
    numbers: tuple[Any, ...] = (None, 0, SeverityNumber.UNSPECIFIED, 25, -1, 2**200, "9", [], 1.5)
    for number in numbers:
        payload = payload_of(hand_made(severity_number=number, severity_text=text))
        assert payload["level"] == level
        assert payload["context"] == ({} if not text or text == level else {"otel.severity_text": text})


@pytest.mark.parametrize("text", [5, ["x"], b"WARN", {"a": 1}])
def test_severity_text_of_another_type(text: Any) -> None:
    """A severity text that is no text costs nothing else."""
    assert payload_of(hand_made(severity_number=13, severity_text=text))["level"] == "WARN"
    assert level_of(None, text)[0] == "INFO"


def test_long_severity_text_is_not_cut_silently() -> None:
    """A severity text of any length is kept whole, or its cut is counted."""
    record = kafka_record(hand_made(severity_text="x" * 300))
    assert record.value.count(b"x" * 300) == 1 or record.cuts == 1


@pytest.mark.parametrize(
    ("attributes", "fields"),
    [
        ({"otel.severity_text": "mine"}, {"severity_text": "theirs"}),
        ({"otel.event.name": "mine"}, {"event_name": "theirs" * 100}),
        ({"otel.timestamp": "mine"}, {"timestamp": "theirs"}),
        ({"otel.scope.name": "mine"}, {"scope": InstrumentationScope("theirs" * 100)}),
        ({**AUDIT, "message": "first", "otel.body": "mine"}, {"event_name": "omni.audit", "body": "theirs"}),
        ({"otel.truncated.message": "mine"}, {"body": "theirs" * 300_000}),
    ],
    ids=["severity text", "event name", "timestamp", "scope", "body", "cut message"],
)
def test_names_that_the_conversion_uses_too(attributes: dict[str, Any], fields: dict[str, Any]) -> None:
    """What an application has put under a name that the conversion uses is kept, and so is the conversion's."""
    value = kafka_record(hand_made(attributes, **fields)).value
    assert b"mine" in value
    assert b"theirs" in value


@pytest.mark.parametrize(
    ("body", "event_name", "message"),
    [
        ("text", None, "text"),
        ("", "event", ""),
        (None, "event", "event"),
        (None, None, ""),
        ({"b": 1, "a": [None, True, "é"]}, None, '{"b":1,"a":[null,true,"é"]}'),
        ((1, 2), None, "[1,2]"),
        (7, None, "7"),
        (True, None, "true"),
        (1.5, None, "1.5"),
        (float("nan"), None, '"nan"'),
        (2**64, None, '"18446744073709551616"'),
        (b"\0", None, '"AA=="'),
        (Text("text"), None, "text"),
        (Event.LOGIN, None, "user.login"),
        ({"password": SECRET}, None, '{"password":"[REDACTED]"}'),
        ([{"a": ({"token": SECRET},)}], None, '[{"a":[{"token":"[REDACTED]"}]}]'),
    ],
)
def test_message(body: Any, event_name: str | None, message: str) -> None:
    """The message is the body, as compact and redacted JSON when it is no text; without one the event's name."""
    assert payload_of(hand_made(body=body, event_name=event_name))["message"] == message


@pytest.mark.parametrize(
    ("attribute", "event_name", "code", "context"),
    [
        (None, None, "UNSPECIFIED", {}),
        (None, "event", "event", {}),
        ("C1", None, "C1", {}),
        ("C1", "event", "C1", {"otel.event.name": "event"}),
        (7, "event", "event", {"omni.code": 7}),
        (7, None, "UNSPECIFIED", {"omni.code": 7}),
        (None, "", "UNSPECIFIED", {}),
        (None, "x" * 256, "UNSPECIFIED", {"otel.event.name": "x" * 256}),
        (None, 7, "UNSPECIFIED", {"otel.event.name": 7}),
        (None, {"password": SECRET}, "UNSPECIFIED", {"otel.event.name": {"password": REDACTED}}),
        (None, Event.LOGIN, "user.login", {}),
        (None, Text("event"), "event", {}),
    ],
)
def test_code(attribute: Any, event_name: Any, code: str, context: dict[str, Any]) -> None:
    """The code is the attribute, else the event's name, else UNSPECIFIED; what gave way is kept in context."""
    payload = payload_of(hand_made({} if attribute is None else {"omni.code": attribute}, event_name=event_name))
    assert (payload["code"], payload["context"]) == (code, context)


def test_application_keeps_other_categories_attributes() -> None:
    """An application record has nothing to take audit's attributes, so that they are in its context."""
    assert payload_of(hand_made({**AUDIT}))["context"] == AUDIT
