"""Each ID of an envelope comes from the first source whose ID counts, and others are kept in context."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource

from tests.records import (
    SPAN_ID,
    TIME,
    TRACE_ID,
    TRACE_UUID,
    TRACEPARENT,
    cleaner,
    converted,
    envelope_of,
    hand_made,
    on_the_wire,
    payload_of,
)
from tests.unit.records.texts import UID, Text

BAD_IDS = [
    pytest.param("", id="empty"),
    pytest.param(" \t\n", id="blank"),
    pytest.param("x" * 256, id="too long"),
    pytest.param("a\0b", id="NUL"),
    pytest.param("a\ud800", id="lone surrogate"),
    pytest.param(7, id="int"),
    pytest.param(True, id="bool"),
    pytest.param(1.5, id="float"),
    pytest.param(b"order-42", id="bytes"),
    pytest.param(["order-42"], id="list"),
    pytest.param({"a": "order-42"}, id="mapping"),
]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize(
    "name", ["omni.correlation_id", "omni.causation_id", "omni.tenant_id", "omni.code", "log.record.uid"]
)
def test_ids_that_do_not_count(name: str, bad: Any) -> None:
    """An ID of another type, blank, too long or with NUL gives way to the next source and is kept in context."""
    usual = payload_of(hand_made({}, trace_id=TRACE_ID))
    envelope = envelope_of(hand_made({name: bad}, trace_id=TRACE_ID))
    assert (envelope.tenant_id, envelope.correlation_id, envelope.causation_id) == ("default", TRACE_UUID, TRACE_UUID)
    payload = dict(envelope.payload)
    expected = cleaner().clean(bad)
    assert on_the_wire(hand_made({name: bad}))["payload"]["context"] == {name: expected}
    assert {**payload, "context": {}} == usual
    assert uuid.UUID(envelope.event_id).version == 7


@pytest.mark.parametrize("good", ["x", "x" * 255, "é\U0001f600", " padded ", "user/7?x=1", UID])
def test_ids_that_count(good: str) -> None:
    """An ID that is text is carried as it is, and used up; so is a UUID object, as text."""
    names = ("omni.correlation_id", "omni.causation_id", "omni.code")
    for name in names:
        for value, expected in ((good, good), (Text(good), good), (uuid.UUID(UID), UID)):
            envelope = envelope_of(hand_made({name: value}))
            payload = dict(envelope.payload)
            found = (envelope.correlation_id, envelope.causation_id, payload["code"])[names.index(name)]
            assert found == expected
            assert type(found) is str
            assert payload["context"] == {}


def test_correlation_and_causation() -> None:
    """The correlation ID is the attribute, the trace ID or the event ID; the causation ID the attribute or that."""
    event_ids = {"log.record.uid": UID}
    both = {"omni.correlation_id": "a", "omni.causation_id": "b"}
    cases: list[tuple[dict[str, Any], int, tuple[str, str]]] = [
        (both, TRACE_ID, ("a", "b")),
        ({"omni.correlation_id": "a"}, TRACE_ID, ("a", "a")),
        ({"omni.causation_id": "b"}, TRACE_ID, (TRACE_UUID, "b")),
        ({}, TRACE_ID, (TRACE_UUID, TRACE_UUID)),
        ({"omni.causation_id": "b"}, 0, (UID, "b")),
        ({}, 0, (UID, UID)),
    ]
    for attributes, trace_id, expected in cases:
        envelope = envelope_of(hand_made({**event_ids, **attributes}, trace_id=trace_id))
        assert (envelope.correlation_id, envelope.causation_id) == expected
        assert envelope.event_id == UID


def test_event_id_from_a_ulid() -> None:
    """A ULID as the record's own ID gives the UUID of the same 128 bits, and is used up."""
    envelope = envelope_of(hand_made({"log.record.uid": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}))
    assert envelope.event_id == "01563e3a-b5d3-d676-4c61-efb99302bd5b"
    assert envelope.payload["context"] == {}


@pytest.mark.parametrize("uid", ["order-42", "0" * 27])
def test_event_id_that_is_neither(uid: str) -> None:
    """A record's own ID that is neither UUID nor ULID stays in context, and a UUIDv7 of the record's time is made."""
    envelope = envelope_of(hand_made({"log.record.uid": uid}))
    assert envelope.payload["context"] == {"log.record.uid": uid}
    assert uuid.UUID(envelope.event_id).int >> 80 == TIME // 10**6


@pytest.mark.parametrize(
    ("attribute", "resource", "setting", "expected"),
    [
        ("a", "r", "s", "a"),
        (None, "r", "s", "r"),
        (None, None, "s", "s"),
        ("x" * 128, "r", "s", "x" * 128),
        ("x" * 129, "r", "s", "r"),
        (" ", "r", "s", "r"),
        ("a\0", "x" * 129, "s", "s"),
        (7, 7, "s", "s"),
        ("é" * 128, None, "s", "é" * 128),
    ],
)
def test_tenant(attribute: object, resource: Any, setting: str, expected: str) -> None:
    """The tenant is the record's, the resource's or the setting's; one that does not count is kept in context."""
    attributes = {} if attribute is None else {"omni.tenant_id": attribute}
    of_resource = {} if resource is None else {"omni.tenant_id": resource}
    record = hand_made(attributes, resource=Resource({"service.name": "shop", **of_resource}))
    envelope = envelope_of(record, tenant_id=setting)
    assert envelope.tenant_id == expected
    left = {}
    if resource is not None and (resource == 7 or len(resource) > 128):
        left["omni.tenant_id"] = resource
    if attribute is not None and expected != attribute:
        left["omni.tenant_id"] = attribute
    assert on_the_wire(record)["payload"]["context"] == cleaner().clean(left)


@pytest.mark.parametrize(
    ("trace_id", "span_id", "flags", "correlation", "traceparent"),
    [
        (TRACE_ID, SPAN_ID, 1, TRACE_UUID, TRACEPARENT),
        (TRACE_ID, SPAN_ID, trace.TraceFlags(0), TRACE_UUID, TRACEPARENT[:-2] + "00"),
        (TRACE_ID, SPAN_ID, None, TRACE_UUID, TRACEPARENT[:-2] + "00"),
        (1, 1, 1, "00000000-0000-0000-0000-000000000001", f"00-{1:032x}-{1:016x}-01"),
        (TRACE_ID, 0, 1, TRACE_UUID, None),
        (TRACE_ID, None, 1, TRACE_UUID, None),
        (TRACE_ID, 2**64, 1, TRACE_UUID, None),
        (0, SPAN_ID, 1, None, None),
        (2**128, SPAN_ID, 1, None, None),
        (-1, SPAN_ID, 1, None, None),
        ("4bf92f3577b34da6a3ce929d0e0e4736", SPAN_ID, 1, None, None),
        (True, SPAN_ID, 1, None, None),
    ],
)
def test_trace_context(
    trace_id: Any, span_id: Any, flags: Any, correlation: str | None, traceparent: str | None
) -> None:
    """A trace ID gives the correlation ID, and with a span ID the traceparent; what is neither gives none."""
    result = converted(hand_made(trace_id=trace_id, span_id=span_id, trace_flags=flags))
    assert result.envelope.correlation_id == (correlation or result.envelope.event_id)
    assert result.traceparent == traceparent


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 255, 256, -1])
def test_traceparent_is_always_valid(flags: int) -> None:
    """Whatever the flags, the traceparent has two hexadecimal digits for them, and says whether it is sampled."""
    traceparent = converted(hand_made(trace_id=TRACE_ID, span_id=SPAN_ID, trace_flags=flags)).traceparent
    assert traceparent is not None
    assert len(traceparent) == len(TRACEPARENT)
    assert int(traceparent[-2:], 16) & 1 == flags & 1
