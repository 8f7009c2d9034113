"""Envelopes back to OTLP log records."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, example, given
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter import decode, to_otlp
from otel_kafka_exporter.errors import ConversionError, DecodeError
from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.encoding import encode_json
from otel_kafka_exporter.records.envelope import OnexEnvelopeV1
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.protobuf_encoding import encode_protobuf
from tests.records import AUDIT, SECURITY, SPAN_ID, TRACE_ID, cleaner, hand_made, now
from tests.strategies import QUICK, json_value, records

CONVERTER = Converter(cleaner(), uuid7, now)


def sent(record: ReadableLogRecord) -> tuple[OnexEnvelopeV1, dict[str, Any]]:
    """The envelope and the headers that readers get."""
    converted = CONVERTER.convert(record)
    traceparent = converted.traceparent
    return converted.envelope, {} if traceparent is None else {"traceparent": traceparent.encode()}


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return {each.key: value_of(each.value) for each in value.kvlist_value.values}
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def attributes_of(record: LogRecord) -> dict[str, Any]:
    return {each.key: value_of(each.value) for each in record.attributes}


def received(record: LogRecord, envelope: OnexEnvelopeV1) -> ReadableLogRecord:
    """The log record of a service that has got this by OTLP, with resource and scope of the envelope."""
    resource = {"service.name": envelope.source}
    if instance_id := envelope.payload.get("instance_id"):
        resource["service.instance.id"] = instance_id
    made: ReadableLogRecord = hand_made(
        attributes_of(record),
        resource=Resource(resource),
        scope=InstrumentationScope(envelope.payload.get("logger", "")),
        body=value_of(record.body),
        event_name=record.event_name or None,
        severity_number=SeverityNumber(record.severity_number),
        severity_text=record.severity_text or None,
        timestamp=record.time_unix_nano,
        observed_timestamp=1,
        trace_id=int.from_bytes(record.trace_id, "big"),
        span_id=int.from_bytes(record.span_id, "big"),
        trace_flags=record.flags,
    )
    return made


_AUDIT = {
    "omni.category": "audit",
    "omni.audit.action": "order.cancel",
    "omni.audit.actor": "user-7",
    "omni.audit.resource": "order/42",
    "omni.audit.outcome": "success",
}


@QUICK
@given(records(json_value))
@example(hand_made({}, event_name="order\0placed", body="an order"))
@example(hand_made({**_AUDIT, "message": None}))
@example(hand_made({**_AUDIT, "message": 5}))
def test_the_same_envelope_comes_of_it(given_record: Any) -> None:
    """What is received by OTLP and exported again is the same envelope, whatever was logged."""
    assume(isinstance(given_record.log_record.event_name, (str, type(None))))
    try:
        envelope, headers = sent(given_record)
    except ConversionError:
        return
    read = decode(encode_json(envelope))
    assume(not _has_large(read.payload))
    # What was wrong with one of these stays in the context, and OTLP has room for the right one only.
    assume(not any(name.startswith("omni.") or name == "log.record.uid" for name in read.payload["context"]))
    again, headers_again = sent(received(to_otlp(read, headers), read))
    assert again == read
    assert headers_again == headers


def _has_large(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_large(each) for each in value.values())
    if isinstance(value, list):
        return any(_has_large(each) for each in value)
    return isinstance(value, int) and value >= 2**63


@pytest.mark.parametrize(
    ("number", "text"),
    [(SeverityNumber.INFO, "INFO"), (SeverityNumber.DEBUG2, None), (SeverityNumber.FATAL, "CRITICAL")],
)
def test_it_is_what_opentelemetrys_own_encoder_makes(number: SeverityNumber, text: str | None) -> None:
    """Time, severity, body, IDs and attributes are those that OpenTelemetry's OTLP exporter sends."""
    attributes = {"n": 1, "f": 1.5, "b": True, "l": ["a"], "m": {"x": 1}}
    record = hand_made(
        attributes,
        body="placed",
        severity_number=number,
        severity_text=text,
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        trace_flags=1,
    )
    theirs = encode_logs([record]).resource_logs[0].scope_logs[0].log_records[0]
    envelope, headers = sent(record)
    ours = to_otlp(decode(encode_protobuf(envelope)), headers)
    for name in ("severity_number", "body", "trace_id", "span_id", "flags", "event_name"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.time_unix_nano == theirs.time_unix_nano // 1000 * 1000
    assert ours.severity_text == (text or number.name)
    more = {"log.record.uid": envelope.event_id, "omni.category": "application", "omni.tenant_id": "default"}
    assert attributes_of(ours) == {**attributes, **more}


@pytest.mark.parametrize(("fields", "name"), [(AUDIT, "omni.audit"), (SECURITY, "omni.security")])
def test_audit_and_security_events_are_events_again(fields: dict[str, Any], name: str) -> None:
    """They have their event name, their attributes, and the body that was in the context."""
    envelope, headers = sent(hand_made({**fields, "ip": "10.0.0.1"}, event_name=name, body="as asked"))
    record = to_otlp(envelope, headers)
    assert (record.event_name, record.body.string_value) == (name, "as asked")
    found = attributes_of(record)
    assert {**found, **fields, "ip": "10.0.0.1"} == found
    assert found["omni.category"] == name.removeprefix("omni.")


@pytest.mark.parametrize(
    "traceparent", ["", "x", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01", f"00-{'1' * 32}-01"]
)
def test_a_traceparent_that_is_none(traceparent: str) -> None:
    """An invalid header gives no IDs, and no error."""
    envelope, _ = sent(hand_made({}))
    record = to_otlp(envelope, {"traceparent": traceparent})
    assert (record.trace_id, record.span_id, record.flags) == (b"", b"", 0)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01T00:00:00Z", "2026-13-01T00:00:00.000000Z"])
def test_a_timestamp_that_is_none(text: str) -> None:
    """It is a decode error that shows it."""
    envelope, _ = sent(hand_made({}))
    with pytest.raises(DecodeError, match=r"^timestamp: expected YYYY"):
        to_otlp(envelope._replace(timestamp=text))


def test_integers_that_otlp_has_no_place_for() -> None:
    """They are their text."""
    envelope, _ = sent(hand_made({"n": 2**63}))
    assert attributes_of(to_otlp(envelope))["n"] == str(2**63)


def test_without_the_package_it_says_what_to_install() -> None:
    """The error of a process that lacks opentelemetry-proto names the extra."""
    program = (
        "import sys; sys.modules['opentelemetry.proto'] = None\n"
        "from otel_kafka_exporter import OnexEnvelopeV1, to_otlp\n"
        "to_otlp(OnexEnvelopeV1(*['']*9, {}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert "Install otel-kafka-exporter[otlp]" in done.stderr
