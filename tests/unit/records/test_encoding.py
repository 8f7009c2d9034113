"""Envelopes to and from bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.errors import DecodeError
from otel_kafka_exporter.records.decoding import decode
from otel_kafka_exporter.records.encoding import encode_json
from otel_kafka_exporter.records.envelope import CATEGORIES, PAYLOAD_KEYS, OnexEnvelopeV1
from otel_kafka_exporter.records.strict_json import json_bytes
from tests.records import strict_json
from tests.strategies import QUICK, clean_text, json_value
from tests.unit.records.envelopes import ENVELOPE, ENVELOPES, UNCLEAN


@pytest.mark.parametrize("category", ENVELOPES)
def test_there_and_back(category: str) -> None:
    """What is encoded is decoded to the same, and other readers of JSON find the ten keys in their order."""
    envelope = ENVELOPES[category]
    encoded = encode_json(envelope)
    assert decode(encoded) == envelope
    assert list(strict_json(encoded)) == list(OnexEnvelopeV1._fields)
    assert strict_json(encoded) == envelope._asdict()


def test_json_is_compact_and_utf8() -> None:
    """No byte is spent on blanks or on escapes that JSON does not ask for."""
    assert json_bytes({"é": [1, "\U0001f600"]}) == '{"é":[1,"\U0001f600"]}'.encode()


texts = st.fixed_dictionaries(dict.fromkeys(OnexEnvelopeV1._fields[1:-1], clean_text))
contexts = st.dictionaries(clean_text, json_value, max_size=4)


@QUICK
@given(st.data(), st.sampled_from(list(ENVELOPES)), texts, contexts)
def test_any_clean_envelope(
    data: st.DataObject, category: Any, fields: dict[str, str], context: dict[str, Any]
) -> None:
    """decode(encode(e)) == e for every envelope whose texts JSON can carry."""
    payload: dict[str, Any] = {name: data.draw(clean_text) for name in PAYLOAD_KEYS[category] if name != "context"}
    payload["context"] = context
    envelope = OnexEnvelopeV1(event_type=f"x.logging.{category}.v1", payload=payload, **fields)
    assert decode(encode_json(envelope)) == envelope


@pytest.mark.parametrize(("value", "expected"), UNCLEAN, ids=ascii)
def test_what_json_cannot_carry(value: Any, expected: Any) -> None:
    """What JSON's readers refuse is replaced on the way, and a text that only looks like an escape is not."""
    assert strict_json(json_bytes(value)) == expected


@pytest.mark.parametrize("first", [{"a\0": 1, "a\ufffd": 2}, {"\ud800": 1} | {"\ud801": 2}], ids=ascii)
def test_no_key_is_lost_to_another(first: dict[str, int]) -> None:
    """Two keys that become the same text are both there."""
    assert sorted(strict_json(json_bytes(first)).values()) == [1, 2]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "expected JSON, got something else at character 0"),
        (b"\xff\xfe", "expected JSON"),
        (b"{", "at character 1"),
        (b'{"a": 1,}', "at character [78]"),
        (b'{"a": NaN}', "at character 6"),
        (b'{"a": "\\ud800"}', "at character"),
        pytest.param(encode_json(ENVELOPE)[:100], "at character 100|at character 9", id="cut short"),
        (encode_json(ENVELOPE) + b"x", f"at character {len(encode_json(ENVELOPE).decode())}"),
        (b"[" * 5000, "expected JSON"),
        (b"null", "the value: expected an object, got nothing"),
        (b"[]", "the value: expected an object, got a value of type list"),
        (b'"x"', "the value: expected an object, got a value of type str"),
        (b"{}", "event_type: expected text, got nothing"),
    ],
)
def test_what_is_no_envelope(value: bytes, said: str) -> None:
    """Bytes that are no envelope are a decode error that says what was expected, and where."""
    with pytest.raises(DecodeError, match=said):
        decode(value)


@pytest.mark.parametrize("value", [None, 7, ["x"], object()])
def test_what_is_not_even_bytes(value: Any) -> None:
    """What is no bytes, a tombstone's None among it, is a decode error and no other."""
    with pytest.raises(DecodeError):
        decode(value)


def changed(change: Callable[[dict[str, Any]], object], category: str = "application") -> bytes:
    document = json.loads(encode_json(ENVELOPES[category]))
    change(document)
    return orjson.dumps(document)


@pytest.mark.parametrize("name", OnexEnvelopeV1._fields)
@pytest.mark.parametrize("value", [None, 7, True, ["x"]])
def test_wrong_keys(name: str, value: Any) -> None:
    """A key of another type, or none at all, is a decode error that names it."""
    for change in (lambda document: document.update({name: value}), lambda document: document.pop(name)):
        with pytest.raises(DecodeError, match=f"^{name}: expected "):
            decode(changed(change))


@pytest.mark.parametrize(("category", "name"), [(one, name) for one in CATEGORIES for name in PAYLOAD_KEYS[one]])
def test_wrong_payloads(category: str, name: str) -> None:
    """A payload's key of another type, or none at all, is a decode error that names it."""
    for change in (
        lambda document: document["payload"].update({name: 7}),
        lambda document: document["payload"].pop(name),
    ):
        with pytest.raises(DecodeError, match=rf"^payload\.{name}: expected "):
            decode(changed(change, category))


@pytest.mark.parametrize(
    "event_type", ["", "x", "omninode.logging.billing.v1", "omninode.logging.audit.v2", "logging.audit.v1"]
)
def test_other_event_types(event_type: str) -> None:
    """The envelope of something else is a decode error that shows its event type."""
    with pytest.raises(DecodeError, match=rf"^event_type: expected .* got '{event_type}'"):
        decode(changed(lambda document: document.update(event_type=event_type)))


def test_keys_of_a_newer_writer() -> None:
    """Keys beyond the contract's break no reader."""
    assert decode(changed(lambda document: document.update(more=1))) == ENVELOPE


HEADERS: list[Any] = [
    None,
    [],
    {},
    [("content-type", b"application/json")],
    {"content-type": b"application/json"},
    {"Content-Type": "application/json"},
    {"content-type": "Application/JSON; charset=utf-8"},
    [("x", None), ("content-type", None)],
    (("x", b"\xff"),),
]


@pytest.mark.parametrize("headers", HEADERS)
def test_headers(headers: Any) -> None:
    """Headers are optional, in each of the forms that clients have them in."""
    assert decode(encode_json(ENVELOPE), headers) == ENVELOPE


@pytest.mark.parametrize("content_type", ["text/plain", b"", b"\xff", "application/jsonl"])
def test_another_content_type(content_type: Any) -> None:
    """A value that says to be something else is a decode error that names the header."""
    for headers in ({"content-type": content_type}, [("content-type", content_type)]):
        with pytest.raises(
            DecodeError, match=r"^header content-type: expected application/json or application/x-protobuf, got "
        ):
            decode(encode_json(ENVELOPE), headers)


@QUICK
@given(
    st.one_of(
        st.binary(max_size=50), json_value.map(orjson.dumps), st.binary(max_size=3).map(encode_json(ENVELOPE).__add__)
    )
)
def test_any_bytes(value: bytes) -> None:
    """Any bytes are an envelope or a decode error."""
    try:
        assert decode(value)
    except DecodeError as error:
        assert "expected" in str(error)  # noqa: PT017 - either outcome keeps the promise
