"""Audit and security events through OpenTelemetry's API."""

from __future__ import annotations

import inspect
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import Logger, NoOpLogger, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import emit_audit_event, emit_security_event
from otel_kafka_exporter.otel import events
from otel_kafka_exporter.process import telemetry
from otel_kafka_exporter.records.redaction import REDACTED
from tests.records import SPAN_ID, TRACE_ID, TRACE_UUID, converted, kafka_record
from tests.strategies import SECRET, Login

AUDIT = ("order.cancel", "user-7", "order/42", "success")
SECURITY = ("permission_check", "user-7", "order/42", "deny")


class Pipeline:
    """A provider that keeps what is emitted."""

    def __init__(self) -> None:
        self._memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's own, without annotations
        provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._memory))
        self.logger: Logger = provider.get_logger("shop.orders")

    def record(self) -> ReadableLogRecord:
        (record,) = self._memory.get_finished_logs()
        self._memory.clear()
        return record

    def context(self) -> dict[str, Any]:
        context: dict[str, Any] = converted(self.record()).envelope.payload["context"]
        return context


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


def test_audit_event(pipeline: Pipeline) -> None:
    """An audit event arrives as the audit envelope of just what was said."""
    before = time.time_ns()
    emit_audit_event(
        *AUDIT[:3],
        "failure",
        tenant_id="acme",
        context={"reason": "late", "n": 1},
        message="user-7 cancelled",
        correlation_id="c",
        causation_id="d",
        logger=pipeline.logger,
    )
    record = pipeline.record()
    assert before <= (record.log_record.timestamp or 0) <= time.time_ns()
    assert record.log_record.event_name == "omni.audit"
    assert record.log_record.severity_number == SeverityNumber.INFO
    assert record.log_record.severity_text == "INFO"
    found = converted(record)
    category, envelope = found.category, found.envelope
    assert category == "audit"
    assert (envelope.tenant_id, envelope.correlation_id, envelope.causation_id, envelope.source) == (
        "acme",
        "c",
        "d",
        "shop",
    )
    assert envelope.payload == {
        "tenant_id": "acme",
        "action": "order.cancel",
        "actor": "user-7",
        "resource": "order/42",
        "outcome": "failure",
        "timestamp": envelope.timestamp,
        "context": {"reason": "late", "n": 1, "message": "user-7 cancelled"},
    }


@pytest.mark.parametrize(("decision", "severity"), [("allow", SeverityNumber.INFO), ("deny", SeverityNumber.WARN)])
def test_security_event(pipeline: Pipeline, decision: Any, severity: SeverityNumber) -> None:
    """A security event arrives as the security envelope; a denial is a warning to all that read severities."""
    emit_security_event(*SECURITY[:3], decision, logger=pipeline.logger)
    record = pipeline.record()
    assert (record.log_record.event_name, record.log_record.severity_number) == ("omni.security", severity)
    found = converted(record)
    category, envelope = found.category, found.envelope
    assert category == "security"
    assert envelope.payload == {
        "tenant_id": "default",
        "event_type": "permission_check",
        "user_id": "user-7",
        "resource": "order/42",
        "decision": decision,
        "timestamp": envelope.timestamp,
        "context": {},
    }


EMITS: list[tuple[Callable[..., object], tuple[str, ...], str]] = [
    (emit_audit_event, AUDIT, "outcome: expected success or failure, got "),
    (emit_security_event, SECURITY, "decision: expected allow or deny, got "),
]


@pytest.mark.parametrize(("emit", "arguments", "problem"), EMITS)
@pytest.mark.parametrize("bad", ["", "Success", "ok", "allow ", None, True, 1, ["success"], {}])
def test_bad_words(
    pipeline: Pipeline, emit: Callable[..., None], arguments: tuple[str, ...], problem: str, bad: Any
) -> None:
    """Another word is a ValueError at the caller's, and nothing is emitted."""
    with pytest.raises(ValueError, match=problem):
        emit(*arguments[:3], bad, logger=pipeline.logger)
    with pytest.raises(ValueError, match="unpack"):
        pipeline.record()


@pytest.mark.parametrize(("emit", "arguments", "_problem"), EMITS)
def test_event_id(pipeline: Pipeline, emit: Callable[..., None], arguments: tuple[str, ...], _problem: str) -> None:
    """An event carries an ID of its own, a UUIDv7 of its time, which is the envelope's in every exporter."""
    ids = set()
    for _ in range(3):
        emit(*arguments, logger=pipeline.logger)
        record = pipeline.record()
        assert converted(record).envelope.event_id == converted(record).envelope.event_id
        ids.add(converted(record).envelope.event_id)
        event_id = uuid.UUID(converted(record).envelope.event_id)
        assert event_id.version == 7
        assert event_id.int >> 80 == (record.log_record.timestamp or 0) // 10**6
    assert len(ids) == 3


def test_current_trace(pipeline: Pipeline) -> None:
    """An event belongs to the current trace unless the caller says otherwise."""
    span = trace.NonRecordingSpan(trace.SpanContext(TRACE_ID, SPAN_ID, is_remote=True, trace_flags=trace.TraceFlags(1)))
    with trace.use_span(span):
        emit_audit_event(*AUDIT, logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
        assert converted(pipeline.record()).envelope.correlation_id == TRACE_UUID
        emit_audit_event(*AUDIT, logger=pipeline.logger, correlation_id="mine")  # type: ignore[arg-type]  # the words are right
        result = converted(pipeline.record())
        assert (result.envelope.correlation_id, result.envelope.causation_id) == ("mine", "mine")
        assert result.traceparent is not None


def test_a_context_decides_nothing(pipeline: Pipeline) -> None:
    """A context, which may come from a request, cannot change whose event it is, or what it says."""
    hostile = {
        "omni.tenant_id": "victim",
        "omni.category": "application",
        "omni.audit.actor": "admin",
        "omni.audit.outcome": "failure",
        "omni.correlation_id": "x",
        "omni.code": "x",
        "log.record.uid": "018bcfe5-687b-7abc-8def-0123456789ab",
        b"omni.tenant_id": "victim",
    }
    emit_audit_event(*AUDIT, context=hostile, logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
    envelope = converted(pipeline.record()).envelope
    assert (envelope.tenant_id, envelope.event_type) == ("default", "omninode.logging.audit.v1")
    payload: dict[str, Any] = dict(envelope.payload)
    assert (payload["actor"], payload["outcome"]) == ("user-7", "success")
    assert envelope.event_id != hostile["log.record.uid"]
    assert payload["context"].pop("context.omni.tenant_id_", "victim") == "victim"
    assert payload["context"] == {f"context.{name}": value for name, value in hostile.items() if isinstance(name, str)}


def test_no_value_of_a_context_is_lost(pipeline: Pipeline) -> None:
    """A context with a name that another one's is changed to keeps both values."""
    emit_audit_event(*AUDIT, context={"omni.x": 1, "context.omni.x": 2}, logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
    assert sorted(pipeline.context().values()) == [1, 2]


def test_more_context_than_the_sdk_keeps(pipeline: Pipeline) -> None:
    """The SDK's limit of attributes costs context, and never a field of the event."""
    context = {f"k{number}": number for number in range(300)}
    with pytest.warns(UserWarning, match="dropped"):
        emit_audit_event(*AUDIT, tenant_id="acme", context=context, correlation_id="c", logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
    envelope = converted(pipeline.record()).envelope
    assert (envelope.tenant_id, envelope.correlation_id) == ("acme", "c")
    assert dict(envelope.payload)["actor"] == "user-7"


class Bad(Mapping[str, int]):
    """A context that cannot be read."""

    def __getitem__(self, key: str) -> int:
        raise RuntimeError

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError


def cyclic() -> dict[str, Any]:
    context: dict[str, Any] = {"a": [1]}
    context["self"] = context
    return context


@pytest.mark.parametrize(
    "context",
    [cyclic(), {1: 2, None: {"a": object()}}, {"": 1}, {"\ud800": b"\0"}, Bad(), {"big": 2**200}],
    ids=["cycle", "keys", "empty", "surrogate", "rude", "big"],
)
@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
def test_contexts_of_every_kind(pipeline: Pipeline, context: Any) -> None:
    """Whatever a context is made of, the event is emitted, and the caller is not disturbed."""
    emit_audit_event(*AUDIT, context=context, logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
    assert kafka_record(pipeline.record()).value


def test_secrets_in_a_context(pipeline: Pipeline) -> None:
    """Secrets in a context are hidden by the exporter at every depth, in values of every kind."""
    context = {
        "password": SECRET,
        "user": {"name": "ann", "token": SECRET},
        "login": Login("ann", SECRET),
        b"jwt": SECRET,
    }
    emit_audit_event(*AUDIT, context=context, message="x", logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
    found = pipeline.context()
    assert SECRET not in str(found)
    assert found["user"] == {"name": "ann", "token": REDACTED}
    assert found["login"] == {"user": "ann", "password": REDACTED}


def test_the_callers_context_is_not_changed(pipeline: Pipeline) -> None:
    """What a caller passes stays its own."""
    context: dict[str, Any] = {"a": [1], "omni.x": 1}
    emit_audit_event(*AUDIT, context=context, logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
    assert context == {"a": [1], "omni.x": 1}


def test_a_bad_tenant_is_kept_in_context(pipeline: Pipeline) -> None:
    """A tenant that cannot be one gives way to the setting's and is kept in context."""
    emit_audit_event(*AUDIT, tenant_id="x" * 129, logger=pipeline.logger)  # type: ignore[arg-type]  # the words are right
    envelope = converted(pipeline.record()).envelope
    assert envelope.tenant_id == "default"
    assert envelope.payload["context"] == {"omni.tenant_id": "x" * 129}


def test_no_pipeline(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a pipeline one warning is given in a process, and nothing else happens."""
    monkeypatch.setattr(telemetry, "QUIET_SECONDS", 0.0)
    events._warn_of_no_pipeline.cache_clear()
    for _ in range(3):
        emit_audit_event(*AUDIT, logger=NoOpLogger("x"))  # type: ignore[arg-type]  # the words are right
        emit_security_event(*SECURITY, logger=NoOpLogger("x"))  # type: ignore[arg-type]  # the words are right
    assert capfd.readouterr().err.count("audit and security events go nowhere") == 1
    assert sys.stderr is not None


@pytest.mark.parametrize("emit", [emit_audit_event, emit_security_event])
def test_signatures(emit: Callable[..., None]) -> None:
    """The four fields may be given by position; all that a reader would not guess has to be named."""
    parameters = inspect.signature(emit).parameters.values()
    by_position = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    by_name = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    if emit is emit_audit_event:
        assert by_position == ["action", "actor", "resource", "outcome"]
    else:
        assert by_position == ["event_type", "user_id", "resource", "decision"]
    assert by_name >= {"tenant_id", "context", "message", "correlation_id", "causation_id", "logger"}
