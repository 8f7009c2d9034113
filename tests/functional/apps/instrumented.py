"""Logs under the instrumentations of confluent-kafka and sqlite3; prints how many spans that made, and a control."""

from __future__ import annotations

import importlib
import json
import sqlite3
import sys

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def instrument() -> None:
    ConfluentKafkaInstrumentor().instrument(skip_dep_check=True)
    SQLite3Instrumentor().instrument(skip_dep_check=True)


def main(servers: str, order: str) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    if order == "first":
        instrument()
    ours = importlib.import_module("otel_kafka_exporter")
    if order == "last":
        instrument()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(ours.KafkaLogRecordProcessor(bootstrap_servers=servers))
    logs.add_log_record_processor(SimpleLogRecordProcessor(ours.KafkaLogExporter(bootstrap_servers=servers)))
    logger = logs.get_logger("shop")
    for n in range(10):
        logger.emit(body=str(n), severity_number=SeverityNumber.INFO)
    ours.emit_audit_event("order.delete", "bob", "order/17", "success", logger=logger, wait=10)
    logs.shutdown()
    by_us = len(spans.get_finished_spans())
    producer = importlib.import_module("confluent_kafka").Producer({"bootstrap.servers": servers})
    producer.produce("control", b"value")
    producer.flush(10)
    sqlite3.connect(":memory:").cursor().execute("SELECT 1")
    control = [span.name for span in spans.get_finished_spans()[by_us:]]
    json.dump({"ours": by_us, "control": control}, sys.stdout)


main(*sys.argv[1:])
