"""Kafka records to the outbox's bytes, and back."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.outbox.rows import Row, decode_row, encode_row
from otel_kafka_exporter.records.envelope import CATEGORIES
from otel_kafka_exporter.records.kafka_record import KafkaRecord
from tests.strategies import QUICK, clean_text

NANOSECONDS = 1_732_406_400_123_456_789

records = st.builds(
    KafkaRecord,
    topic=clean_text,
    key=st.none() | st.binary(max_size=40),
    value=st.binary(max_size=300),
    headers=st.lists(st.tuples(clean_text, st.none() | st.binary(max_size=40)), max_size=12),
    milliseconds=st.integers(-(2**63), 2**63 - 1),
    category=st.sampled_from(CATEGORIES),
    event_id=clean_text,
    cuts=st.just(0),
)


@QUICK
@given(records, clean_text, st.integers(-(2**63), 2**63 - 1))
def test_round_trip(record: KafkaRecord, reason: str, nanoseconds: int) -> None:
    """What was encoded is decoded, in every field, by the category that the stream tells."""
    assert decode_row(encode_row(record, reason, nanoseconds), record.category) == Row(record, reason, nanoseconds)


def test_nothing_is_not_empty() -> None:
    """A key and a header's value that are None stay apart from empty ones."""
    for key, text in ((None, b""), (b"", None)):
        record = KafkaRecord("t", key, b"", [("a", text), ("b", b"")], 0)
        assert decode_row(encode_row(record)).record == record


def test_text_in_headers() -> None:
    """A header's value that is text becomes its UTF-8."""
    record = KafkaRecord("t", None, b"v", [("a", "ü"), ("b", None), ("c", b"x")], 0)
    assert decode_row(encode_row(record)).record.headers == [("a", "ü".encode()), ("b", None), ("c", b"x")]


def test_reason_that_is_no_unicode() -> None:
    """A reason that quotes a lone surrogate is kept in a form that UTF-8 can carry."""
    record = KafkaRecord("t", None, b"v", [], 0)
    assert decode_row(encode_row(record, "attribute \ud800")).reason == "attribute \\ud800"


def test_what_is_not_kept() -> None:
    """The number of cuts, and what was cut, are not part of a row."""
    record = KafkaRecord("t", None, b"v", [], 0, cuts=3)
    assert decode_row(encode_row(record)).record == record._replace(cuts=0)


@QUICK
@given(st.binary(max_size=400))
def test_arbitrary_bytes(payload: bytes) -> None:
    """Bytes that are no row are a ValueError, and nothing else."""
    try:
        decode_row(payload)
    except ValueError:
        return
    assert encode_row(*decode_row(payload)) == payload


@QUICK
@given(records, st.data())
def test_changed_rows(record: KafkaRecord, data: st.DataObject) -> None:
    """A row with bytes changed, cut off or added is another row or a ValueError, and nothing else."""
    payload = bytearray(encode_row(record, "why", NANOSECONDS))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(0, len(payload) + 8))
    for changed in (bytes(payload), bytes(payload[:size]).ljust(size, b"\0")):
        with suppress(ValueError):
            decode_row(memoryview(changed))


@pytest.mark.parametrize("at", range(16, 40, 4))
def test_lengths_beyond_the_end(at: int) -> None:
    """A length or a count that no file could hold is a ValueError, before any memory is taken for it."""
    payload = bytearray(encode_row(KafkaRecord("t", b"k", b"v", [("a", b"b")], 0), "why"))
    struct.pack_into("<I", payload, at, 0xFFFFFFF0)
    with pytest.raises(ValueError, match="expected"):
        decode_row(bytes(payload))


@pytest.mark.parametrize("at", [20, 24, 28, 36, 40])
def test_texts_that_are_none(at: int) -> None:
    """Only a key and a header's value can be None."""
    payload = encode_row(KafkaRecord("", b"", b"", [("", b"")], 0))
    assert decode_row(payload)
    with pytest.raises(ValueError, match="got none"):
        decode_row(payload[:at] + b"\xff" * 4 + payload[at + 4 :])
