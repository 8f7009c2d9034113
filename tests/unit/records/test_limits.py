"""What is cut of a record that is too large, and what is left in its place."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.records.kafka_record import KafkaRecord
from otel_kafka_exporter.records.limits import cut_context
from tests.records import AUDIT, compact_json, hand_made, kafka_record, size_of, strict_json

CONTEXT_LIMIT = 65_536


def marker(value: Any) -> dict[str, Any]:
    """What the contract puts in a value's place."""
    encoded = compact_json(value)
    return {"otel.truncated": {"bytes": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}}


def payload_of(record: KafkaRecord) -> dict[str, Any]:
    payload: dict[str, Any] = strict_json(record.value)["payload"]
    return payload


def context_of_size(size: int) -> dict[str, str]:
    """A context of so many bytes as JSON, in values of about 5 kB."""
    count = size // 5000
    context = {f"k{number:02}": "x" * 4900 for number in range(count)}
    context["last"] = ""
    context["last"] = "x" * (size - len(compact_json(context)))
    assert len(compact_json(context)) == size
    return context


def test_a_context_at_the_limit_is_kept() -> None:
    """A context of exactly 64 KiB is carried as it is, and one byte more costs its largest value only."""
    at_limit = context_of_size(CONTEXT_LIMIT)
    record = kafka_record(hand_made(at_limit))
    assert (payload_of(record)["context"], record.cuts) == (at_limit, 0)
    above = {**at_limit, "k00": at_limit["k00"] + "x"}
    record = kafka_record(hand_made(above))
    assert (payload_of(record)["context"], record.cuts) == ({**above, "k00": marker(above["k00"])}, 1)


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600", "\\", "\x01", "\n"])
def test_sizes_are_of_bytes_as_json(character: str) -> None:
    """Sizes are counted in bytes of JSON, so a limit holds for every script and for what has to be escaped."""
    record = kafka_record(hand_made({"small": 1, "large": character * CONTEXT_LIMIT}))
    assert payload_of(record)["context"] == {"small": 1, "large": marker(character * CONTEXT_LIMIT)}
    assert record.cuts == 1


def test_the_largest_values_go_first() -> None:
    """As few values as possible are cut, the largest first; the keys keep their order and the others their values."""
    context = {"a": "a" * 30_000, "b": "b" * 50_000, "c": "c" * 10, "d": ["d" * 40_000], "e": "e" * 20_000}
    record = kafka_record(hand_made(context))
    found = payload_of(record)["context"]
    assert found == {**context, "b": marker(context["b"]), "d": marker(context["d"])}
    assert list(found) == list(context)
    assert record.cuts == 2


def test_ties_are_cut_in_order() -> None:
    """Values of the same size are cut from the first on."""
    context = {name: name * 30_000 for name in "abc"}
    assert cut_context(context, 61_000)[0] == {**context, "a": marker(context["a"])}


def test_many_small_values() -> None:
    """A context of many small values is replaced whole, because none of them is more worth keeping."""
    context = {f"k{number}": number for number in range(10_000)}
    record = kafka_record(hand_made(context))
    assert payload_of(record)["context"] == marker(context)
    assert record.cuts == 10_000


def test_large_keys() -> None:
    """A key that is too large itself does not get through."""
    context = {"k" * 100_000: 1}
    record = kafka_record(hand_made(context))
    assert payload_of(record)["context"] == marker(context)
    assert record.cuts == 1


def test_nothing_that_was_given_is_changed() -> None:
    """Cutting leaves the given context as it was."""
    context = {"a": "x" * 100_000}
    cut, cuts = cut_context(context, 1000)
    assert (cut, cuts) == ({"a": marker("x" * 100_000)}, 1)
    assert context == {"a": "x" * 100_000}
    assert cut_context(context, 200_000) == (context, 0)


@pytest.mark.parametrize("limit", [16_384, 300_000])
@pytest.mark.parametrize("character", ["x", "é", "\U0001f600", "\x01", "\0"])
def test_long_messages(limit: int, character: str) -> None:
    """A message keeps as long a beginning as fits, and the context says how long it was."""
    body = character * limit * 3
    record = kafka_record(hand_made({"a": 1}, body=body), max_record_bytes=limit)
    payload = payload_of(record)
    kept = "\ufffd" * len(body) if character == "\0" else body
    assert kept.startswith(payload["message"])
    assert payload["context"] == {"a": 1, "otel.truncated.message": marker(kept)}
    assert record.cuts == 1
    assert limit - 1000 <= size_of(record) <= limit


def test_three_megabytes() -> None:
    """Bodies of 3 MB of every kind become a record of the size allowed, quickly."""
    started = time.perf_counter()
    for body in (
        "x" * 3_000_000,
        b"x" * 3_000_000,
        ["x" * 3_000_000],
        {"a": ["12345678"] * 200_000},
        "\ud800" * 1_000_000,
    ):
        record = kafka_record(hand_made(body=body), max_record_bytes=1_000_000)
        assert record.cuts == 1
        assert size_of(record) <= 1_000_000
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("size", range(65_536 - 200, 65_537, 25))
def test_context_limit_holds_beside_a_cut_message(size: int) -> None:
    """What the context says of a cut message does not take the context beyond its 64 KiB."""
    record = kafka_record(hand_made(context_of_size(size), body="m" * 2_000_000))
    assert len(compact_json(payload_of(record)["context"])) <= CONTEXT_LIMIT
    assert size_of(record) <= 1_000_000
    assert record.cuts >= 1


def test_message_and_context_share_a_small_record() -> None:
    """Where both are too large, the message keeps its first kilobyte at least and context values are cut for it."""
    context = {name: name * 4_000 for name in "abcd"}
    record = kafka_record(hand_made({**context, "small": 1}, body="m" * 100_000), max_record_bytes=16_384)
    payload = payload_of(record)
    assert len(payload["message"]) >= 1000
    assert payload["context"]["small"] == 1
    assert payload["context"]["otel.truncated.message"] == marker("m" * 100_000)
    cut = [name for name in context if payload["context"][name] == marker(context[name])]
    assert cut == list(context)[: len(cut)]
    assert record.cuts == 1 + len(cut)
    assert size_of(record) <= 16_384


def test_a_short_message_is_not_cut_for_the_context() -> None:
    """A short message beside a large context stays whole."""
    record = kafka_record(hand_made({"a": "a" * 60_000}, body="short"), max_record_bytes=16_384)
    assert payload_of(record)["message"] == "short"
    assert payload_of(record)["context"] == {"a": marker("a" * 60_000)}


@pytest.mark.parametrize("limit", [16_384, 20_000, 70_000])
@pytest.mark.parametrize("character", ["x", "é", "\U0001f600", "\x01"])
@pytest.mark.parametrize("body", [0, 100, 5_000, 100_000])
@pytest.mark.parametrize("context", [0, 300, 5_000, 60_000])
def test_application_records_always_fit(limit: int, character: str, body: int, context: int) -> None:
    """With names and IDs as long as they may be, an application record is cut to fit and never refused."""
    attributes = {
        "omni.tenant_id": character * 128,
        "omni.correlation_id": character * 255,
        "omni.causation_id": character * 255,
        "omni.code": character * 255,
        "a": character * context,
    }
    resource = Resource({"service.name": character * 256, "service.instance.id": character * 255})
    scope = InstrumentationScope(character * 255)
    severity = {"severity_text": character * 255, "event_name": character * 255}
    record = hand_made(attributes, resource=resource, scope=scope, body="m" * body, **severity)
    assert size_of(kafka_record(record, max_record_bytes=limit)) <= limit


@pytest.mark.parametrize("name", ["action", "actor", "resource"])
def test_fields_of_audit_are_never_cut(name: str) -> None:
    """A field that identifies something is carried whole, or the record is one error that names the field."""
    fits = kafka_record(hand_made({**AUDIT, f"omni.audit.{name}": "x" * 900_000}, event_name="omni.audit"))
    assert (payload_of(fits)[name], fits.cuts) == ("x" * 900_000, 0)
    with pytest.raises(ConversionError) as raised:
        kafka_record(hand_made({**AUDIT, f"omni.audit.{name}": "x" * 1_000_000}, event_name="omni.audit"))
    assert raised.value.field == f"omni.audit.{name}"
    assert len(str(raised.value)) < 300


def test_context_of_audit_gives_way_to_its_fields() -> None:
    """An audit event's context, and the message in it, is cut before its fields are given up."""
    attributes = {**AUDIT, "omni.audit.actor": "x" * 10_000, "more": "y" * 30_000}
    record = kafka_record(hand_made(attributes, event_name="omni.audit", body="z" * 20_000), max_record_bytes=16_384)
    payload = payload_of(record)
    assert payload["actor"] == "x" * 10_000
    assert payload["context"] == {"more": marker("y" * 30_000), "message": marker("z" * 20_000)}
    assert record.cuts == 2


def test_cuts_are_counted_once() -> None:
    """A context that is cut for its own limit and again for the record's counts each value once."""
    context = {f"k{number}": "x" * 9_000 for number in range(10)}
    record = kafka_record(hand_made(context), max_record_bytes=16_384)
    markers = sum(value == marker("x" * 9_000) for value in payload_of(record)["context"].values())
    assert markers == record.cuts == 9


def test_hashes_find_the_original() -> None:
    """A marker's hash and size are those of the value as it would have been in the record, redacted."""
    value = {"password": "hunter2", "text": "x" * 100_000}
    record = kafka_record(hand_made({"v": value}))
    assert payload_of(record)["context"] == {"v": marker({"password": "[REDACTED]", "text": "x" * 100_000})}
