"""What a converter keeps from one record is right for the next one, and does not grow."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.redaction import REDACTED
from tests.records import cleaner, converted, converted_by, hand_made, now
from tests.strategies import SECRET
from tests.unit.records.texts import Text


def test_contexts_are_not_shared() -> None:
    """Changing one record's context changes neither another's, nor the record's own attributes."""
    converter = Converter(cleaner(), uuid7, now, resource_context=("region",))
    record = hand_made({"a": 1}, resource=Resource({"region": "eu"}))
    converted_by(converter, record).envelope.payload["context"]["b"] = 2
    assert converted_by(converter, record).envelope.payload["context"] == {"region": "eu", "a": 1}
    assert record.log_record.attributes == {"a": 1}


def test_attributes_of_one_shape() -> None:
    """What a converter has learnt of one record's attributes is right for the next, whose values differ."""
    converter = Converter(cleaner(), uuid7, now)

    def context(attributes: dict[Any, Any]) -> Any:
        return converted_by(converter, hand_made(attributes)).envelope.payload["context"]

    assert context({"a": 1.5, "b": 1}) == {"a": 1.5, "b": 1}
    assert context({"a": float("nan"), "b": 1}) == {"a": "nan", "b": 1}
    assert context({"b": 1.5, "a": float("inf")}) == {"b": 1.5, "a": "inf"}
    assert context({"a": "x", "b": 1}) == {"a": "x", "b": 1}
    assert context({"a": {"token": SECRET}, "b": 1}) == {"a": {"token": REDACTED}, "b": 1}
    assert context({"a": {"user": "ann"}, "b": 1}) == {"a": {"user": "ann"}, "b": 1}
    assert context({1: SECRET, "token": SECRET}) == {"1": SECRET, "token": REDACTED}
    assert context({True: 1}) == {"True": 1}
    assert context({1: 1}) == {"1": 1}
    assert context({Text("a"): 1.5, "b": 1}) == {"a": 1.5, "b": 1}
    assert context({"token": 1.5}) == context({"token": float("nan")}) == {"token": REDACTED}


@pytest.mark.parametrize("where", ["attribute", "severity text", "event name", "tenant"])
def test_memory_is_bounded(where: str) -> None:
    """Ever new, long names and texts leave no more than a little behind in the converter."""
    converter = Converter(cleaner(), uuid7, now)

    def convert(text: str) -> None:
        fields: dict[str, dict[str, Any]] = {
            "attribute": {"attributes": {text: 1}},
            "severity text": {"severity_text": text, "severity_number": SeverityNumber.WARN},
            "event name": {"event_name": text},
            "tenant": {"attributes": {"omni.tenant_id": text}},
        }
        converter.convert(hand_made(**fields[where]))

    convert("a")
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(20):
            convert(f"{number}" + "x" * 20_000)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def test_records_of_one_batch_are_independent() -> None:
    """The same record twice gives the same but for its event ID, and what comes from that."""
    record = hand_made({"a": 1, "omni.correlation_id": "c"}, body={"b": 2})
    first, second = converted(record), converted(record)
    assert first.envelope.event_id != second.envelope.event_id
    assert first.envelope._replace(event_id="") == second.envelope._replace(event_id="")
