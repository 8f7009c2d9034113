"""Envelopes back to OpenTelemetry's own log records, as OTLP has them."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber

from otel_kafka_exporter.errors import DecodeError

from . import attributes as names
from .conversion import UNSPECIFIED_CODE
from .decoding import Headers, header
from .envelope import Category, OnexEnvelopeV1, category_of
from .fields import level_of
from .ids import dashed

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

#: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INT64 = range(-(2**63), 2**63)
_EVENTS: Mapping[Category, str] = {"audit": names.AUDIT_EVENT, "security": names.SECURITY_EVENT}
_FIELDS: Mapping[Category, Mapping[str, str]] = {
    "application": {},
    "audit": {
        "action": names.AUDIT_ACTION,
        "actor": names.AUDIT_ACTOR,
        "resource": names.AUDIT_RESOURCE,
        "outcome": names.AUDIT_OUTCOME,
    },
    "security": {
        "event_type": names.SECURITY_EVENT_TYPE,
        "user_id": names.SECURITY_USER_ID,
        "resource": names.SECURITY_RESOURCE,
        "decision": names.SECURITY_DECISION,
    },
}


def to_otlp(envelope: OnexEnvelopeV1, headers: Headers = None) -> LogRecord:
    """The log record that an envelope was made of, as far as the envelope has it.

    Trace and span ID are those of the header `traceparent`. The attributes are the context's, and those that the
    envelope has fields for: `log.record.uid`, `omni.category`, `omni.tenant_id` and the like, so that the same envelope
    comes of it if it is exported again. Resource and scope are no parts of a log record in OTLP; of these an envelope
    has `source` (`service.name`), and in an application's payload `instance_id` and `logger`.

    What cannot come back: nanoseconds below a microsecond, the time of observation, a body's type (what was no text is
    JSON), bytes (they are base64), an event name that is the code as well, severities of audit and security events.

    Args:
        envelope: as `decode` gives it.
        headers: of the same Kafka record.

    Raises:
        DecodeError: the timestamp is none.
        ImportError: the package opentelemetry-proto is missing; the extra `otlp` has it.
    """
    try:
        from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(
            f"to_otlp: expected the package opentelemetry-proto, got {error}. Install otel-kafka-exporter[otlp]."
        ) from None

    category = category_of(envelope.event_type)
    payload = envelope.payload
    context: dict[str, Any] = dict(payload["context"])
    record = LogRecord(time_unix_nano=_nanoseconds(envelope.timestamp))
    trace_id = _set_trace(record, header(headers, "traceparent"))
    record.event_name = _take_text(context, names.EVENT_NAME) or _EVENTS.get(category, "")
    if category == "application":
        _set_severity(record, payload["level"], _take_text(context, names.SEVERITY_TEXT))
        body = payload["message"]
    else:
        body = _take_text(context, names.BODY if names.BODY in context else names.MESSAGE)
    if body is not None:
        _put(record.body, body)
    dropped = context.get(names.DROPPED_ATTRIBUTES)
    if type(dropped) is int and 0 <= dropped < 1 << 32:
        record.dropped_attributes_count = context.pop(names.DROPPED_ATTRIBUTES)

    attributes: dict[str, Any] = {
        **context,
        names.RECORD_UID: envelope.event_id,
        names.CATEGORY: category,
        names.TENANT_ID: envelope.tenant_id,
        **{name: payload[field] for field, name in _FIELDS[category].items()},
    }
    if envelope.correlation_id != (trace_id or envelope.event_id):
        attributes[names.CORRELATION_ID] = envelope.correlation_id
    if envelope.causation_id != envelope.correlation_id:
        attributes[names.CAUSATION_ID] = envelope.causation_id
    if category == "application" and payload["code"] != UNSPECIFIED_CODE:
        attributes[names.CODE] = payload["code"]
    for name, value in attributes.items():
        _put(record.attributes.add(key=name).value, value)
    return record


def _take_text(context: dict[str, Any], name: str) -> str | None:
    """A text of that name, taken out of a context; anything else that an application put there stays."""
    text = context.get(name)
    return context.pop(name) if text and isinstance(text, str) else None


def _nanoseconds(text: str) -> int:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ` as Unix nanoseconds."""
    try:
        seconds = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
        if seconds >= 0 and text[19] == "." and text[-1] == "Z" and len(text) == len("2026-01-01T00:00:00.000000Z"):
            return seconds * 1_000_000_000 + int(text[20:26]) * 1000
    except (ValueError, IndexError):
        pass
    raise DecodeError(f"timestamp: expected YYYY-MM-DDTHH:MM:SS.ffffffZ from 1970 on, got {text[:40]!r}")


def _set_trace(record: LogRecord, traceparent: str | None) -> str | None:
    """Set the IDs of a valid traceparent; the trace ID as a UUID."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    record.trace_id = bytes.fromhex(match[1])
    record.span_id = bytes.fromhex(match[2])
    record.flags = int(match[3], 16)
    return dashed(match[1])


def _set_severity(record: LogRecord, level: str, text: str | None) -> None:
    """The number whose name the text is, where it is of that level; else the level's own."""
    said = text or level
    name = {"CRITICAL": "FATAL"}.get(said.upper(), said.upper())
    number = SeverityNumber.__members__.get(name)
    if number is None or level_of(number, None)[0] != level:
        number = SeverityNumber[level]
    record.severity_number = number.value  # type: ignore[assignment]  # the field takes the number
    record.severity_text = said


def _put(slot: AnyValue, value: Any) -> None:
    """Put a value of JSON into its place; null is a place with nothing in it."""
    if isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, int) and value in _INT64:
        slot.int_value = value
    elif isinstance(value, float):
        slot.double_value = value
    elif isinstance(value, Mapping):
        slot.kvlist_value.SetInParent()
        for name, member in value.items():
            _put(slot.kvlist_value.values.add(key=name).value, member)
    elif isinstance(value, (list, tuple)):
        slot.array_value.SetInParent()
        for element in value:
            _put(slot.array_value.values.add(), element)
    elif value is not None:
        slot.string_value = str(value)
