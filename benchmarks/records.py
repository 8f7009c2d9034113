"""The records that benchmarks measure: made by the SDK, as an application's are."""

from __future__ import annotations

import random
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context


def sample_records(n: int) -> list[ReadableLogRecord]:
    """`n` records with six attributes, one in two with a trace of its own; their envelopes have some 600 bytes."""
    memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's omission
    resource = Resource({"service.name": "shop", "service.instance.id": "shop-1"})
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("shop")
    for number in range(n):
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=_trace() if number % 2 else Context(),
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body="placed",
                attributes={
                    "method": "POST",
                    "route": "/orders",
                    "customer": f"c-{number}",
                    "ms": 12.5 + number,
                    "items": 3,
                    "paid": True,
                },
            )
        )
    return list(memory.get_finished_logs())


def _trace() -> Context:
    span = SpanContext(
        random.getrandbits(128) | 1, random.getrandbits(64) | 1, is_remote=False, trace_flags=TraceFlags(1)
    )
    return set_span_in_context(NonRecordingSpan(span), Context())
