"""What a publisher's methods are given becomes an envelope, or an error that names the parameter."""

from __future__ import annotations

import json
import time
import uuid
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter import AuditAction, ConversionError, Decision, LogCode, LogLevel, Outcome, decode
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import KafkaRecord, KafkaRecordBuilder
from otel_kafka_exporter.records.publications import Publication, PublicationBuilder
from otel_kafka_exporter.records.redaction import KeyRedaction
from otel_kafka_exporter.records.values import Cleaner
from tests.strategies import hostile_value

APPLICATION = ("shop", "shop-1", "INFO", "shop.orders", "ORDER_PLACED")
AUDIT = ("user.login", "bob", "console", "success")
SECURITY = ("permission_check", "bob", "console", "deny")


def builder(cleaner: Cleaner | None = None, **more: Any) -> PublicationBuilder:
    return PublicationBuilder(
        KafkaRecordBuilder(),
        cleaner or Cleaner(KeyRedaction().is_sensitive),
        uuid7,
        time.time_ns,
        namespace="omninode",
        tenant_id="default",
        source="shop",
        **more,
    )


class Word(Enum):
    """An enum of an application's own, none of text."""

    LEVEL = "WARN"
    CODE = "ORDER"
    SERVICE = "shop"
    ACTION = "user.login"
    OUTCOME = "failure"
    DECISION = "deny"
    WRONG = "perhaps"
    TENANT = "acme"


class TextWord(str, Enum):
    """The same, of text."""

    LEVEL = "WARN"
    CODE = "ORDER"
    SERVICE = "shop"
    ACTION = "user.login"
    OUTCOME = "failure"
    DECISION = "deny"
    WRONG = "perhaps"
    TENANT = "acme"


@pytest.mark.parametrize("kind", [Word, TextWord])
def test_enums_of_every_kind(kind: Any) -> None:
    """An enum whose value is right counts as that value, whatever kind of enum it is, the first time and later."""
    using = builder()
    for _ in range(3):
        log = publication(fields=(kind.SERVICE, "shop-1", kind.LEVEL, "shop.orders", kind.CODE), tenant_id=kind.TENANT)
        envelope = decode(using.build(log).value)
        assert (envelope.source, envelope.tenant_id) == ("shop", "acme")
        assert (envelope.payload["level"], envelope.payload["code"]) == ("WARN", "ORDER")
        event = publication("audit", (kind.ACTION, "bob", "console", kind.OUTCOME), tenant_id=kind.TENANT)
        envelope = decode(using.build(event).value)
        assert (envelope.payload["action"], envelope.payload["outcome"]) == ("user.login", "failure")
        decision = publication("security", ("e", "bob", "console", kind.DECISION))
        assert decode(using.build(decision).value).payload["decision"] == "deny"
        with pytest.raises(ConversionError, match="outcome: expected success or failure"):
            using.build(publication("audit", ("a", "bob", "console", kind.WRONG)))
        with pytest.raises(ConversionError, match="level: expected DEBUG"):
            using.build(publication(fields=("shop", "shop-1", kind.WRONG, "l", "c")))


def test_the_originals_enums() -> None:
    """The original's words for levels, outcomes and decisions are those of its envelopes."""
    assert [level.value for level in LogLevel] == ["DEBUG", "INFO", "WARN", "ERROR"]
    assert [outcome.value for outcome in Outcome] == ["success", "failure"]
    assert [decision.value for decision in Decision] == ["allow", "deny"]
    for level in LogLevel:
        envelope = decode(built(fields=("shop", "shop-1", level, "l", "c")).value)
        assert (envelope.payload["level"], envelope.payload["context"]) == (level.value, {})


@pytest.mark.parametrize(
    ("category", "fields"), [("audit", AUDIT), ("security", SECURITY), ("application", APPLICATION)]
)
def test_without_a_tenant(category: str, fields: Any) -> None:
    """An event whose call names no tenant is the setting's."""
    assert decode(built(category=category, fields=fields, tenant_id=None).value).tenant_id == "default"


def test_a_clock_of_before_1970() -> None:
    """Under a clock that a test has set to before 1970 an event is one of 1970, and has a proper ID."""
    options: dict[str, Any] = {"namespace": "omninode", "tenant_id": "default", "source": "shop"}
    cleaner = Cleaner(KeyRedaction().is_sensitive)
    using = PublicationBuilder(KafkaRecordBuilder(), cleaner, uuid7, lambda: -(10**18), **options)
    found = decode(using.build(publication()).value)
    assert found.timestamp == "1970-01-01T00:00:00.000000Z"
    assert uuid.UUID(found.event_id).version == 7


def publication(category: Any = "application", fields: Any = APPLICATION, **others: Any) -> Publication:
    empty = dict.fromkeys(("tenant_id", "context", "correlation_id", "causation_id", "event_id"))
    if category != "application":
        empty["tenant_id"] = "t-1"
    message = "an order was placed" if category == "application" else None
    return Publication(category, fields, **{"message": message, **empty, **others})


BUILDER = builder()


def made_by(using: PublicationBuilder, **others: Any) -> KafkaRecord:
    return using.build(publication(**others))


def built(category: Any = "application", fields: Any = APPLICATION, **others: Any) -> KafkaRecord:
    return builder().build(publication(category, fields, **others))


def test_an_application_log_has_all_its_fields() -> None:
    """Each argument of an application log is where the contract has it, and its service is the key."""
    record = built(context={"items": 3}, correlation_id="abc")
    envelope = decode(record.value, record.headers)
    assert record.topic == "omninode.logging.application.v1"
    assert record.key == b"shop"
    assert (envelope.source, envelope.tenant_id, envelope.correlation_id, envelope.causation_id) == (
        *("shop", "default"),
        *("abc", "abc"),
    )
    assert envelope.payload == {
        "service_name": "shop",
        "instance_id": "shop-1",
        "level": "INFO",
        "logger": "shop.orders",
        "message": "an order was placed",
        "code": "ORDER_PLACED",
        "context": {"items": 3},
    }


@pytest.mark.parametrize(
    ("category", "fields", "expected"),
    [
        ("audit", AUDIT, {"action": "user.login", "actor": "bob", "resource": "console", "outcome": "success"}),
        (
            "security",
            SECURITY,
            {"event_type": "permission_check", "user_id": "bob", "resource": "console", "decision": "deny"},
        ),
    ],
)
def test_an_event_has_all_its_fields(category: str, fields: tuple[str, ...], expected: dict[str, str]) -> None:
    """Each argument of an event is where the contract has it, and its tenant is the key."""
    record = built(category, fields)
    envelope = decode(record.value, record.headers)
    assert record.key == b"t-1"
    assert envelope.payload == {
        "tenant_id": "t-1",
        **expected,
        "timestamp": envelope.timestamp,
        "context": {},
    }


@pytest.mark.parametrize(
    ("given_level", "level", "severity_text"),
    [
        ("debug", "DEBUG", None),
        ("Warning", "WARN", None),
        ("WARN", "WARN", None),
        ("CRITICAL", "ERROR", "CRITICAL"),
        ("fatal", "ERROR", "FATAL"),
        (" error ", "ERROR", None),
    ],
)
def test_levels_are_known_in_any_case_of_letters(given_level: str, level: str, severity_text: str | None) -> None:
    """Levels of Python's logging count; where the level loses something, the context keeps it."""
    payload = decode(built(fields=("s", "i", given_level, "l", "C")).value).payload
    assert payload["level"] == level
    assert payload["context"].get("otel.severity_text") == severity_text


def test_what_is_sensitive_is_redacted_at_every_depth() -> None:
    """A publisher's context is redacted as a log record's, and the caller's own is left alone."""
    context = {"password": "p", "user": {"api_key": "k", "name": "bob"}}
    payload = decode(built(context=context).value).payload
    assert payload["context"] == {"password": "[REDACTED]", "user": {"api_key": "[REDACTED]", "name": "bob"}}
    assert context["password"] == "p"


@pytest.mark.parametrize(
    "arguments",
    [
        {"context": {"target": "redis://:hunter2@cache"}},
        {"context": {"deep": {"target": "redis://:hunter2@cache"}}},
        {"context": {"omni.code": "redis://:hunter2@cache"}},
        {"message": "no answer from redis://:hunter2@cache"},
    ],
)
def test_the_userinfo_of_a_url_is_hidden(arguments: dict[str, Any]) -> None:
    """A password in a URL is hidden in a context and in a message, also once the context's shape is known."""
    for target in ("cache", "redis://:hunter2@cache"):
        given = json.loads(json.dumps(arguments).replace("redis://:hunter2@cache", target))
        value = made_by(BUILDER, **given).value
        assert b"hunter2" not in value
    assert b"redis://[REDACTED]@cache" in value


def test_enums_and_uuids_are_text() -> None:
    """The guide's words as enums, and IDs as UUID objects, are as good as text."""
    tenant = uuid.uuid4()
    record = built("audit", (AuditAction.USER_LOGIN, tenant, "console", "success"), tenant_id=tenant)
    payload = decode(record.value).payload
    assert (payload["action"], payload["actor"], payload["tenant_id"]) == ("user.login", str(tenant), str(tenant))
    fields = ("s", "i", "INFO", "l", LogCode.AGENT_ROUTED)
    assert decode(built(fields=fields).value).payload["code"] == "AGENT_ROUTED"


def test_a_callers_event_id_is_kept() -> None:
    """A caller that tries again passes the ID of its first try, and readers see one event."""
    event_id = str(uuid.uuid4())
    assert decode(built(event_id=event_id).value).event_id == event_id


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("service_name", {"fields": ("", *APPLICATION[1:])}),
        ("service_name", {"fields": ("s" * 257, *APPLICATION[1:])}),
        ("instance_id", {"fields": ("s", None, *APPLICATION[2:])}),
        ("level", {"fields": ("s", "i", "LOUD", *APPLICATION[3:])}),
        ("level", {"fields": ("s", "i", [], *APPLICATION[3:])}),
        ("logger_name", {"fields": ("s", "i", "INFO", 7, *APPLICATION[4:])}),
        ("code", {"fields": ("s", "i", "INFO", "l", " ")}),
        ("message", {"message": None}),
        ("context", {"context": "text"}),
        ("event_id", {"event_id": "17"}),
        ("tenant_id", {"category": "audit", "fields": AUDIT, "tenant_id": " "}),
        ("tenant_id", {"category": "audit", "fields": AUDIT, "tenant_id": "t" * 129}),
        ("action", {"category": "audit", "fields": ("", *AUDIT[1:])}),
        ("outcome", {"category": "audit", "fields": (*AUDIT[:3], "perhaps")}),
        ("user_id", {"category": "security", "fields": ("e", None, "r", "allow")}),
        ("decision", {"category": "security", "fields": (*SECURITY[:3], "success")}),
    ],
)
def test_a_wrong_argument_is_named(name: str, arguments: dict[str, Any]) -> None:
    """An argument that is missing or wrong gives an error with the parameter's name, and without its value."""
    with pytest.raises(ConversionError) as caught:
        built(**arguments)
    assert caught.value.field == name


@given(
    st.sampled_from(["application", "audit", "security"]), st.lists(hostile_value, min_size=5, max_size=5), st.data()
)
def test_whatever_is_given_becomes_an_envelope_or_a_named_error(category: Any, values: list[Any], data: Any) -> None:
    """Arguments of any type give strict JSON or a `ConversionError`, and in that case a dead letter in strict JSON."""
    fields = tuple(values[:5] if category == "application" else values[:4])
    others = {
        name: data.draw(hostile_value) for name in ("message", "tenant_id", "context", "correlation_id", "event_id")
    }
    given_ = publication(category, fields, **others)
    try:
        record = builder().build(given_)
    except ConversionError:
        record = builder().letter(given_)
        json.loads(record.value)
    else:
        decode(record.value, record.headers)


@pytest.mark.parametrize(
    ("given", "context"),
    [
        (None, {"region": "eu", "pod": "p"}),
        ({"region": "us", "a": 1}, {"region": "us", "pod": "p", "a": 1}),
        ({1: object}, None),
    ],
)
@pytest.mark.parametrize(("category", "fields"), [("application", APPLICATION), ("audit", AUDIT)])
def test_what_each_context_begins_with(given: Any, context: Any, category: str, fields: Any) -> None:
    """It is in every context, behind what a call itself says, whatever that is."""
    begins = {"region": "eu", "pod": "p"}
    record = builder(context=begins).build(publication(category=category, fields=fields, context=given))
    found = decode(record.value).payload["context"]
    assert begins.keys() <= found.keys()
    assert context is None or found == (context if category == "application" else {**found, **context})
    assert begins == {"region": "eu", "pod": "p"}
