"""Emits records through the direct processor, and says of each that its call has returned, until it is killed.

Usage: emitter.py <bootstrap servers> <category> <file for the numbers of what was emitted> [<setting>=<value> ...]
Each record says that file's name, and its own number.
"""

from __future__ import annotations

import itertools
import mmap
import sys
from pathlib import Path

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event


def main() -> None:
    servers, category, file, *pairs = sys.argv[1:]
    settings = dict(pair.split("=", 1) for pair in pairs)
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=servers, **settings))  # type: ignore[arg-type]
    logger = provider.get_logger("shop")
    Path(file).write_bytes(bytes(8))
    with Path(file).open("r+b") as opened:
        emitted = mmap.mmap(opened.fileno(), 8)  # survives SIGKILL as a write to a pipe would, at no cost
    for number in itertools.count(1):
        text = f"{Path(file).name} {number}"
        if category == "audit":
            emit_audit_event("order.delete", "bob", "order/17", "success", message=text, logger=logger)
        else:
            logger.emit(LogRecord(body=text, severity_number=SeverityNumber.INFO))
        emitted[:] = number.to_bytes(8, "little")


if __name__ == "__main__":
    main()
