"""An event's way from its call to OpenTelemetry, and back to who waits; nothing that is passed raises in here."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from opentelemetry._logs import Logger, NoOpLogger, SeverityNumber, get_logger, get_logger_provider

from otel_kafka_exporter.delivery import Receipt, TaskWaiter, ThreadWaiter, expected, receipt_of
from otel_kafka_exporter.delivery.receipts import Result, Waiter, postponed
from otel_kafka_exporter.errors import DeliveryError, DeliveryTimeout, NoPipelineError, OtelKafkaError
from otel_kafka_exporter.process import (
    DeliveryOutcome,
    in_own_thread,
    is_interruption,
    kind_of_fault,
    log,
    monotonic,
    notice_fork,
    warn,
)
from otel_kafka_exporter.records import Cleaner, WholeLogRecord, unused_name, unwrapped, uuid7
from otel_kafka_exporter.records import attributes as names

from .disk import TaskLogRecord, are_there
from .exporter import is_exporting
from .reach import may_reach_kafka

SCOPE = "otel_kafka_exporter.events"
#: The reason where OpenTelemetry itself did not take an event.
_FAILED = "emit_failed"

# Here a context is only made fit for the SDK, whose own cleaning raises on a mapping that contains itself. Redaction is
# the exporter's, by its settings.
_AnyWaiter = TypeVar("_AnyWaiter", bound=Waiter)
_cleaner = Cleaner(is_sensitive=lambda _key: False)


class Event(NamedTuple):
    """What is to be emitted.

    Attributes:
        category: which of the two it is.
        event_name: as OpenTelemetry has it.
        fields: attributes that decide; None is left out.
        context: as of the public functions, like all the rest.
        message: as there.
        severity: how severe it is.
        logger: as there.
    """

    category: str
    event_name: str
    fields: dict[str, Any]
    context: Mapping[str, Any] | None
    message: str | None
    severity: SeverityNumber
    logger: Logger | None


def emit_event(event: Event, wait: float | None) -> Receipt | None:
    """Emit an event, and wait for it where seconds are given. Raises as the public functions do."""
    emission = _Emission(event, WholeLogRecord)
    if wait is None:
        emission.emit()
        return None
    with emission.expected_by(ThreadWaiter()) as waiter:
        emission.notice_interrupted(waiter)
        return emission.receipt(waiter, waiter.outcome(wait), wait)


async def await_event(event: Event, wait: float) -> Receipt:
    """Emit an event, and await its receipt. Raises as the public functions do."""
    taken: list[Future[bool]] = []
    emission = _Emission(event, functools.partial(TaskLogRecord, taken))
    deadline = monotonic() + wait
    with emission.expected_by(TaskWaiter()) as waiter:
        outcome = await waiter.outcome(wait)
        if not isinstance(outcome, Receipt):
            is_there = await are_there(taken, deadline - monotonic())
            waiter.spooled = waiter.spooled and is_there
        return emission.receipt(waiter, outcome, wait)


class _Emission:
    """An event on its way to a logger, with the time and the ID that it has from the start."""

    __slots__ = ("_event", "_event_id", "_fault", "_make", "_now")

    def __init__(self, event: Event, make: Callable[..., WholeLogRecord]) -> None:
        self._event = event
        self._make = make
        self._now = max(time.time_ns(), 0)  # a test may have set the clock to before 1970
        self._event_id = uuid7(self._now // 1_000_000)
        self._fault: BaseException | None = None

    def emit(self) -> None:
        """Emit it. What tells of the application's work does not end it: nothing is raised."""
        try:
            using = self._logger()
            if _goes_nowhere(using):
                _warn_of_no_pipeline()
            else:
                using.emit(self._record())
        except BaseException as error:  # noqa: BLE001 - what is interrupted is raised on
            _warn_of_fault(error)

    @contextmanager
    def expected_by(self, waiter: _AnyWaiter) -> Iterator[_AnyWaiter]:
        """Emit it to somebody who waits for it within the block."""
        try:
            using = self._logger()
            _expect_to_reach_kafka(using)
            notice_fork()  # which forgets whom the parent's threads wait for
            with expected(self._event_id, waiter):
                try:
                    using.emit(self._record())
                except BaseException as error:  # noqa: BLE001 - as above; a processor behind ours, perhaps, which has the event then
                    _warn_of_fault(error)
                    self._fault = error
                yield waiter
        except OtelKafkaError:
            raise
        except Exception as error:
            _warn_of_fault(error)
            raise DeliveryError(self._event_id, DeliveryOutcome.DROPPED, _FAILED) from error

    def notice_interrupted(self, waiter: Waiter) -> None:
        """Wait in vain for nothing: a finalizer may run in a thread of ours, or in one that hands a batch over."""
        if in_own_thread() or (not waiter.spooled and is_exporting()):
            postponed(self._event_id)

    def receipt(self, waiter: Waiter, outcome: Result | None, seconds: float) -> Receipt:
        """Its receipt, or what there is instead."""
        try:
            return receipt_of(self._event_id, waiter, outcome, seconds)
        except DeliveryTimeout:
            if self._fault is None:
                raise
            raise DeliveryError(self._event_id, DeliveryOutcome.DROPPED, _FAILED) from self._fault

    def _logger(self) -> Logger:
        return get_logger(SCOPE) if self._event.logger is None else self._event.logger

    def _record(self) -> WholeLogRecord:
        category, event_name, fields, context, message, severity, _ = self._event
        decisive = {
            name: value if type(value) is str else plain(value) for name, value in fields.items() if value is not None
        }
        return self._make(
            {**decisive, names.CATEGORY: category, names.RECORD_UID: self._event_id},
            {} if context is None else context_attributes(context),
            timestamp=self._now,
            severity_number=severity,
            severity_text=severity.name,
            body=message if message is None or type(message) is str else _cleaner.clean(message),
            event_name=event_name,
        )


def _expect_to_reach_kafka(logger: Logger) -> None:
    if not may_reach_kafka(logger):
        raise NoPipelineError(
            "wait: expected a logger whose provider has a KafkaLogExporter or KafkaLogRecordProcessor, got one whose"
            " provider has other exporters only. Add one to it, or do not wait."
        )


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
