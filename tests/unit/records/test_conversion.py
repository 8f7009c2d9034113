"""From a log record to an envelope: every row of the contract's tables, and what must be survived."""

from __future__ import annotations

import datetime as dt
import enum
import gc
import tracemalloc
import types
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.fields import level_of, utc_text
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.redaction import REDACTED, redact_patterns
from tests.records import (
    AUDIT,
    RESOURCE,
    SECURITY,
    SPAN_ID,
    TIME,
    TIME_TEXT,
    TRACE_ID,
    TRACE_UUID,
    TRACEPARENT,
    cleaner,
    converted,
    converted_by,
    envelope_of,
    hand_made,
    kafka_record,
    on_the_wire,
    payload_of,
    sdk_record,
    sdk_records,
)
from tests.strategies import SECRET

UID = "018bcfe5-687b-7abc-8def-0123456789ab"


class Text(str):
    """A text of an application's own type."""

    __slots__ = ()


class Event(str, enum.Enum):
    LOGIN = "user.login"


def in_trace(flags: int = 1) -> Any:
    span = trace.SpanContext(TRACE_ID, SPAN_ID, is_remote=True, trace_flags=trace.TraceFlags(flags))
    return trace.set_span_in_context(trace.NonRecordingSpan(span))


def test_a_whole_application_record() -> None:
    """A record of the real SDK becomes the whole envelope that the contract shows, and nothing else."""
    record = sdk_record(
        timestamp=TIME,
        context=in_trace(),
        severity_number=SeverityNumber.WARN,
        severity_text="WARN",
        body="stock is low",
        attributes={"sku": "A-1", "log.record.uid": UID, "omni.code": "STOCK_LOW", "count": 3},
    )
    result = converted(record)
    assert result.envelope._asdict() == {
        "event_type": "omninode.logging.application.v1",
        "event_id": UID,
        "timestamp": TIME_TEXT,
        "tenant_id": "default",
        "namespace": "omninode",
        "source": "shop",
        "correlation_id": TRACE_UUID,
        "causation_id": TRACE_UUID,
        "schema_ref": "registry://omninode/logging/application/v1",
        "payload": {
            "service_name": "shop",
            "instance_id": "shop-1",
            "level": "WARN",
            "logger": "shop.orders",
            "message": "stock is low",
            "code": "STOCK_LOW",
            "context": {"sku": "A-1", "count": 3},
        },
    }
    assert (result.category, result.milliseconds, result.traceparent) == ("application", TIME // 10**6, TRACEPARENT)


@pytest.mark.parametrize(
    ("event_name", "attributes", "fields"),
    [
        (
            "omni.audit",
            AUDIT,
            {"action": "order.cancel", "actor": "user-7", "resource": "order/42", "outcome": "success"},
        ),
        (
            "omni.security",
            SECURITY,
            {"event_type": "permission_check", "user_id": "user-7", "resource": "order/42", "decision": "deny"},
        ),
    ],
)
def test_a_whole_audit_or_security_event(event_name: str, attributes: dict[str, Any], fields: dict[str, Any]) -> None:
    """An event of the real SDK becomes its category's payload; envelope and payload have one timestamp and tenant."""
    attributes = {**attributes, "omni.tenant_id": "acme", "order": 42}
    envelope = envelope_of(sdk_record(timestamp=TIME, event_name=event_name, attributes=attributes), namespace="mine")
    category = event_name.removeprefix("omni.")
    assert envelope.event_type == f"mine.logging.{category}.v1"
    assert envelope.schema_ref == f"registry://mine/logging/{category}/v1"
    assert (envelope.namespace, envelope.tenant_id, envelope.timestamp) == ("mine", "acme", TIME_TEXT)
    assert envelope.payload == {"tenant_id": "acme", **fields, "timestamp": TIME_TEXT, "context": {"order": 42}}


CATEGORIES = [
    (None, None, "application"),
    (None, "omni.audit", "audit"),
    (None, "omni.security", "security"),
    (None, "omni.auditing", "application"),
    (None, "OMNI.AUDIT", "application"),
    ("application", "omni.audit", "application"),
    ("audit", None, "audit"),
    ("security", "omni.audit", "security"),
    ("audit", "omni.security", "audit"),
    (Text("audit"), None, "audit"),
    (None, Text("omni.audit"), "audit"),
    (None, 5, "application"),
    (None, ["omni.audit"], "application"),
]


@pytest.mark.parametrize(("attribute", "event_name", "expected"), CATEGORIES)
def test_category(attribute: object, event_name: object, expected: str) -> None:
    """The attribute decides the category, then the event's name, then it is application; the attribute is used up."""
    attributes = {**AUDIT, **SECURITY} | ({} if attribute is None else {"omni.category": attribute})
    result = converted(hand_made(attributes, event_name=event_name))
    assert result.category == expected
    assert result.envelope.event_type == f"omninode.logging.{expected}.v1"
    assert "omni.category" not in result.envelope.payload["context"]


@pytest.mark.parametrize("category", ["", " ", "Audit", "audit ", "billing", 5, True, ["audit"], b"audit", {"a": 1}])
def test_unknown_category(category: object) -> None:
    """An unknown category, or one of another type, is a conversion error that names the attribute."""
    with pytest.raises(ConversionError, match=r"^omni\.category: expected .*, got ") as raised:
        converted(hand_made({**AUDIT, "omni.category": category}, event_name="omni.audit"))
    assert raised.value.field == "omni.category"


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
    ("given", "source"),
    [
        ("shop", "shop"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "unknown_service"),
        ("a\0b", "unknown_service"),
        (" ", "unknown_service"),
        (7, "unknown_service"),
        ("é" * 256, "é" * 256),
    ],
)
def test_service_name(given: Any, source: str) -> None:
    """The source is a service name of at most 256 characters; one that does not count is kept in context."""
    record = hand_made({}, resource=Resource({"service.name": given}))
    envelope = envelope_of(record)
    payload: dict[str, Any] = dict(envelope.payload)
    assert (envelope.source, payload["service_name"]) == (source, source)
    assert on_the_wire(record)["payload"]["context"] == (
        {} if given == source else {"service.name": cleaner().clean(given)}
    )


def test_without_a_resource_or_a_scope() -> None:
    """A record without resource and scope is an envelope too."""
    payload = payload_of(hand_made(None, resource=None, scope=None))
    assert (payload["service_name"], payload["instance_id"], payload["logger"]) == ("unknown_service", "", "")


@pytest.mark.parametrize(
    ("time", "observed", "expected"),
    [
        (TIME, 1, TIME_TEXT),
        (None, TIME, TIME_TEXT),
        (0, TIME, TIME_TEXT),
        (1, TIME, "1970-01-01T00:00:00.000000Z"),
        (999, TIME, "1970-01-01T00:00:00.000000Z"),
        (1_000, TIME, "1970-01-01T00:00:00.000001Z"),
        (951_782_400 * 10**9 - 1, TIME, "2000-02-28T23:59:59.999999Z"),
        (951_782_400 * 10**9, TIME, "2000-02-29T00:00:00.000000Z"),
        (253_402_300_799_999_999_999, TIME, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_time(time: Any, observed: Any, expected: str) -> None:
    """The record's time, else the time it was observed, with six digits and Z, truncated and never rounded up."""
    result = converted(hand_made(timestamp=time, observed_timestamp=observed))
    assert result.envelope.timestamp == expected
    assert result.envelope.payload["context"] == {}
    assert result.milliseconds == (time or observed) // 10**6
    assert uuid.UUID(result.envelope.event_id).int >> 80 == result.milliseconds


@pytest.mark.parametrize(
    "time",
    [-1, -(2**80), 253_402_300_800_000_000_000, 2**200, 1.7e18, "1700000000123456789", True, [1], b"1", float("nan")],
)
def test_times_that_do_not_count(time: Any) -> None:
    """A time that is negative, beyond the year 9999 or of another type gives way to the observed one, and is kept."""
    record = hand_made(timestamp=time)
    assert envelope_of(record).timestamp == TIME_TEXT
    assert on_the_wire(record)["payload"]["context"] == {"otel.timestamp": cleaner().clean(time)}


@pytest.mark.parametrize("observed", [None, 0, -1, "x", 2**200, 1.5])
def test_no_time_at_all(observed: Any) -> None:
    """A record without any usable time is a conversion error that names the field."""
    with pytest.raises(ConversionError) as raised:
        converted(hand_made(timestamp=None, observed_timestamp=observed))
    assert raised.value.field == "timestamp"


def test_times_of_one_second_and_others() -> None:
    """Times are right whichever second the one before them was in."""
    moment = dt.datetime(2024, 2, 29, 23, 59, 58, tzinfo=dt.timezone.utc)
    for step in (0, 1, 1_000_000, 1, -1_000_000, 86_400_000_000, 3):
        moment += dt.timedelta(microseconds=step)
        nanoseconds = int(moment.timestamp()) * 10**9 + moment.microsecond * 1000 + 999
        assert utc_text(nanoseconds) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


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


@pytest.mark.parametrize(
    ("name", "logger", "context"),
    [
        ("a.b", "a.b", {}),
        ("", "", {}),
        ("x" * 256, "", {"otel.scope.name": "x" * 256}),
        (7, "", {"otel.scope.name": 7}),
        (Text("a.b"), "a.b", {}),
    ],
)
def test_logger(name: Any, logger: str, context: dict[str, Any]) -> None:
    """The logger is the scope's name, always text; one that cannot be is kept in context."""
    payload = payload_of(hand_made(scope=InstrumentationScope(name)))
    assert (payload["logger"], payload["context"]) == (logger, context)


REQUIRED = [("omni.audit", AUDIT, name) for name in AUDIT] + [("omni.security", SECURITY, name) for name in SECURITY]


@pytest.mark.parametrize(("event_name", "attributes", "name"), REQUIRED)
@pytest.mark.parametrize("bad", [None, "", " ", 1.5, True, b"x", ["x"], {"a": "x"}], ids=repr)
def test_required_fields(event_name: str, attributes: dict[str, Any], name: str, bad: Any) -> None:
    """A required field that is missing, blank or of another type is a conversion error that names it."""
    for given in ({**attributes, name: bad}, {key: value for key, value in attributes.items() if key != name}):
        with pytest.raises(ConversionError, match=r": expected .*, got ") as raised:
            converted(hand_made(given, event_name=event_name))
        assert raised.value.field == name


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("omni.audit.outcome", bad) for bad in ("Success", "ok", "success ", "allow", 1, True)),
        *(("omni.security.decision", bad) for bad in ("Allow", "permit", "success", "denied", 0)),
    ],
)
def test_choices(name: str, bad: Any) -> None:
    """An outcome that is neither success nor failure, or a decision that is neither allow nor deny, is an error."""
    attributes, event_name = (AUDIT, "omni.audit") if "audit" in name else (SECURITY, "omni.security")
    with pytest.raises(ConversionError) as raised:
        converted(hand_made({**attributes, name: bad}, event_name=event_name))
    assert raised.value.field == name


@pytest.mark.parametrize(
    ("name", "good"),
    [("omni.audit.outcome", "success"), ("omni.audit.outcome", "failure"), ("omni.security.decision", "allow")],
)
def test_good_choices(name: str, good: str) -> None:
    """Each of the words of an outcome or a decision is carried."""
    attributes, event_name = (AUDIT, "omni.audit") if "audit" in name else (SECURITY, "omni.security")
    for given in (good, Text(good)):
        payload = payload_of(hand_made({**attributes, name: given}, event_name=event_name))
        assert payload[name.rpartition(".")[2]] == good


def test_errors_do_not_show_values() -> None:
    """A conversion error does not say the wrong value, which may be a secret in the wrong place."""
    for name in AUDIT:
        with pytest.raises(ConversionError) as raised:
            converted(hand_made({**AUDIT, name: [SECRET]}, event_name="omni.audit"))
        assert SECRET not in str(raised.value)
    with pytest.raises(ConversionError) as raised:
        converted(hand_made({**AUDIT, "omni.audit.outcome": SECRET}, event_name="omni.audit"))
    assert SECRET not in str(raised.value)


def test_required_fields_may_be_numbers_and_uuids() -> None:
    """An actor or a resource that is an integer or a UUID is carried as text."""
    attributes = {**AUDIT, "omni.audit.actor": 7, "omni.audit.resource": uuid.UUID(UID)}
    payload = payload_of(hand_made(attributes, event_name="omni.audit"))
    assert (payload["actor"], payload["resource"]) == ("7", UID)


def test_required_field_that_python_refuses_to_write() -> None:
    """An actor of ten thousand digits is carried, or is a conversion error that names the actor."""
    record = hand_made({**AUDIT, "omni.audit.actor": 10**10_000}, event_name="omni.audit")
    try:
        payload = payload_of(record)
    except ConversionError as error:
        assert error.field == "omni.audit.actor"  # noqa: PT017 - either outcome keeps the promise
    else:
        assert isinstance(payload["actor"], str)


@pytest.mark.parametrize(
    ("body", "event_name", "attributes", "context"),
    [
        (None, "omni.audit", {}, {}),
        ("", "omni.audit", {}, {}),
        ("user-7 cancelled", "omni.audit", {}, {"message": "user-7 cancelled"}),
        ("user-7", "omni.audit", {}, {}),
        ("omni.audit", "omni.audit", {}, {}),
        ({"password": SECRET}, "omni.audit", {}, {"message": '{"password":"[REDACTED]"}'}),
        ("said", "omni.audit", {"message": "own"}, {"message": "own", "otel.body": "said"}),
        (None, "order.cancelled", {"omni.category": "audit"}, {"otel.event.name": "order.cancelled"}),
        (None, None, {"omni.category": "audit"}, {}),
        (None, 7, {"omni.category": "audit"}, {"otel.event.name": 7}),
        (None, Text("omni.audit"), {}, {}),
        (None, "omni.audit", {"omni.code": "C1"}, {"omni.code": "C1"}),
        (None, "omni.audit", {"omni.security.decision": "deny"}, {"omni.security.decision": "deny"}),
    ],
)
def test_audit_context(body: Any, event_name: Any, attributes: dict[str, Any], context: dict[str, Any]) -> None:
    """A body or an event name that says more than the fields is in context, and so is what no field took."""
    record = hand_made({**AUDIT, **attributes}, event_name=event_name, body=body)
    assert payload_of(record)["context"] == context


def test_application_keeps_other_categories_attributes() -> None:
    """An application record has nothing to take audit's attributes, so that they are in its context."""
    assert payload_of(hand_made({**AUDIT}))["context"] == AUDIT


def test_resource_context() -> None:
    """Resource attributes that the setting names are copied, redacted; a record's own attribute goes before them."""
    resource = Resource(
        {"service.name": "shop", "k8s.pod.name": "p", "region": "eu", "db.password": SECRET, "other": 1}
    )
    names = ("k8s.pod.name", "region", "db.password", "missing", "service.name")
    context = payload_of(hand_made({"region": "us"}, resource=resource), resource_context=names)["context"]
    assert context == {"k8s.pod.name": "p", "region": "us", "db.password": REDACTED, "service.name": "shop"}
    assert payload_of(hand_made({}, resource=resource))["context"] == {}


def test_resources_in_turns() -> None:
    """Each record has its own resource's names, also when two resources take turns in one converter."""
    converter = Converter(cleaner(), uuid7)
    first, second = Resource({"service.name": "a"}), Resource({"service.name": "b"})
    found = [
        converted_by(converter, hand_made(resource=resource)).envelope.source for resource in (first, second, first)
    ]
    assert found == ["a", "b", "a"]


def test_contexts_are_not_shared() -> None:
    """Changing one record's context changes neither another's, nor the record's own attributes."""
    converter = Converter(cleaner(), uuid7, resource_context=("region",))
    record = hand_made({"a": 1}, resource=Resource({"region": "eu"}))
    converted_by(converter, record).envelope.payload["context"]["b"] = 2
    assert converted_by(converter, record).envelope.payload["context"] == {"region": "eu", "a": 1}
    assert record.log_record.attributes == {"a": 1}


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


def test_redaction_of_attributes_of_the_sdk() -> None:
    """Sensitive attributes of the real SDK are hidden at every depth; the context keeps all the others."""
    attributes = {
        "password": SECRET,
        "user": {"name": "ann", "tokens": [{"apiKey": SECRET}]},
        "pair": ({"jwt": SECRET},),
    }
    context = payload_of(sdk_record(timestamp=TIME, body="x", attributes=attributes))["context"]
    assert context == {
        "password": REDACTED,
        "user": {"name": "ann", "tokens": [{"apiKey": REDACTED}]},
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


@pytest.mark.parametrize(
    "attributes",
    [
        {"a\ud800": 1} | {"a\ud801": 2},
        {"a\0": 1, "a\ufffd": 2},
        {1: 1, "1": 2},
        {b"a": 1, "a": 2},
        {"a": {"b\ud800": 1, "b\0": 2}},
    ],
    ids=ascii,
)
def test_no_attribute_is_lost_to_another(attributes: dict[Any, Any]) -> None:
    """Two attributes whose names become the same text are both on the wire."""
    wire = on_the_wire(hand_made(attributes))["payload"]["context"]
    wire = wire.get("a", wire) if isinstance(wire.get("a"), dict) else wire
    assert sorted(wire.values()) == [1, 2]


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": 2**200, "b": float("nan"), "c": "\0\ud800", "d": b"\0", "e": float("inf")},
        {"a": (2**200, float("nan"), "\0\ud800", b"\0"), "e": None},
        {"k\0\ud800": "v"},
    ],
    ids=ascii,
)
def test_values_of_the_sdk_that_json_cannot_carry(attributes: dict[str, Any]) -> None:
    """What the SDK lets through (1.45 more than 1.44) and JSON cannot carry becomes what the contract says."""
    record = sdk_record(body="\0\ud800", attributes=attributes)
    wire = on_the_wire(record)
    assert wire["payload"]["message"] == "\ufffd\ufffd"
    assert wire["payload"]["context"] == cleaner().clean(dict(record.log_record.attributes or {}))


class NotAMapping:
    """Attributes as no SDK has them."""


class RudeMapping(Mapping[str, Any]):
    """Attributes that cannot be read."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __getitem__(self, key: str) -> NoReturn:
        raise self._error

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise self._error


@pytest.mark.parametrize(
    "record",
    [
        hand_made(NotAMapping()),
        hand_made(RudeMapping(ValueError)),
        hand_made(RudeMapping(RecursionError)),
        hand_made("text"),
        hand_made(resource=NotAMapping()),
        None,
        "record",
    ],
    ids=["no mapping", "rude", "recursion", "text", "no resource", "None", "no record"],
)
def test_what_is_no_record(record: Any) -> None:
    """What no SDK makes is one conversion error, and nothing else."""
    with pytest.raises(ConversionError) as raised:
        converted(record)
    assert raised.value.field == "record"


class ExitingInt(int):
    def __str__(self) -> str:
        raise SystemExit(3)


class ExitingText(str):
    __slots__ = ()

    def strip(self, *_: object) -> NoReturn:
        raise SystemExit(3)

    def __eq__(self, _: object) -> NoReturn:
        raise SystemExit(3)

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({**AUDIT, "omni.audit.actor": ExitingInt(7)}, id="an integer as actor"),
        pytest.param({**AUDIT, "omni.audit.actor": ExitingText("ann")}, id="a text as actor"),
        pytest.param({**AUDIT, "omni.audit.outcome": ExitingText("success")}, id="an outcome"),
        pytest.param({**AUDIT, "omni.category": ExitingText("audit")}, id="a category"),
        pytest.param({**AUDIT, "omni.correlation_id": ExitingText("x")}, id="an ID"),
        pytest.param({**AUDIT, "more": ExitingInt(7)}, id="in context"),
    ],
)
def test_sys_exit_costs_one_record_at_most(attributes: dict[str, Any]) -> None:
    """A value that calls sys.exit() gives an envelope or a conversion error: it cannot end the export thread."""
    record = sdk_record(event_name="omni.audit", attributes=attributes)
    try:
        assert envelope_of(record).payload
    except ConversionError as error:
        assert error.field  # noqa: PT017 - either outcome keeps the promise


@pytest.mark.parametrize(
    "field", ["severity_number", "severity_text", "timestamp", "event_name", "body", "trace_flags"]
)
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_rude_fields(field: str, error: type[BaseException]) -> None:
    """A field that raises, whatever is asked of it, costs one record at most."""

    def rude(*_: object) -> NoReturn:
        raise error

    methods = dict.fromkeys(("__str__", "__repr__", "__hash__", "__eq__", "__bool__", "__getattr__", "__len__"), rude)
    try:
        assert envelope_of(hand_made(**{field: type("Rude", (), dict(methods))()})).payload
    except ConversionError as raised:
        assert raised.field  # noqa: PT017 - either outcome keeps the promise


def test_attributes_of_one_shape() -> None:
    """What a converter has learnt of one record's attributes is right for the next, whose values differ."""
    converter = Converter(cleaner(), uuid7)

    def context(attributes: dict[Any, Any]) -> Any:
        return converted_by(converter, hand_made(attributes)).envelope.payload["context"]

    assert context({"a": 1.5, "b": 1}) == {"a": 1.5, "b": 1}
    assert context({"a": float("nan"), "b": 1}) == {"a": "nan", "b": 1}
    assert context({"b": 1.5, "a": float("inf")}) == {"b": 1.5, "a": "inf"}
    assert context({"a": "x", "b": 1}) == {"a": "x", "b": 1}
    assert context({"a": {"token": SECRET}, "b": 1}) == {"a": {"token": REDACTED}, "b": 1}
    assert context({"a": {"user": "ann"}, "b": 1}) == {"a": {"user": "ann"}, "b": 1}
    assert context({1: SECRET, "token": SECRET}) == {"1": SECRET, "token": REDACTED}
    assert context({True: 1}) == {"True": 1}
    assert context({1: 1}) == {"1": 1}
    assert context({Text("a"): 1.5, "b": 1}) == {"a": 1.5, "b": 1}
    assert context({"token": 1.5}) == context({"token": float("nan")}) == {"token": REDACTED}


@pytest.mark.parametrize("where", ["attribute", "severity text", "event name", "tenant"])
def test_memory_is_bounded(where: str) -> None:
    """Ever new, long names and texts leave no more than a little behind in the converter."""
    converter = Converter(cleaner(), uuid7)

    def convert(text: str) -> None:
        fields: dict[str, dict[str, Any]] = {
            "attribute": {"attributes": {text: 1}},
            "severity text": {"severity_text": text, "severity_number": SeverityNumber.WARN},
            "event name": {"event_name": text},
            "tenant": {"attributes": {"omni.tenant_id": text}},
        }
        converter.convert(hand_made(**fields[where]))

    convert("a")
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(20):
            convert(f"{number}" + "x" * 20_000)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def test_records_of_one_batch_are_independent() -> None:
    """The same record twice gives the same but for its event ID, and what comes from that."""
    record = hand_made({"a": 1, "omni.correlation_id": "c"}, body={"b": 2})
    first, second = converted(record), converted(record)
    assert first.envelope.event_id != second.envelope.event_id
    assert first.envelope._replace(event_id="") == second.envelope._replace(event_id="")


def test_sdk_records_in_bulk() -> None:
    """Records of the real SDK with attributes of every type that it lets through all become envelopes."""
    values: list[Any] = ["x", 1, 1.5, True, None, b"x", [1, "x"], {"a": [1]}, 2**70, float("nan"), "\ud800", object()]
    values += [uuid.UUID(UID), dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), Event.LOGIN]
    found = [
        on_the_wire(record) for record in sdk_records({"body": value, "attributes": {"v": value}} for value in values)
    ]
    assert len(found) == len(values)
    assert {document["source"] for document in found} == {RESOURCE.attributes["service.name"]}
