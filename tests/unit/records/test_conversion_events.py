"""An audit or security event has all its required fields, or is a conversion error that names the one that is wrong."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from otel_kafka_exporter.errors import ConversionError
from tests.records import AUDIT, SECURITY, converted, hand_made, payload_of
from tests.strategies import SECRET
from tests.unit.records.texts import UID, Text

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
