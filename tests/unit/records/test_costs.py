"""What a record costs, in calls and steps and not in seconds, so that what makes each one dearer is seen at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import KafkaRecordBuilder
from otel_kafka_exporter.records.log_records import LogRecordBuilder
from tests.records import AUDIT, SPAN_ID, TIME, TRACE_ID, cleaner, sdk_records

USUAL = {"method": "POST", "route": "/orders", "customer": "c-1", "ms": 12.5, "items": 3, "paid": True}
ROW = {"sku": "A-17", "amount": 3, "price": 9.5}


def builder() -> LogRecordBuilder:
    return LogRecordBuilder(Converter(cleaner(), uuid7), KafkaRecordBuilder(), cleaner(), frozenset({"own"}))


def record(attributes: dict[str, Any], **fields: Any) -> Any:
    usual = {"severity_number": SeverityNumber.INFO, "severity_text": "INFO", "body": "placed", "timestamp": TIME}
    (made,) = sdk_records([{**usual, "attributes": attributes, **fields}])
    return made


def learnt(one: Any) -> Callable[[], object]:
    """A builder that knows the place that a record comes from, and has this record before it."""
    build = builder().build
    for _ in range(3):
        build(one)
    return lambda: build(one)


def calls(run: Callable[[], object]) -> tuple[int, int]:
    """How many functions in Python, and how many in C, are called."""
    counted = {"call": 0, "c_call": 0}

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        if event in counted:
            counted[event] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
    return counted["call"] - 1, counted["c_call"] - 1  # but for `run` itself, and for what ends the count


def steps(run: Callable[[], object]) -> int:
    """How many instructions of Python's are executed."""
    counted = 0
    code: CodeType = run.__code__

    def count(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal counted
        frame.f_trace_opcodes = frame.f_code is not code
        counted += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        run()
    finally:
        sys.settrace(before)
    return counted


CASES: dict[str, tuple[Any, int, int]] = {
    "usual": (record(USUAL), 11, 30),
    "sensitive": (record({**USUAL, "password": "hunter2"}), 11, 31),
    "severity": (record(USUAL, severity_number=SeverityNumber.FATAL, severity_text="CRITICAL"), 11, 31),
    "event": (record(USUAL, event_name="order.placed"), 11, 30),
    "list": (record({**USUAL, "list": list(range(100))}), 18, 50),
    "rows": (record({"rows": [ROW] * 100}), 320, 800),
    "code": (record({**USUAL, "omni.code": "ORDER_PLACED"}), 23, 60),
    "audit": (record({**USUAL, **AUDIT}, event_name="omni.audit"), 45, 90),
}


@pytest.mark.parametrize("case", CASES)
def test_calls(case: str) -> None:
    """A record of a place that is known takes so many calls and no more."""
    one, python, c = CASES[case]
    print(case, calls(learnt(one)), steps(learnt(one)))
