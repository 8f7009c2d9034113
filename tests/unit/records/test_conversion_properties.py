"""What holds of every record that can be thought of, from the log record to the bytes."""

from __future__ import annotations

import base64
import re
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.decoding import decode
from otel_kafka_exporter.records.envelope import CATEGORIES, PAYLOAD_KEYS, OnexEnvelopeV1
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import KafkaRecord, KafkaRecordBuilder
from otel_kafka_exporter.records.secret_texts import redact_patterns
from tests.records import (
    as_bytes,
    cleaner,
    compact_json,
    converted_by,
    hand_made,
    now,
    sdk_record,
    size_of,
    strict_json,
)
from tests.strategies import (
    QUICK,
    SECRET,
    any_value,
    attributes,
    long_text,
    records,
    sdk_value_with_secrets,
    value_with_secrets,
)

#: For large values, each of which takes a while.
FEW = settings(QUICK, max_examples=25)
LIMITS = (1_000_000, 16_384)
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
# Converters of more than one record, as in life: what one has learnt must not harm the next.
CONVERTERS = [Converter(cleaner(), uuid7, now), Converter(cleaner(text_filter=redact_patterns), uuid7, now)]
CONVERTERS.append(
    Converter(cleaner(), uuid7, now, namespace="n" * 200, tenant_id="t" * 128, resource_context=("service.name",))
)
BUILDERS = {
    (at, limit): KafkaRecordBuilder(max_record_bytes=limit, namespace="n" * 200 if at == 2 else "omninode")
    for at in range(len(CONVERTERS))
    for limit in LIMITS
}


def outcome(record: Any, at: int, limit: int = 1_000_000) -> KafkaRecord | None:
    """The Kafka record, or None for the one error that there may be."""
    try:
        return BUILDERS[at, limit].build(CONVERTERS[at].convert(record))
    except ConversionError as error:
        assert error.field  # noqa: PT017 - that it names the field is the promise
        return None


def check(record: KafkaRecord, limit: int) -> None:
    """A record keeps the contract."""
    assert size_of(record) <= limit
    document = strict_json(record.value)
    assert list(document) == list(OnexEnvelopeV1._fields)
    assert all(isinstance(document[name], str) and document[name] for name in document if name != "payload")
    category = document["event_type"].split(".")[-2]
    assert category in CATEGORIES
    payload = document["payload"]
    assert set(payload) == set(PAYLOAD_KEYS[category])
    assert all(isinstance(payload[name], str) for name in payload if name != "context")
    assert isinstance(payload["context"], dict)
    assert len(compact_json(payload["context"])) <= 64 * 1024
    assert TIMESTAMP.fullmatch(document["timestamp"])
    assert payload.get("timestamp", document["timestamp"]) == document["timestamp"]
    assert str(uuid.UUID(document["event_id"])) == document["event_id"]
    for name, longest in (("tenant_id", 128), ("source", 256), ("correlation_id", 255), ("causation_id", 255)):
        assert len(document[name]) <= longest
    headers = dict(record.headers)
    assert len(headers) == len(record.headers)
    same = {"x-correlation-id": "correlation_id", "x-causation-id": "causation_id", "x-tenant": "tenant_id"}
    same |= {"x-schema-hash": "schema_ref", "x-event-type": "event_type"}
    assert {name: as_bytes(headers[name]).decode() for name in same} == {
        name: document[key] for name, key in same.items()
    }
    assert record.topic == document["event_type"]
    assert decode(record.value, record.headers)._asdict() == document


@pytest.mark.parametrize("limit", LIMITS)
@QUICK
@given(record=records(any_value), at=st.integers(0, 2))
def test_any_record(limit: int, record: Any, at: int) -> None:
    """Any record gives strict JSON that keeps every bound of the contract, or exactly one conversion error."""
    result = outcome(record, at, limit)
    if result is not None:
        check(result, limit)


@pytest.mark.parametrize("limit", LIMITS)
@FEW
@given(record=records(st.one_of(long_text, st.lists(long_text, max_size=4)), texts=long_text), at=st.integers(0, 2))
def test_any_large_record(limit: int, record: Any, at: int) -> None:
    """A record of large values fits the limit when it gives one, and an application record always gives one."""
    result = outcome(record, at, limit)
    if result is not None:
        check(result, limit)


@pytest.mark.parametrize("limit", LIMITS)
@FEW
@given(context=st.dictionaries(st.one_of(st.text(max_size=9), long_text), long_text, max_size=6), body=long_text)
def test_an_application_record_is_cut_and_never_refused(limit: int, context: dict[str, str], body: str) -> None:
    """However large an application record's context and message are, something of it is delivered."""
    context = {name: value for name, value in context.items() if not name.startswith("omni.")}
    result = outcome(hand_made(context, body=body), 0, limit)
    assert result is not None
    check(result, limit)
    assert result.cuts or size_of(result) <= limit


@QUICK
@given(record=records(value_with_secrets), at=st.integers(0, 2))
def test_no_secret_is_in_the_bytes(record: Any, at: int) -> None:
    """No value of a sensitive key reaches the bytes, nor its base64, wherever in a record it was."""
    result = outcome(record, at)
    if result is not None:
        everything = result.value + b"".join(as_bytes(value) for _, value in result.headers) + (result.key or b"")
        assert SECRET.encode() not in everything
        assert base64.b64encode(SECRET.encode()) not in everything


@QUICK
@given(attributes=attributes(sdk_value_with_secrets), body=value_with_secrets)
def test_no_secret_of_the_sdk_is_in_the_bytes(attributes: dict[Any, Any], body: Any) -> None:
    """The same holds for what the real SDK makes of such attributes."""
    attributes = {name: value for name, value in attributes.items() if name and isinstance(name, str)}
    result = outcome(sdk_record(attributes=attributes, body=body), 0)
    if result is not None:
        assert SECRET.encode() not in result.value


@QUICK
@given(record=records(any_value), at=st.integers(0, 2))
def test_twice_the_same(record: Any, at: int) -> None:
    """Converting a record twice gives the same but for the event ID and the IDs that are made of it."""

    def once() -> Any:
        try:
            found = converted_by(CONVERTERS[at], record)
        except ConversionError as error:
            return error.field, str(error)
        made = found.envelope.event_id
        ids: dict[str, Any] = {name: "event ID" for name, value in found.envelope._asdict().items() if value == made}
        return found.category, repr(found.envelope._replace(**ids)), found.milliseconds, found.traceparent

    assert once() == once()


def payload_or_error(converter: Converter, record: Any) -> str:
    try:
        return repr(converted_by(converter, record).envelope.payload)
    except ConversionError as error:
        return str(error)


@QUICK
@given(st.lists(records(any_value), max_size=4))
def test_records_do_not_disturb_each_other(batch: list[Any]) -> None:
    """A record's context is the same from a new converter and from one that has seen others."""
    seasoned = Converter(cleaner(), uuid7, now)
    for record in batch:
        assert payload_or_error(seasoned, record) == payload_or_error(Converter(cleaner(), uuid7, now), record)


@QUICK
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), any_value, max_size=3))
def test_plain_contexts_take_no_short_cut_in_meaning(context: dict[str, Any]) -> None:
    """What is fit for JSON as it is comes out as the full cleaning would have made it."""
    record = outcome(hand_made(context), 0)
    assert record is not None
    assert strict_json(record.value)["payload"]["context"] == cleaner().clean_mapping(context)
