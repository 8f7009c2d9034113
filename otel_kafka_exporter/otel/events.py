"""Audit and security events, through OpenTelemetry's API: every exporter of the process sees them, ours included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

from opentelemetry._logs import Logger, SeverityNumber

from otel_kafka_exporter.delivery import Receipt
from otel_kafka_exporter.records import Decision, Outcome
from otel_kafka_exporter.records import attributes as names

from .emission import Event, await_event, emit_event, plain

if TYPE_CHECKING:
    from typing_extensions import Unpack


class EventArguments(TypedDict, total=False):
    """What both functions have by name, `wait` aside."""

    tenant_id: str | None
    context: Mapping[str, Any] | None
    message: str | None
    correlation_id: str | None
    causation_id: str | None
    logger: Logger | None


@overload
def emit_audit_event(
    action: str,
    actor: str,
    resource: str,
    outcome: Literal["success", "failure"] | Outcome,
    *,
    wait: None = None,
    **more: Unpack[EventArguments],
) -> None: ...


@overload
def emit_audit_event(
    action: str,
    actor: str,
    resource: str,
    outcome: Literal["success", "failure"] | Outcome,
    *,
    wait: float,
    **more: Unpack[EventArguments],
) -> Receipt: ...


@overload
def emit_audit_event(
    action: str,
    actor: str,
    resource: str,
    outcome: Literal["success", "failure"] | Outcome,
    *,
    wait: float | None,
    **more: Unpack[EventArguments],
) -> Receipt | None: ...


def emit_audit_event(
    action: str,
    actor: str,
    resource: str,
    outcome: Literal["success", "failure"] | Outcome,
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
            all unless given. It blocks the thread: in a coroutine, await `aemit_audit_event`.

    Returns:
        The receipt, with `wait`.

    Raises:
        DeliveryTimeout: no acknowledgement came within `wait`; the event is still accounted for. Its `spooled` says
            whether it is on disk, and so delivered later whatever becomes of this process.
        DeliveryError: the event was dropped or dead-lettered; says why.
        NoPipelineError: `wait` in a process that has no exporter of this package.
        None of them without `wait`: then nothing is raised, whatever is given. A field that is missing or wrong makes a
        dead letter, which keeps the event whole, and a line on stderr that names it.
    """
    event = _audit_event(
        action,
        actor,
        resource,
        outcome,
        tenant_id=tenant_id,
        context=context,
        message=message,
        correlation_id=correlation_id,
        causation_id=causation_id,
        logger=logger,
    )
    return emit_event(event, wait)


async def aemit_audit_event(
    action: str,
    actor: str,
    resource: str,
    outcome: Literal["success", "failure"] | Outcome,
    *,
    wait: float,
    **more: Unpack[EventArguments],
) -> Receipt:
    """As `emit_audit_event` with `wait`, for coroutines: the event loop goes on while the acknowledgement is awaited.

    Cancelling it takes nothing back: the event is delivered and counted.

    Raises:
        RuntimeError: it is not run by asyncio, and emits nothing; the rest as of `emit_audit_event`.
    """
    return await await_event(_audit_event(action, actor, resource, outcome, **more), wait)


@overload
def emit_security_event(
    event_type: str,
    user_id: str,
    resource: str,
    decision: Literal["allow", "deny"] | Decision,
    *,
    wait: None = None,
    **more: Unpack[EventArguments],
) -> None: ...


@overload
def emit_security_event(
    event_type: str,
    user_id: str,
    resource: str,
    decision: Literal["allow", "deny"] | Decision,
    *,
    wait: float,
    **more: Unpack[EventArguments],
) -> Receipt: ...


@overload
def emit_security_event(
    event_type: str,
    user_id: str,
    resource: str,
    decision: Literal["allow", "deny"] | Decision,
    *,
    wait: float | None,
    **more: Unpack[EventArguments],
) -> Receipt | None: ...


def emit_security_event(
    event_type: str,
    user_id: str,
    resource: str,
    decision: Literal["allow", "deny"] | Decision,
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
            all unless given. It blocks the thread: in a coroutine, await `aemit_security_event`.

    Returns:
        The receipt, with `wait`.

    Raises:
        DeliveryTimeout: no acknowledgement came within `wait`; the event is still accounted for. Its `spooled` says
            whether it is on disk, and so delivered later whatever becomes of this process.
        DeliveryError: the event was dropped or dead-lettered; says why.
        NoPipelineError: `wait` in a process that has no exporter of this package.
        None of them without `wait`: then nothing is raised, whatever is given. A field that is missing or wrong makes a
        dead letter, which keeps the event whole, and a line on stderr that names it.
    """
    event = _security_event(
        event_type,
        user_id,
        resource,
        decision,
        tenant_id=tenant_id,
        context=context,
        message=message,
        correlation_id=correlation_id,
        causation_id=causation_id,
        logger=logger,
    )
    return emit_event(event, wait)


async def aemit_security_event(
    event_type: str,
    user_id: str,
    resource: str,
    decision: Literal["allow", "deny"] | Decision,
    *,
    wait: float,
    **more: Unpack[EventArguments],
) -> Receipt:
    """As `emit_security_event` with `wait`, for coroutines: see `aemit_audit_event`."""
    return await await_event(_security_event(event_type, user_id, resource, decision, **more), wait)


def _audit_event(
    action: str,
    actor: str,
    resource: str,
    outcome: str,
    *,
    tenant_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    message: str | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    logger: Logger | None = None,
) -> Event:
    fields = {
        names.AUDIT_ACTION: action,
        names.AUDIT_ACTOR: actor,
        names.AUDIT_RESOURCE: resource,
        names.AUDIT_OUTCOME: outcome,
        names.TENANT_ID: tenant_id,
        names.CORRELATION_ID: correlation_id,
        names.CAUSATION_ID: causation_id,
    }
    return Event("audit", names.AUDIT_EVENT, fields, context, message, SeverityNumber.INFO, logger)


def _security_event(
    event_type: str,
    user_id: str,
    resource: str,
    decision: str,
    *,
    tenant_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    message: str | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    logger: Logger | None = None,
) -> Event:
    fields = {
        names.SECURITY_EVENT_TYPE: event_type,
        names.SECURITY_USER_ID: user_id,
        names.SECURITY_RESOURCE: resource,
        names.SECURITY_DECISION: decision,
        names.TENANT_ID: tenant_id,
        names.CORRELATION_ID: correlation_id,
        names.CAUSATION_ID: causation_id,
    }
    severity = SeverityNumber.WARN if plain(decision) == "deny" else SeverityNumber.INFO
    return Event("security", names.SECURITY_EVENT, fields, context, message, severity, logger)
