"""Audit and security events, through OpenTelemetry's API: every exporter of the process sees them, ours included."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any, Literal

from opentelemetry._logs import Logger, NoOpLogger, SeverityNumber, get_logger, get_logger_provider

from otel_kafka_exporter.delivery import Receipt, expected
from otel_kafka_exporter.errors import NoPipelineError
from otel_kafka_exporter.process import warn
from otel_kafka_exporter.records import Cleaner, WholeLogRecord, unused_name, uuid7
from otel_kafka_exporter.records import attributes as names

from .reach import may_reach_kafka

SCOPE = "otel_kafka_exporter.events"

# Here a context is only made fit for the SDK, whose own cleaning raises on a mapping that contains itself. Redaction is
# the exporter's, by its settings.
_cleaner = Cleaner(is_sensitive=lambda _key: False)


def emit_audit_event(
    action: str,
    actor: str,
    resource: str,
    outcome: Literal["success", "failure"],
    *,
    tenant_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    message: str | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    logger: Logger | None = None,
    wait: float | None = None,
) -> Receipt | None:
    """Emit the OpenTelemetry event `omni.audit`: who did what to which resource, and whether it worked.

    Args:
        action: what was done, e.g. `user.login`.
        actor: who did it.
        resource: to what.
        outcome: `success` or `failure`.
        tenant_id: whose event it is; the resource's or the exporter's unless given.
        context: more to say, by name.
        message: the same in words, for readers.
        correlation_id: what belongs together; the current trace unless given.
        causation_id: what led to this; the correlation ID unless given.
        logger: an OpenTelemetry logger; one of the global provider unless given.
        wait: seconds to wait for the broker's acknowledgement; behind a batch processor its delay comes first. Not at
            all unless given.

    Returns:
        The receipt, with `wait`.

    Raises:
        DeliveryTimeout: no acknowledgement came within `wait`; the event is still accounted for, and delivered later
            where it was spooled.
        DeliveryError: the event was dropped or dead-lettered; says why.
        NoPipelineError: `wait` in a process that has no exporter of this package.
        ValueError: the outcome is another word.
    """
    _check("outcome", outcome, names.OUTCOMES)
    return _emit(
        "audit",
        names.AUDIT_EVENT,
        {
            names.AUDIT_ACTION: action,
            names.AUDIT_ACTOR: actor,
            names.AUDIT_RESOURCE: resource,
            names.AUDIT_OUTCOME: outcome,
            names.TENANT_ID: tenant_id,
            names.CORRELATION_ID: correlation_id,
            names.CAUSATION_ID: causation_id,
        },
        context,
        message,
        SeverityNumber.INFO,
        logger,
        wait,
    )


def emit_security_event(
    event_type: str,
    user_id: str,
    resource: str,
    decision: Literal["allow", "deny"],
    *,
    tenant_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    message: str | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    logger: Logger | None = None,
    wait: float | None = None,
) -> Receipt | None:
    """Emit the OpenTelemetry event `omni.security`: which decision was taken, for whom and about what.

    Args:
        event_type: what happened, e.g. `permission_check`.
        user_id: for whom it was decided.
        resource: about what.
        decision: `allow` or `deny`; a denial has the severity WARN.
        tenant_id: whose event it is; the resource's or the exporter's unless given.
        context: more to say, by name.
        message: the same in words, for readers.
        correlation_id: what belongs together; the current trace unless given.
        causation_id: what led to this; the correlation ID unless given.
        logger: an OpenTelemetry logger; one of the global provider unless given.
        wait: seconds to wait for the broker's acknowledgement; behind a batch processor its delay comes first. Not at
            all unless given.

    Returns:
        The receipt, with `wait`.

    Raises:
        DeliveryTimeout: no acknowledgement came within `wait`; the event is still accounted for, and delivered later
            where it was spooled.
        DeliveryError: the event was dropped or dead-lettered; says why.
        NoPipelineError: `wait` in a process that has no exporter of this package.
        ValueError: the decision is another word.
    """
    _check("decision", decision, names.DECISIONS)
    return _emit(
        "security",
        names.SECURITY_EVENT,
        {
            names.SECURITY_EVENT_TYPE: event_type,
            names.SECURITY_USER_ID: user_id,
            names.SECURITY_RESOURCE: resource,
            names.SECURITY_DECISION: decision,
            names.TENANT_ID: tenant_id,
            names.CORRELATION_ID: correlation_id,
            names.CAUSATION_ID: causation_id,
        },
        context,
        message,
        SeverityNumber.WARN if decision == "deny" else SeverityNumber.INFO,
        logger,
        wait,
    )


def _check(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected {' or '.join(choices)}, got {value!r}")


def _emit(
    category: str,
    event_name: str,
    fields: dict[str, Any],
    context: Mapping[str, Any] | None,
    message: str | None,
    severity: SeverityNumber,
    logger: Logger | None,
    wait: float | None,
) -> Receipt | None:
    logger = logger or get_logger(SCOPE)
    if wait is None and _goes_nowhere(logger):
        _warn_of_no_pipeline()
        return None
    now = max(time.time_ns(), 0)  # a test may have set the clock to before 1970
    event_id = uuid7(now // 1_000_000)
    decisive = {name: value for name, value in fields.items() if value is not None}
    event = WholeLogRecord(
        {**decisive, names.CATEGORY: category, names.RECORD_UID: event_id},
        context_attributes(context or {}),
        timestamp=now,
        severity_number=severity,
        severity_text=severity.name,
        body=message,
        event_name=event_name,
    )
    if wait is None:
        logger.emit(event)
        return None
    if not may_reach_kafka(logger):
        raise NoPipelineError(
            "wait: expected a logger whose provider has a KafkaLogExporter or KafkaLogRecordProcessor, got one whose"
            " provider has other exporters only. Add one to it, or do not wait."
        )
    with expected(event_id) as expectation:
        logger.emit(event)
        return expectation.result(wait)


def _goes_nowhere(logger: Logger) -> bool:
    """Whether this is one of the API's own loggers: its no-op always is, its proxy until a provider is set."""
    api = NoOpLogger.__module__
    return isinstance(logger, NoOpLogger) or (
        type(logger).__module__ == api and type(get_logger_provider()).__module__ == api
    )


@functools.cache
def _warn_of_no_pipeline() -> None:
    """Once in a process: a library may emit events in a service that has no use for them."""
    warn("no_pipeline", "audit and security events go nowhere: OpenTelemetry has no LoggerProvider, or it is disabled")


def context_attributes(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context as attributes of a log record, with values that the SDK takes."""
    attributes: dict[str, Any] = {}
    for name, value in _cleaner.clean_mapping(context).items():
        attributes[unused_name(_context_name(name), attributes)] = value
    return attributes


def _context_name(name: str) -> str:
    """A context's own name for what would otherwise decide: a context may come from a request."""
    reserved = name.startswith(names.RESERVED_PREFIX) or name == names.RECORD_UID
    return f"context.{name}" if reserved else name
