"""What a record costs, in calls and steps and not in seconds, so that what makes each one dearer is seen at once."""

from __future__ import annotations

import functools
import gc
import sys
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import KafkaRecordBuilder
from otel_kafka_exporter.records.log_records import LogRecordBuilder
from otel_kafka_exporter.records.publications import Publication, PublicationBuilder
from tests.records import AUDIT, SPAN_ID, TIME, TRACE_ID, cleaner, now, sdk_records

USUAL = {"method": "POST", "route": "/orders", "customer": "c-1", "ms": 12.5, "items": 3, "paid": True}
ROW = {"sku": "A-17", "amount": 3, "price": 9.5}


def builder() -> LogRecordBuilder:
    return LogRecordBuilder(Converter(cleaner(), uuid7, now), KafkaRecordBuilder(), cleaner(), frozenset({"own"}))


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


def traced(one: Any) -> Any:
    one.log_record.trace_id, one.log_record.span_id, one.log_record.trace_flags = TRACE_ID, SPAN_ID, 1
    return one


FATAL = {"severity_number": SeverityNumber.FATAL, "severity_text": "CRITICAL"}


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """What a garbage collection calls is no cost of the record in which it happens to begin."""
    gc.disable()
    yield
    gc.enable()


# Calls of functions in Python and in C are the same on every Python; instructions differ by a tenth.
CASES: dict[str, tuple[Any, int, int, int]] = {
    "a usual record": (record(USUAL), 11, 18, 540),
    "one with a trace": (traced(record(USUAL)), 12, 24, 700),
    "one with a sensitive name": (record({**USUAL, "password": "hunter2"}), 11, 19, 550),
    "one with a severity of its own": (record(USUAL, **FATAL), 11, 19, 550),
    "one with an event name": (record(USUAL, event_name="order.placed"), 11, 18, 540),
    "one with a code": (record({**USUAL, "omni.code": "ORDER_PLACED"}), 25, 31, 930),
    "an audit event": (record({**USUAL, **AUDIT}, event_name="omni.audit"), 46, 51, 1_360),
    "one with a list": (record({**USUAL, "list": list(range(100))}), 19, 36, 1_370),
    "one with a hundred objects": (record({"rows": [ROW] * 100}), 320, 1_029, 37_200),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_record_takes(case: str) -> None:
    """A record of a place that is known takes so many calls and instructions, and no more."""
    one, python, c, instructions = CASES[case]
    run = learnt(one)
    run()
    found = (*calls(run), steps(run))
    assert all(map(int.__le__, found, (python, c, instructions))), f"{case}: {found} of {(python, c, instructions)}"


PUBLISHED: dict[str, tuple[Any, ...]] = {
    "application": (("shop", "shop-1", "INFO", "shop.orders", "ORDER_PLACED"), "placed", None, USUAL, *[None] * 3),
    "audit": (("user.login", "bob", "console", "success"), None, "acme", {"ip": "10.0.0.1"}, "order-42", None, None),
}


@pytest.mark.parametrize(("category", "python", "c"), [("application", 18, 24), ("audit", 34, 43)])
def test_what_a_publication_takes(category: Any, python: int, c: int) -> None:
    """The same of an event that a publisher is given."""
    build = PublicationBuilder(
        KafkaRecordBuilder(), cleaner(), uuid7, time.time_ns, namespace="omninode", tenant_id="default", source="shop"
    ).build
    publication = Publication(category, *PUBLISHED[category])
    build(publication)
    found = calls(functools.partial(build, publication))
    assert found[0] <= python, found
    assert found[1] <= c, found


@pytest.mark.parametrize("element", [7, "a text", 1.5, None], ids=repr)
def test_a_longer_list_takes_no_more_calls(element: Any) -> None:
    """Texts and numbers in a list are looked at all at once: a thousand take as many calls as ten."""
    few, many = (calls(learnt(record({"list": [element] * number}))) for number in (10, 1000))
    assert few == many


def test_a_name_that_comes_once() -> None:
    """A name that nobody has used before costs its judgement, and no statement is made of it."""
    build = builder().build
    build(record(USUAL))
    new = [record({**USUAL, f"name{number}": 1}) for number in range(3)]
    for one in new:
        python, c = calls(functools.partial(build, one))
        assert python <= 39
        assert c <= 69
