"""What making a Kafka record costs, by class of record: CPU per record, in one run.

Usage: python -m benchmarks.conversion --rounds 9

No broker: conversion and encoding only. What an older version of the package costs is seen by running the same file
beside it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogExporter

from .records import sample_records

RECORDS = 1024
NOW = 1_795_644_000_000_000_000
USUAL = {"method": "POST", "route": "/orders", "customer": "c-1", "ms": 12.5, "items": 3, "paid": True}
AUDIT = {
    "omni.audit.action": "order.cancel",
    "omni.audit.actor": "user-7",
    "omni.audit.resource": "order/42",
    "omni.audit.outcome": "success",
}
ROW = {"sku": "A-17", "amount": 3, "price": 9.5}

_numbers = itertools.count()


def _records(fields: Callable[[int], dict[str, Any]]) -> list[ReadableLogRecord]:
    """Records of one logger; a time that is not given is 20 microseconds after the one before."""
    memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's omission
    resource = Resource({"service.name": "shop", "service.instance.id": "shop-1"})
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("shop")
    for number in range(RECORDS):
        usual = {
            "timestamp": NOW + number * 20_000,
            "severity_number": SeverityNumber.INFO,
            "severity_text": "INFO",
            "body": "placed",
        }
        logger.emit(LogRecord(**{**usual, **fields(number)}))
    return list(memory.get_finished_logs())


def _with(**more: Any) -> Callable[[int], dict[str, Any]]:
    return lambda _: {"attributes": {**USUAL, **more}}


#: Each makes its records anew where the point is that they have never been seen.
CLASSES: dict[str, Callable[[], list[ReadableLogRecord]]] = {
    "as of benchmarks.export, half traced": lambda: sample_records(RECORDS),
    "six attributes, no trace": lambda: _records(_with()),
    "each in a millisecond of its own": lambda: _records(
        lambda n: {"attributes": USUAL, "timestamp": NOW + n * 7_000_000}
    ),
    "each in a second of its own": lambda: _records(
        lambda n: {"attributes": USUAL, "timestamp": NOW + n * 1_700_000_000}
    ),
    "no attributes": lambda: _records(lambda _: {}),
    "1,024 statements in turns": lambda: _records(lambda n: {"attributes": {**USUAL, f"name{n}": n}}),
    "two resources in turns": lambda: [
        record for pair in zip(_records(_with()), _records(_with()), strict=True) for record in pair
    ],
    "names never seen again": lambda: _records(lambda _: {"attributes": {**USUAL, f"name{next(_numbers)}": 1}}),
    "a sensitive name": lambda: _records(_with(password="hunter2")),
    "a code of its own": lambda: _records(_with(**{"omni.code": "ORDER_PLACED"})),
    "tenants never seen again": lambda: _records(
        lambda _: {"attributes": {**USUAL, "omni.tenant_id": f"t{next(_numbers)}"}}
    ),
    "codes never seen again": lambda: _records(
        lambda _: {"attributes": {**USUAL, "omni.code": f"CODE_{next(_numbers)}"}}
    ),
    "correlation ID of the caller": lambda: _records(
        lambda n: {"attributes": {**USUAL, "omni.correlation_id": f"order-{n}"}}
    ),
    "severity CRITICAL": lambda: _records(
        lambda _: {"attributes": USUAL, "severity_number": SeverityNumber.FATAL, "severity_text": "CRITICAL"}
    ),
    "event name": lambda: _records(lambda _: {"attributes": USUAL, "event_name": "order.placed"}),
    "audit event": lambda: _records(lambda _: {"attributes": {**USUAL, **AUDIT}, "event_name": "omni.audit"}),
    "120 attributes": lambda: _records(lambda n: {"attributes": {f"name{i}": n for i in range(120)}}),
    "a list of 100 integers": lambda: _records(_with(list=list(range(100)))),
    "a list of 100 texts": lambda: _records(_with(list=[f"item {i}" for i in range(100)])),
    "a list of 100 floats": lambda: _records(_with(list=[i / 7 for i in range(100)])),
    "a list of 99 of three types": lambda: _records(_with(list=[1, "b", 2.5] * 33)),
    "one nested mapping": lambda: _records(_with(row=ROW)),
    "100 nested mappings": lambda: _records(_with(rows=[ROW] * 100)),
    "100 nested mappings, body": lambda: _records(lambda _: {"attributes": USUAL, "body": [ROW] * 100}),
    "100 nested, a sensitive name each": lambda: _records(_with(rows=[{**ROW, "token": "hunter2"}] * 100)),
    "100 nested, names not seen again": lambda: _records(
        lambda _: {"attributes": {"rows": [{f"name{next(_numbers)}": 1, "sku": "A"} for _ in range(100)]}}
    ),
    "bytes and a date in a list": lambda: _records(_with(list=[b"x", 1, "a"] * 5)),
    "a body of 10 kB": lambda: _records(lambda _: {"attributes": USUAL, "body": "x" * 10_000}),
    "a body of 900 kB": lambda: _records(lambda _: {"attributes": USUAL, "body": "x" * 900_000})[:64],
}
NEVER_SEEN = ("again",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9, help="rounds; the median of them is printed")
    parser.add_argument("--encoding", default="json", help="json or protobuf")
    parser.add_argument("--only", default="", help="classes that have this in their name")
    options = parser.parse_args()
    exporter = KafkaLogExporter(bootstrap_servers="localhost:1", outbox=False, encoding=options.encoding)
    build = exporter._builder.build
    print(f"CPU in µs per record; {options.encoding}; median of {options.rounds} rounds (least)")
    for name, make in CLASSES.items():
        if options.only not in name:
            continue
        costs: list[float] = []
        batch = make()
        for number in range(options.rounds + 1):
            if name.endswith(NEVER_SEEN):
                batch = make()
            started = time.process_time()
            for record in batch:
                build(record)
            if number:  # the first round warms up
                costs.append((time.process_time() - started) / len(batch) * 1e6)
        print(f"  {name:36} {statistics.median(costs):8.2f}   ({min(costs):.2f})")
    exporter.shutdown()


if __name__ == "__main__":
    main()
