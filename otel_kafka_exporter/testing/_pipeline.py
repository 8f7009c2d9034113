"""OpenTelemetry in the process of a test, as `opentelemetry-instrument` sets it up in the application's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry._logs import get_logger_provider, set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord

from otel_kafka_exporter.otel import EventFormatter, KafkaLogRecordProcessor, may_reach_kafka


class _Switch(LogRecordProcessor):
    """Passes records to the processor of the test that runs, if it has one.

    A process sets its LoggerProvider once, and a provider never gives a processor away: this one stays.

    Attributes:
        processor: where records go.
    """

    def __init__(self) -> None:
        self.processor: KafkaLogRecordProcessor | None = None

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if self.processor is not None:
            self.processor.on_emit(log_record)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.processor is None or self.processor.force_flush(timeout_millis)

    def shutdown(self) -> None:
        self.processor = None  # which ends by itself


_switch = _Switch()


@contextmanager
def logging_through(processor: KafkaLogRecordProcessor) -> Iterator[None]:
    """Meanwhile records of the process's LoggerProvider, and lines of standard logging, go through a processor.

    An application that has set up a provider with an exporter of ours goes on with that one.
    """
    _switch_in()
    handler = _handler()
    handler.setFormatter(EventFormatter())
    handler.addFilter(lambda _record: not _another_leads_to_kafka(handler))
    root = logging.getLogger()
    _switch.processor = processor
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        _switch.processor = None


def _switch_in() -> None:
    provider = get_logger_provider()
    if not isinstance(provider, LoggerProvider):
        set_logger_provider(LoggerProvider())  # refused where it is set already, to somebody's own
        provider = get_logger_provider()
    if isinstance(provider, LoggerProvider) and not may_reach_kafka(provider):
        provider.add_log_record_processor(_switch)


def _handler() -> logging.Handler:
    try:
        from opentelemetry.instrumentation.logging.handler import LoggingHandler  # noqa: PLC0415 - optional
    except ImportError:
        from opentelemetry.sdk._logs import LoggingHandler as SdkHandler  # noqa: PLC0415 - deprecated, and always there

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return SdkHandler()
    return LoggingHandler()


def _another_leads_to_kafka(handler: logging.Handler) -> bool:
    """Whether the application has a handler of its own by now: a line would come twice."""
    return any(
        each is not handler
        and type(each).__module__.startswith("opentelemetry.")
        and may_reach_kafka(getattr(each, "_logger_provider", None))
        for each in logging.getLogger().handlers
    )
