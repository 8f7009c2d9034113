"""The envelope in a Kafka record's value, whichever way it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from otel_kafka_exporter.errors import DecodeError

from .envelope import PAYLOAD_KEYS, Category, OnexEnvelopeV1, category_of

if TYPE_CHECKING:
    from .protobuf_view import ProtobufView

HeaderValue = str | bytes | None
Headers = Mapping[str, HeaderValue] | Iterable[tuple[str, HeaderValue]] | None

_JSON = "application/json"
#: What we write, and the name that is registered for the same.
_PROTOBUF = ("application/x-protobuf", "application/protobuf")


def decode(value: bytes | None, headers: Headers = None) -> OnexEnvelopeV1:
    """The envelope in a Kafka record's value: JSON, Protobuf, or Protobuf framed for a Schema Registry.

    Args:
        value: the record's value; None is what a tombstone has, and no envelope.
        headers: its headers, as confluent-kafka's `Message.headers()` gives them or as a mapping; optional. Without a
            `content-type` among them the value itself shows which one it is.

    Raises:
        DecodeError: the value is no envelope, or the headers name another content type; says where, and what was
            expected. Fields beyond the contract's are ignored, so that a newer writer does not break an older reader.
    """
    data = _bytes(value)
    if _is_protobuf(data, headers):
        from .protobuf_decoding import decode_protobuf  # noqa: PLC0415 - who reads JSON need not load Protobuf

        return decode_protobuf(data)
    return _decode_json(data)


def view(value: bytes | None, headers: Headers = None) -> OnexEnvelopeV1 | ProtobufView:
    """The same, but of Protobuf only what is asked for is made. JSON is read as a whole in any case.

    Raises:
        DecodeError: just where `decode` does.
    """
    data = _bytes(value)
    if _is_protobuf(data, headers):
        return _protobuf_view()(data)
    return _decode_json(data)


@lru_cache(maxsize=1)
def _protobuf_view() -> type[ProtobufView]:
    from .protobuf_view import ProtobufView  # noqa: PLC0415 - as above

    return ProtobufView


def _bytes(value: object) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise DecodeError(f"expected the record's value as bytes, got {_kind(value)}")
    return bytes(value)


def _is_protobuf(data: bytes, headers: Headers) -> bool:
    content_type = header(headers, "content-type")
    if content_type is None:
        # A frame begins with 0, a bare message with the tag of its first field, which is JSON's blank "\n" as well.
        return data[:1] == b"\0" or (data[:1] == b"\n" and not _is_json(data))
    return _names_protobuf(content_type)


@lru_cache(maxsize=64)
def _names_protobuf(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (_JSON, *_PROTOBUF):
        raise DecodeError(f"header content-type: expected {_JSON} or {_PROTOBUF[0]}, got {content_type!r}")
    return kind in _PROTOBUF


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


_NAMES = OnexEnvelopeV1._fields[:-1]
_TEXTS = {str}
_names_of: Callable[[Any], tuple[Any, ...]] = itemgetter(*_NAMES)
_texts_of: dict[Category, Callable[[Any], tuple[Any, ...]]] = {
    category: itemgetter(*(key for key in keys if key != "context")) for category, keys in PAYLOAD_KEYS.items()
}


def _decode_json(data: bytes) -> OnexEnvelopeV1:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"expected JSON, got something else at character {error.pos}: {error.msg}") from None
    # All parts at once: one by one, to say which is missed, costs twice as much.
    try:
        fields, payload = _names_of(document), document["payload"]
        texts, context = _texts_of[category_of(fields[0])](payload), payload["context"]
    except (KeyError, TypeError, AttributeError):
        return _checked(document)
    if type(context) is dict and set(map(type, fields)) == _TEXTS == set(map(type, texts)):
        return OnexEnvelopeV1._make((*fields, payload))
    return _checked(document)


def _checked(document: object) -> OnexEnvelopeV1:
    fields = _object(document, "the value")
    texts = {name: _text(fields, name, name) for name in _NAMES}
    payload = _object(fields.get("payload"), "payload")
    for name in PAYLOAD_KEYS[category_of(texts["event_type"])]:
        if name == "context":
            _object(payload.get(name), "payload.context")
        else:
            _text(payload, name, f"payload.{name}")
    return OnexEnvelopeV1(**texts, payload=payload)


def _object(value: object, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise DecodeError(f"{where}: expected an object, got {_kind(value)}")


def _text(fields: dict[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if isinstance(value, str):
        return value
    raise DecodeError(f"{where}: expected text, got {_kind(value)}")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def header(headers: Headers, name: str) -> str | None:
    """A header's value as text; None where there is none. Names in any case of letters."""
    # A dict first: to ask whether it is a mapping takes longer than to look into it.
    pairs = headers.items() if isinstance(headers, (dict, Mapping)) else headers or ()
    for key, value in pairs:
        if key.lower() == name and value is not None:
            return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
    return None
