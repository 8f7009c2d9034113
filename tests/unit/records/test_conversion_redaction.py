"""No secret of a record is in its envelope, wherever the record has it."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import KafkaRecord, KafkaRecordBuilder
from otel_kafka_exporter.records.log_records import LogRecordBuilder
from otel_kafka_exporter.records.redaction import REDACTED
from otel_kafka_exporter.records.secret_texts import redact_patterns
from tests.records import AUDIT, TIME, cleaner, envelope_of, hand_made, kafka_record, now, payload_of, sdk_record
from tests.strategies import SECRET
from tests.unit.records.texts import Text


def test_redaction_of_attributes_of_the_sdk() -> None:
    """Sensitive attributes of the real SDK are hidden at every depth; the context keeps all the others."""
    attributes = {
        "password": SECRET,
        "user": {"name": "ann", "logins": [{"apiKey": SECRET}]},
        "pair": ({"jwt": SECRET},),
    }
    context = payload_of(sdk_record(timestamp=TIME, body="x", attributes=attributes))["context"]
    assert context == {
        "password": REDACTED,
        "user": {"name": "ann", "logins": [{"apiKey": REDACTED}]},
        "pair": [{"jwt": REDACTED}],
    }


@pytest.mark.parametrize(
    "attributes",
    [
        {"password": SECRET},
        {"password": [SECRET]},
        {1: 2, "password": SECRET},
        {b"password": SECRET},
        {("token",): SECRET},
        {Text("password"): SECRET},
        {"password": SECRET, "a": b"x", "b": {"c": None}},
        types.MappingProxyType({"password": SECRET}),
    ],
    ids=repr,
)
def test_no_secret_on_the_wire(attributes: Any) -> None:
    """No sensitive attribute reaches the wire, whatever the others and its key's type are."""
    assert SECRET.encode() not in kafka_record(hand_made(attributes)).value


@pytest.mark.parametrize(
    "other", [{}, {1: 2}, {Text("x"): 2}], ids=["plain", "a number as key", "a text's subclass as key"]
)
def test_redacted_field(other: dict[Any, Any]) -> None:
    """An attribute that a setting makes sensitive is hidden also where it is a field and not context."""
    record = hand_made({**AUDIT, "omni.audit.actor": SECRET, **other}, event_name="omni.audit")
    assert SECRET not in str(envelope_of(record, cleaner("actor")))


@pytest.mark.parametrize("other", [{}, {"a": 1}, {"a": b"x"}], ids=["none", "plain", "not plain"])
@pytest.mark.parametrize(
    ("key", "attributes", "fields"),
    [
        ("message", AUDIT, {"event_name": "omni.audit", "body": SECRET}),
        ("severity_text", {}, {"severity_text": SECRET}),
        ("event.name", {"omni.code": "C1"}, {"event_name": SECRET}),
    ],
    ids=["message", "severity text", "event name"],
)
def test_redacted_context_from_fields(
    key: str, attributes: dict[str, Any], fields: dict[str, Any], other: dict[str, Any]
) -> None:
    """A context key that a setting makes sensitive is hidden also where the conversion itself puts it there."""
    context = payload_of(hand_made({**attributes, **other}, **fields), cleaner(key))["context"]
    assert REDACTED in context.values()
    assert SECRET not in str(context)


def test_pattern_pass() -> None:
    """With the pattern pass no text value of a record shows a key, wherever the record has it."""
    key = "AKIAIOSFODNN7EXAMPLE"
    using = cleaner(text_filter=redact_patterns)
    plain = payload_of(hand_made({"a": key, "b": {"c": [key]}}, body=f"got {key}"), using)
    assert plain["message"] == "got [REDACTED]"
    assert plain["context"] == {"a": REDACTED, "b": {"c": [REDACTED]}}
    event = hand_made({**AUDIT, "omni.audit.resource": key}, event_name="omni.audit", body=f"got {key}")
    assert key not in str(envelope_of(event, using))


@pytest.mark.parametrize("others", [{}, {"a": 1}, {"a": "text"}])
@pytest.mark.parametrize("field", ["severity_text", "event_name", "scope"])
def test_pattern_pass_over_values_from_fields(field: str, others: dict[str, Any]) -> None:
    """The pattern pass also covers context values and messages that come from a record's fields."""
    key = "AKIAIOSFODNN7EXAMPLE"
    value: Any = InstrumentationScope(key + " " * 300) if field == "scope" else f"{key} " + " " * 300
    payload = payload_of(hand_made(others, **{field: value}), cleaner(text_filter=redact_patterns))
    assert key not in str(payload["context"])
    assert key not in payload["message"]


def builder() -> Callable[[Any], KafkaRecord | None]:
    return LogRecordBuilder(Converter(cleaner(), uuid7, now), KafkaRecordBuilder(), cleaner(), frozenset()).build


URL = f"postgresql://svc:{SECRET}@db/shop"


@pytest.mark.parametrize(
    "fields",
    [
        {"body": f"cannot reach {URL}"},
        {"body": {"url": URL}},
        {"attributes": {"url": URL}},
        {"attributes": {"a": "b", "url": URL, "n": 1.5}},
        {"attributes": {URL: "b"}},
        {"attributes": {"exception.stacktrace": f"Traceback: {URL}"}},
        {"attributes": {"omni.other": URL, "omni.code": "A"}},
        {"attributes": {"omni.correlation_id": URL + "x" * 300}},
        {"attributes": {**AUDIT, "omni.audit.resource": URL}, "event_name": "omni.audit"},
        {"attributes": AUDIT, "event_name": "omni.audit", "body": URL},
        {"event_name": URL},
        {"severity_text": URL},
    ],
    ids=str,
)
def test_userinfo_of_urls(fields: dict[str, Any]) -> None:
    """The userinfo of a URL is in no part of a record, the first time and when its statement is known."""
    build = builder()
    for _ in range(4):
        made = build(sdk_record(**{"timestamp": TIME, "body": "x", **fields}))
        assert made is not None
        assert b"[REDACTED]@db/shop" in made.value
        assert SECRET.encode() not in made.value


def test_a_url_where_none_was_before() -> None:
    """A statement that is known keeps a URL's userinfo as secret as one that is new."""
    build = builder()
    for target in ("a", "b", "c", URL):
        made = build(sdk_record(timestamp=TIME, body="x", attributes={"target": target}))
        assert made is not None
        assert SECRET.encode() not in made.value
