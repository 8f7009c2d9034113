"""A whole log record of the SDK becomes the whole envelope of its category."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber

from otel_kafka_exporter.errors import ConversionError
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
    converted,
    envelope_of,
    hand_made,
    on_the_wire,
    sdk_record,
    sdk_records,
)
from tests.unit.records.texts import UID, Event, Text


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


def test_sdk_records_in_bulk() -> None:
    """Records of the real SDK with attributes of every type that it lets through all become envelopes."""
    values: list[Any] = ["x", 1, 1.5, True, None, b"x", [1, "x"], {"a": [1]}, 2**70, float("nan"), "\ud800", object()]
    values += [uuid.UUID(UID), dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), Event.LOGIN]
    found = [
        on_the_wire(record) for record in sdk_records({"body": value, "attributes": {"v": value}} for value in values)
    ]
    assert len(found) == len(values)
    assert {document["source"] for document in found} == {RESOURCE.attributes["service.name"]}
