"""Audit and security events through OpenTelemetry's API."""

from __future__ import annotations

import datetime as dt
import inspect
import json
import logging
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest
from opentelemetry import trace
from opentelemetry._logs import Logger, NoOpLogger, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from typing_extensions import assert_type

from otel_kafka_exporter import (
    ConversionError,
    Decision,
    NoPipelineError,
    Outcome,
    emit_audit_event,
    emit_security_event,
)
from otel_kafka_exporter.otel import emission
from otel_kafka_exporter.process import log_lines
from otel_kafka_exporter.records.redaction import REDACTED
from tests.records import SPAN_ID, TRACE_ID, TRACE_UUID, converted, kafka_record
from tests.strategies import SECRET, Hostile, Login
from tests.unit.records.test_costs import builder

AUDIT: tuple[str, str, str, Literal["success"]] = ("order.cancel", "user-7", "order/42", "success")
SECURITY: tuple[str, str, str, Literal["deny"]] = ("permission_check", "user-7", "order/42", "deny")


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
    (emit_audit_event, AUDIT, "omni.audit.outcome"),
    (emit_security_event, SECURITY, "omni.security.decision"),
]


def endless() -> list[Any]:
    """A list that contains itself."""
    made: list[Any] = []
    made.append(made)
    return made


class Told:
    """An object that would pass for an administrator."""

    def __str__(self) -> str:
        return "admin"


#: What is no text, and what may not be looked at; by name, because pytest looks at its parameters.
BAD: dict[Any, Any] = {
    "object": object(),
    "bytes": b"x",
    "float": 1.5,
    "nan": float("nan"),
    "bool": True,
    "list": ["success"],
    "mapping": {"a": 1},
    "endless": endless(),
    "told": Told(),
    "time": dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
    "decimal": Decimal(1),
    "hostile": Hostile(RuntimeError()),
    "exit": Hostile(SystemExit()),
    "deep": Hostile(RecursionError()),
}


def letter_of(record: ReadableLogRecord) -> dict[str, Any]:
    """The dead letter of a record that cannot be converted."""
    letter: dict[str, Any] = json.loads(builder().letter(record).value)
    return letter


class Word(Enum):
    """What an application may have for the two words."""

    YES = "success"
    NO = "deny"


class TextWord(str, Enum):
    """The same, of text."""

    YES = "success"
    NO = "deny"


class Rude(str):
    """A text that may not be looked at."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = str.__hash__

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(("emit", "arguments", "field"), EMITS)
@pytest.mark.parametrize("bad", [*BAD, "", "Success", "ok", "allow ", None, 1])
def test_bad_words(
    pipeline: Pipeline, emit: Callable[..., None], arguments: tuple[str, ...], field: str, bad: Any
) -> None:
    """Another word disturbs no caller: the event is a dead letter that has all the rest of it, and names the field."""
    emit(*arguments[:3], BAD.get(bad, bad), tenant_id="acme", context={"n": 1}, logger=pipeline.logger)
    record = pipeline.record()
    with pytest.raises(ConversionError, match=f"{field}: expected") as raised:
        converted(record)
    assert raised.value.field == field
    letter = letter_of(record)
    attributes = letter["attributes"]
    assert set(arguments[:3]) < {value for value in attributes.values() if isinstance(value, str)}
    assert (attributes["omni.tenant_id"], attributes["n"]) == ("acme", 1)
    assert uuid.UUID(attributes["log.record.uid"]).version == 7


@pytest.mark.parametrize("word", [Word.YES, TextWord.YES, Rude("success")], ids=["enum", "text enum", "rude text"])
def test_right_words_of_every_kind(pipeline: Pipeline, word: Any) -> None:
    """A word that is right is taken as any kind of enum, or of text."""
    emit_audit_event(*AUDIT[:3], word, logger=pipeline.logger)
    assert dict(converted(pipeline.record()).envelope.payload)["outcome"] == "success"


@pytest.mark.parametrize("word", [Word.NO, TextWord.NO, Rude("deny")], ids=["enum", "text enum", "rude text"])
def test_denials_of_every_kind(pipeline: Pipeline, word: Any) -> None:
    """A denial of any kind is one, and a warning."""
    emit_security_event(*SECURITY[:3], word, logger=pipeline.logger)
    record = pipeline.record()
    assert dict(converted(record).envelope.payload)["decision"] == "deny"
    assert record.log_record.severity_number == SeverityNumber.WARN


@pytest.mark.parametrize(("emit", "arguments", "_field"), EMITS)
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("bad", BAD)
def test_bad_fields(
    pipeline: Pipeline, emit: Callable[..., None], arguments: tuple[str, ...], _field: str, at: int, bad: Any
) -> None:
    """A field of any other type, hostile ones included, disturbs no caller, and passes for no text."""
    given: list[Any] = [*arguments]
    given[at] = BAD[bad]
    emit(*given, logger=pipeline.logger)
    record = pipeline.record()
    with pytest.raises(ConversionError, match="expected"):
        converted(record)
    assert letter_of(record)["attributes"]["omni.category"] in ("audit", "security")


@pytest.mark.parametrize("name", ["tenant_id", "correlation_id", "causation_id", "message", "context"])
@pytest.mark.parametrize("bad", [*BAD, 7, 2**70])
@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
def test_bad_options(pipeline: Pipeline, name: str, bad: Any) -> None:
    """What is no ID, message or context gives way to the next source and stays in the context; nothing is raised."""
    emit_audit_event(*AUDIT, **{name: BAD.get(bad, bad)}, logger=pipeline.logger)
    envelope = converted(pipeline.record()).envelope
    assert envelope.tenant_id == "default"
    assert envelope.correlation_id == envelope.causation_id == envelope.event_id
    assert envelope.payload["context"]


@pytest.mark.parametrize("field", ["action", "actor", "resource"])
@pytest.mark.parametrize("value", [uuid.UUID(int=7), 7, 2**70], ids=repr)
def test_ids_and_numbers_are_fields(pipeline: Pipeline, field: str, value: Any) -> None:
    """A UUID or an integer is a field as text."""
    given: dict[str, Any] = dict(zip(("action", "actor", "resource", "outcome"), AUDIT, strict=True))
    emit_audit_event(**{**given, field: value}, logger=pipeline.logger)
    assert dict(converted(pipeline.record()).envelope.payload)[field] == str(value)


class Broken(LogRecordProcessor):
    """A processor of somebody's that raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Raise."""
        del log_record
        raise self._error

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing to do."""
        return timeout_millis > 0


def broken(error: BaseException) -> Logger:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Broken(error))
    return provider.get_logger("shop")


@pytest.mark.parametrize("error", [RuntimeError("no"), RecursionError(), SystemExit(1)], ids=repr)
def test_a_processor_that_raises(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A processor of somebody's that raises costs the caller nothing but a line on stderr."""
    monkeypatch.setattr(log_lines, "QUIET_SECONDS", 0.0)
    emit_audit_event(*AUDIT, logger=broken(error))
    assert f"may be lost: expected OpenTelemetry to take it, got {type(error).__name__}" in capfd.readouterr().err


def test_ctrl_c_is_not_swallowed() -> None:
    """Ctrl-C in the call is the application's."""
    with pytest.raises(KeyboardInterrupt):
        emit_audit_event(*AUDIT, logger=broken(KeyboardInterrupt()))


def test_a_logger_that_is_none(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger of another kind than OpenTelemetry's, as `logging` has, costs a line and not the caller's work."""
    monkeypatch.setattr(log_lines, "QUIET_SECONDS", 0.0)
    for logger in (logging.getLogger("shop"), object(), 7):
        emit_security_event(*SECURITY, logger=logger)  # type: ignore[call-overload]
        assert "AttributeError" in capfd.readouterr().err


@pytest.mark.parametrize(("emit", "arguments", "_field"), EMITS)
def test_event_id(pipeline: Pipeline, emit: Callable[..., None], arguments: tuple[str, ...], _field: str) -> None:
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
        emit_audit_event(*AUDIT, logger=pipeline.logger)
        assert converted(pipeline.record()).envelope.correlation_id == TRACE_UUID
        emit_audit_event(*AUDIT, logger=pipeline.logger, correlation_id="mine")
        result = converted(pipeline.record())
        assert (result.envelope.correlation_id, result.envelope.causation_id) == ("mine", "mine")
        assert result.traceparent is not None


def test_a_context_decides_nothing(pipeline: Pipeline) -> None:
    """A context, which may come from a request, cannot change whose event it is, or what it says."""
    hostile: dict[Any, Any] = {
        "omni.tenant_id": "victim",
        "omni.category": "application",
        "omni.audit.actor": "admin",
        "omni.audit.outcome": "failure",
        "omni.correlation_id": "x",
        "omni.code": "x",
        "log.record.uid": "018bcfe5-687b-7abc-8def-0123456789ab",
        b"omni.tenant_id": "victim",
    }
    emit_audit_event(*AUDIT, context=hostile, logger=pipeline.logger)
    envelope = converted(pipeline.record()).envelope
    assert (envelope.tenant_id, envelope.event_type) == ("default", "omninode.logging.audit.v1")
    payload: dict[str, Any] = dict(envelope.payload)
    assert (payload["actor"], payload["outcome"]) == ("user-7", "success")
    assert envelope.event_id != hostile["log.record.uid"]
    assert payload["context"].pop("context.omni.tenant_id_", "victim") == "victim"
    assert payload["context"] == {f"context.{name}": value for name, value in hostile.items() if isinstance(name, str)}


def test_no_value_of_a_context_is_lost(pipeline: Pipeline) -> None:
    """A context with a name that another one's is changed to keeps both values."""
    emit_audit_event(*AUDIT, context={"omni.x": 1, "context.omni.x": 2}, logger=pipeline.logger)
    assert sorted(pipeline.context().values()) == [1, 2]


def test_more_context_than_the_sdk_keeps(pipeline: Pipeline) -> None:
    """The SDK's limit of attributes costs context, and never a field of the event."""
    context = {f"k{number}": number for number in range(300)}
    with pytest.warns(UserWarning, match="dropped"):
        emit_audit_event(*AUDIT, tenant_id="acme", context=context, correlation_id="c", logger=pipeline.logger)
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
    emit_audit_event(*AUDIT, context=context, logger=pipeline.logger)
    assert kafka_record(pipeline.record()).value


def test_secrets_in_a_context(pipeline: Pipeline) -> None:
    """Secrets in a context are hidden by the exporter at every depth, in values of every kind."""
    context: dict[Any, Any] = {
        "password": SECRET,
        "user": {"name": "ann", "token": SECRET},
        "login": Login("ann", SECRET),
        b"jwt": SECRET,
    }
    emit_audit_event(*AUDIT, context=context, message="x", logger=pipeline.logger)
    found = pipeline.context()
    assert SECRET not in str(found)
    assert found["user"] == {"name": "ann", "token": REDACTED}
    assert found["login"] == {"user": "ann", "password": REDACTED}


def test_the_callers_context_is_not_changed(pipeline: Pipeline) -> None:
    """What a caller passes stays its own."""
    context: dict[str, Any] = {"a": [1], "omni.x": 1}
    emit_audit_event(*AUDIT, context=context, logger=pipeline.logger)
    assert context == {"a": [1], "omni.x": 1}


def test_a_bad_tenant_is_kept_in_context(pipeline: Pipeline) -> None:
    """A tenant that cannot be one gives way to the setting's and is kept in context."""
    emit_audit_event(*AUDIT, tenant_id="x" * 129, logger=pipeline.logger)
    envelope = converted(pipeline.record()).envelope
    assert envelope.tenant_id == "default"
    assert envelope.payload["context"] == {"omni.tenant_id": "x" * 129}


def test_no_pipeline(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a pipeline one warning is given in a process, and nothing else happens."""
    monkeypatch.setattr(log_lines, "QUIET_SECONDS", 0.0)
    emission._warn_of_no_pipeline.cache_clear()
    for _ in range(3):
        emit_audit_event(*AUDIT, logger=NoOpLogger("x"))
        emit_security_event(*SECURITY, logger=NoOpLogger("x"))
    assert capfd.readouterr().err.count("audit and security events go nowhere") == 1
    assert sys.stderr is not None


def test_types(pipeline: Pipeline) -> None:
    """A type checker knows that there is a receipt with `wait`, and none without; the enums are words."""
    assert_type(emit_audit_event("a", "b", "c", "success", logger=pipeline.logger), None)
    assert_type(emit_security_event("a", "b", "c", Decision.DENY, logger=pipeline.logger), None)
    with pytest.raises(NoPipelineError):
        assert_type(emit_audit_event("a", "b", "c", Outcome.FAILURE, logger=pipeline.logger, wait=1.0).topic, str)
    with pytest.raises(NoPipelineError):
        assert_type(emit_security_event("a", "b", "c", "deny", logger=pipeline.logger, wait=1).offset, int)


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
