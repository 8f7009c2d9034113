"""Envelopes to and from Protobuf: the same as JSON carries, and one error for whatever is none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_kafka_exporter.errors import ConversionError, DecodeError
from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.decoding import decode
from otel_kafka_exporter.records.encoding import JSON, encode_json
from otel_kafka_exporter.records.envelope import PAYLOAD_KEYS, OnexEnvelopeV1
from otel_kafka_exporter.records.envelope_pb2 import Envelope
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import KafkaRecordBuilder
from otel_kafka_exporter.records.protobuf_encoding import FRAMED_PROTOBUF, PROTOBUF, encode_protobuf
from tests.records import cleaner, compact_json, hand_made, now, size_of
from tests.strategies import QUICK, any_value, attributes, clean_text, json_value, long_text, records
from tests.unit.records.envelopes import ENVELOPES, UNCLEAN

ENVELOPE = ENVELOPES["application"]
BARE = encode_protobuf(ENVELOPE)
FRAMED = b"\0\0\0\0\x07\0" + BARE
HEADERS = {"content-type": b"application/x-protobuf"}

times = st.datetimes().filter(lambda time: time.year >= 1970).map(lambda time: f"{time:%Y-%m-%dT%H:%M:%S.%f}Z")
WORDS = {"level": ["DEBUG", "INFO", "WARN", "ERROR"], "outcome": ["success", "failure"], "decision": ["allow", "deny"]}


def with_context(context: dict[str, Any]) -> OnexEnvelopeV1:
    return ENVELOPE._replace(payload={**ENVELOPE.payload, "context": context})


@pytest.mark.parametrize("category", ENVELOPES)
@pytest.mark.parametrize("headers", [None, HEADERS, {"content-type": "Application/Protobuf; x=y"}])
def test_there_and_back(category: str, headers: Any) -> None:
    """What is encoded is decoded to the same, framed or not, with headers and without."""
    encoded = encode_protobuf(ENVELOPES[category])
    for value in (encoded, b"\0\0\0\0\x07\0" + encoded, b"\0\0\0\0\x07\x02\0" + encoded):
        assert decode(value, headers) == ENVELOPES[category]


@QUICK
@given(st.data(), st.sampled_from(list(ENVELOPES)), st.dictionaries(clean_text, json_value, max_size=4))
def test_any_clean_envelope(data: st.DataObject, category: Any, context: dict[str, Any]) -> None:
    """decode(encode(e)) == e for every envelope that the contract allows, and the types are the same too."""
    fields = {name: data.draw(times if name == "timestamp" else clean_text) for name in OnexEnvelopeV1._fields[1:-1]}
    payload: dict[str, Any] = {}
    for name in PAYLOAD_KEYS[category]:
        texts = times if name == "timestamp" else st.sampled_from(WORDS[name]) if name in WORDS else clean_text
        payload[name] = context if name == "context" else data.draw(texts)
    envelope = OnexEnvelopeV1(event_type=f"x.logging.{category}.v1", payload=payload, **fields)
    decoded = decode(encode_protobuf(envelope))
    assert decoded == envelope
    # 1, 1.0 and True are equal; as text they differ.
    assert compact_json(in_order(decoded.payload)) == compact_json(in_order(payload))


def in_order(value: Any) -> Any:
    """`value` with the members of objects by name: the order of a Protobuf map's means nothing."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(element) for element in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("value", "expected"), UNCLEAN, ids=ascii)
def test_what_json_cannot_carry(value: Any, expected: Any) -> None:
    """What JSON's readers refuse is replaced in Protobuf, too, so that both carry the same."""
    assert decode(encode_protobuf(with_context({"value": value}))).payload["context"] == {"value": expected}
    message = ENVELOPE._replace(payload={**ENVELOPE.payload, "message": str(value)})
    assert decode(encode_protobuf(message)) == decode(encode_json(message))


CONVERTER = Converter(cleaner(), uuid7, now)


@QUICK
@given(records(any_value))
def test_both_encodings_carry_the_same(record: Any) -> None:
    """Whatever log record there is, its envelope is the same from JSON and from Protobuf."""
    try:
        envelope = CONVERTER.convert(record).envelope
    except ConversionError:
        return
    from_json, from_protobuf = decode(encode_json(envelope)), decode(encode_protobuf(envelope))
    assert in_order(from_json.payload) == in_order(from_protobuf.payload)
    assert from_json == from_protobuf


BUILDERS = [
    KafkaRecordBuilder(max_record_bytes=limit, encoding=encoding)
    for limit in (16_384, 100_000)
    for encoding in (JSON, PROTOBUF, FRAMED_PROTOBUF)
]


@settings(QUICK, max_examples=15)  # each is built six times, of many values
@given(attributes(st.one_of(long_text, any_value, st.just([0] * 20_000))))
def test_limits_hold_in_every_encoding(given_attributes: dict[Any, Any]) -> None:
    """A record with its frame takes at most max_record_bytes, and its context at most 64 KiB of JSON."""
    try:
        converted = CONVERTER.convert(hand_made(given_attributes, body="x\x01" * 30_000))
    except ConversionError:
        return
    for builder in BUILDERS:
        limit = builder._max_record_bytes
        try:
            record = builder.build(converted)
        except ConversionError:
            continue
        assert size_of(record) <= limit
        assert len(compact_json(decode(record.value).payload["context"])) <= 64 * 1024


@pytest.mark.parametrize("character", ["x", "é", "\x01", "\0"])
def test_a_message_keeps_as_much_as_fits(character: str) -> None:
    """A long message fills its record in Protobuf as it does in JSON."""
    record = KafkaRecordBuilder(max_record_bytes=100_000, encoding=PROTOBUF).build(
        CONVERTER.convert(hand_made({}, body=character * 300_000))
    )
    assert 98_000 <= size_of(record) <= 100_000


def changed(**fields: Any) -> bytes:
    """The envelope with other fields."""
    message = Envelope.FromString(BARE)
    for name, value in fields.items():
        if isinstance(value, dict):
            for inner, number in value.items():
                setattr(getattr(message, name), inner, number)
        else:
            setattr(message, name, value)
    return message.SerializeToString()


WRONG = [
    (b"\0", "expected a frame of 6 bytes, got 1"),
    (b"\0\0\0\0\x07", "expected a frame of 6 bytes, got 5"),
    (b"\0\0\0\0\x07\x04\0\2" + BARE, "expected the index of the schema's first message at byte 5"),
    (b"\0\0\0\0\x07\0", "event_type: expected one that ends in"),
    (BARE[:-1], r"expected \d+ bytes at byte \d+, got \d+"),
    (b"\x0a", "expected a length at byte 1, got the end"),
    (b"\x0a\xff\xff", "expected a length at byte 1, got the end"),
    (b"\x0a\x05abc", "expected 5 bytes at byte 2, got 3"),
    (b"\x0a\x02\xff\xfe", "expected UTF-8 in event_type, got something else at byte 2"),
    (b"\x0f", "expected a field's tag, got 0x0f at byte 0"),
    (b"\x02\x00", "expected a field's tag, got 0x02 at byte 0"),
    (b"\x08" + b"\xff" * 11, "expected a number at byte 1, got more than 10 bytes of one"),
    (b"\x0d\x00", "expected 4 bytes at byte 1, got 1"),
    (b"\x09\x00", "expected 8 bytes at byte 1, got 1"),
    (b"\x52\x04\x0a\x02\xffx", "expected UTF-8 in service_name, got something else at byte 4"),
    (changed(event_type="x.logging.audit.v1"), "payload: expected audit, as event_type says, got application"),
    (changed(event_type="x"), "event_type: expected one that ends in"),
    (changed(application={"level": 0}), "payload.level: expected DEBUG or INFO or WARN or ERROR, got the number 0"),
    (changed(application={"level": 17}), "payload.level: expected DEBUG or .*, got the number 17"),
    (changed(timestamp={"seconds": -1}), "timestamp: expected a time from 1970 to 9999, got -1 seconds"),
    (changed(timestamp={"nanos": 2**31 - 1}), "timestamp: expected a time from 1970 to 9999"),
    (encode_json(ENVELOPE), "expected Protobuf"),
]


@pytest.mark.parametrize(("value", "said"), WRONG)
def test_what_is_no_envelope(value: bytes, said: str) -> None:
    """Bytes that are no envelope are a decode error that says what was expected, and where."""
    with pytest.raises(DecodeError, match=said):
        decode(value, HEADERS)


def test_a_fault_behind_a_frame_is_where_it_is_in_the_value() -> None:
    """Positions count from the value's first byte."""
    with pytest.raises(DecodeError, match="expected 5 bytes at byte 8, got 3"):
        decode(b"\0\0\0\0\x07\0\x0a\x05abc", HEADERS)


@pytest.mark.parametrize("value", [b"\x0a\x05abc", b"\x52\x04\x0a\x02\xffx", encode_json(ENVELOPE), BARE[:-1]])
def test_the_fault_is_the_runtimes(value: bytes) -> None:
    """What is called faulty is refused by the runtime itself."""
    with pytest.raises(Exception, match=r"."):
        Envelope.FromString(value)


def test_what_is_nested_too_deep_is_an_error() -> None:
    """A value that nests deeper than any runtime reads is a decode error, whatever its size."""
    value = b""
    for _ in range(2_000):
        value = b"\x0a" + _varint(len(value)) + value  # an element of a list
        value = b"\x3a" + _varint(len(value)) + value  # the list that is a value
    entry = b"\x0a\x01a\x12" + _varint(len(value)) + value
    context = b"\x3a" + _varint(len(entry)) + entry
    with pytest.raises(DecodeError, match="expected at most 100 messages in each other"):
        decode(BARE + b"\x52" + _varint(len(context)) + context, HEADERS)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def test_fields_of_a_newer_writer() -> None:
    """Fields beyond the contract's break no reader."""
    assert decode(BARE + b"\xfa\x07\x03abc", HEADERS) == ENVELOPE


@QUICK
@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=20).map(b"\0\0\0\0\x01\0".__add__),
        st.tuples(st.integers(0, len(BARE)), st.binary(max_size=3), st.integers(0, 3)).map(
            lambda cut: BARE[: cut[0]] + cut[1] + BARE[cut[0] + cut[2] :]
        ),
    ),
    st.sampled_from([None, HEADERS]),
)
def test_any_bytes(value: bytes, headers: Any) -> None:
    """Any bytes are an envelope or a decode error."""
    try:
        assert decode(value, headers)
    except DecodeError as error:
        assert re.search("expected", str(error))  # noqa: PT017 - either outcome keeps the promise


def test_half_the_bytes() -> None:
    """Without compression an envelope takes at most 0.7 times the bytes that it has as JSON."""
    for envelope in ENVELOPES.values():
        assert len(encode_protobuf(envelope)) <= 0.7 * len(encode_json(envelope))
