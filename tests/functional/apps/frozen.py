"""A service under a time that stands still, while Kafka is away; says what has come to an end.

Arguments: the tool that freezes; whether before or after this package is imported; the processor; the moment.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

AWAY = "127.0.0.1:9"


def freezing(tool: str, moment: str) -> AbstractContextManager[Any]:
    if tool == "freezegun":
        return importlib.import_module("freezegun").freeze_time(moment)  # type: ignore[no-any-return]
    return importlib.import_module("time_machine").travel(moment, tick=False)  # type: ignore[no-any-return]


def main(tool: str, when: str, processor: str, moment: str) -> None:
    if when == "after":
        importlib.import_module("otel_kafka_exporter")
    with freezing(tool, moment):
        ours = importlib.import_module("otel_kafka_exporter")
        exporter = ours.KafkaLogExporter(bootstrap_servers=AWAY, delivery_wait=0.2, shutdown_timeout=0.2)
        provider = LoggerProvider(shutdown_on_exit=False)
        made = ours.KafkaLogRecordProcessor(exporter) if processor == "direct" else BatchLogRecordProcessor(exporter)
        provider.add_log_record_processor(made)
        logger = provider.get_logger("shop")
        for n in range(5):
            logger.emit(body=str(n))
        print("flushed", exporter.force_flush(300), provider.force_flush(300))
        child = os.fork()
        if child == 0:
            os._exit(0)
        print("forked", os.waitpid(child, 0)[1])
        try:
            ours.emit_audit_event("order.delete", "bob", "order/17", "success", logger=logger, wait=0.2)
        except (ours.DeliveryTimeout, ours.DeliveryError):
            print("waited")
        provider.shutdown()
        stats = exporter.stats()
        print("shut down", stats.accepted, stats.in_flight)


main(*sys.argv[1:])
