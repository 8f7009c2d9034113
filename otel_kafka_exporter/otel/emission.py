"""An event's way from its call to OpenTelemetry, and back to who waits; nothing that is passed raises in here."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from opentelemetry._logs import Logger, NoOpLogger, SeverityNumber, get_logger, get_logger_provider

from otel_kafka_exporter.delivery import Receipt, expected
from otel_kafka_exporter.errors import DeliveryError, DeliveryTimeout, NoPipelineError, OtelKafkaError
from otel_kafka_exporter.process import DeliveryOutcome, is_interruption, kind_of_fault, log, notice_fork, warn
from otel_kafka_exporter.records import Cleaner, WholeLogRecord, unused_name, unwrapped, uuid7
from otel_kafka_exporter.records import attributes as names

from .reach import may_reach_kafka

SCOPE = "otel_kafka_exporter.events"
#: The reason where OpenTelemetry itself did not take an event.
_FAILED = "emit_failed"

# Here a context is only made fit for the SDK, whose own cleaning raises on a mapping that contains itself. Redaction is
# the exporter's, by its settings.
_cleaner = Cleaner(is_sensitive=lambda _key: False)


def emit_event(
    category: str,
    event_name: str,
    fields: dict[str, Any],
    context: Mapping[str, Any] | None,
    message: str | None,
    severity: SeverityNumber,
    logger: Logger | None,
    wait: float | None,
) -> Receipt | None:
    """Emit an event, and wait for it where seconds are given. Raises as the public functions do.

    Args:
        category: which of the two it is.
        event_name: as OpenTelemetry has it.
        fields: attributes that decide; None is left out.
        context: as of the public functions, like all the rest.
        message: as there.
        severity: how severe it is.
        logger: as there.
        wait: as there.
    """
    now = max(time.time_ns(), 0)  # a test may have set the clock to before 1970
    event_id = uuid7(now // 1_000_000)

    def emit() -> None:
        decisive = {
            name: value if type(value) is str else plain(value) for name, value in fields.items() if value is not None
        }
        using.emit(
            WholeLogRecord(
                {**decisive, names.CATEGORY: category, names.RECORD_UID: event_id},
                {} if context is None else context_attributes(context),
                timestamp=now,
                severity_number=severity,
                severity_text=severity.name,
                body=message if message is None or type(message) is str else _cleaner.clean(message),
                event_name=event_name,
            )
        )

    try:
        using = get_logger(SCOPE) if logger is None else logger
        if wait is not None:
            return _delivered(using, emit, event_id, wait)
        if _goes_nowhere(using):
            _warn_of_no_pipeline()
        else:
            emit()
    except OtelKafkaError:
        raise  # by a wait
    except BaseException as error:  # what tells of the application's work does not end it
        _warn_of_fault(error)
        if wait is not None:
            raise DeliveryError(event_id, DeliveryOutcome.DROPPED, _FAILED) from error
    return None


def _delivered(logger: Logger, emit: Callable[[], None], event_id: str, seconds: float) -> Receipt:
    if not may_reach_kafka(logger):
        raise NoPipelineError(
            "wait: expected a logger whose provider has a KafkaLogExporter or KafkaLogRecordProcessor, got one whose"
            " provider has other exporters only. Add one to it, or do not wait."
        )
    notice_fork()  # which forgets whom the parent's threads wait for
    with expected(event_id) as expectation:
        fault: BaseException | None = None
        try:
            emit()
        except BaseException as error:  # noqa: BLE001 - as above; a processor behind ours, perhaps, which has the event then
            _warn_of_fault(error)
            fault = error
        try:
            return expectation.result(seconds)
        except DeliveryTimeout:
            if fault is None:
                raise
            raise DeliveryError(event_id, DeliveryOutcome.DROPPED, _FAILED) from fault


def _warn_of_fault(error: BaseException) -> None:
    """An event's call has raised, which is an OpenTelemetry processor's doing: what is passed raises nowhere here."""
    if is_interruption(error):
        raise error
    line = "an audit or security event may be lost: expected OpenTelemetry to take it, got %s"
    log.warning(line, type(error).__name__, exc_info=error, extra={"kind": kind_of_fault(error)})


def plain(value: object) -> object:
    """A field or an ID as the SDK takes it; what is none, and would become text there, becomes a list."""
    value = unwrapped(value)
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int) and kind is not bool:
        return int.__int__(value)  # type: ignore[arg-type]  # by the test before
    cleaned = _cleaner.clean(value)
    return [cleaned] if isinstance(cleaned, str) and not issubclass(kind, UUID) else cleaned


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
