"""Envelopes to and from bytes: strict JSON (RFC 8259), UTF-8, keys in the envelope's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from .envelope import CATEGORIES, PAYLOAD_KEYS, Category, OnexEnvelopeV1
from .errors import DecodeError
from .values import clean_int, clean_text, unused_name

CONTENT_TYPE_JSON = b"application/json"


def encode_json(envelope: OnexEnvelopeV1) -> bytes:
    """The envelope as strict JSON."""
    event_type, event_id, timestamp, tenant_id, namespace, source, correlation, causation, schema, payload = envelope
    return json_bytes(
        {  # spelt out: `_asdict()` costs as much as the encoding
            "event_type": event_type,
            "event_id": event_id,
            "timestamp": timestamp,
            "tenant_id": tenant_id,
            "namespace": namespace,
            "source": source,
            "correlation_id": correlation,
            "causation_id": causation,
            "schema_ref": schema,
            "payload": payload,
        }
    )


def json_bytes(value: Any) -> bytes:
    """`value`, of JSON's types and with finite numbers, as strict JSON.

    What JSON's readers refuse of a text or an integer is replaced: NUL and lone surrogates by U+FFFD, integers beyond
    64 bits by their text.
    """
    try:
        encoded = orjson.dumps(value)
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, or a key of a text's subclass
        return orjson.dumps(_strict(value))
    # One byte is found many times faster than six, and most records have no backslash at all.
    if b"\\" in encoded and b"\\u0000" in encoded:
        return orjson.dumps(_strict(value))
    return encoded


def _strict(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        strict: dict[str, Any] = {}
        for key, element in value.items():
            strict[unused_name(clean_text(key), strict)] = _strict(element)
        return strict
    if isinstance(value, (list, tuple)):
        return [_strict(element) for element in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return clean_int(value)
    return value


HeaderValue = str | bytes | None
Headers = Mapping[str, HeaderValue] | Iterable[tuple[str, HeaderValue]] | None


def decode(value: bytes | None, headers: Headers = None) -> OnexEnvelopeV1:
    """The envelope in a Kafka record's value.

    Args:
        value: the record's value; None is what a tombstone has, and no envelope.
        headers: its headers, as confluent-kafka's `Message.headers()` gives them or as a mapping; optional.

    Raises:
        DecodeError: the value is no envelope, or the headers name another content type. Keys beyond the contract's
            are ignored, so that a newer writer does not break an older reader.
    """
    content_type = _header(headers, "content-type")
    if content_type not in (None, CONTENT_TYPE_JSON.decode()):
        raise DecodeError(f"header content-type: expected {CONTENT_TYPE_JSON.decode()}, got {content_type!r}")
    try:
        document = orjson.loads(b"" if value is None else value)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"expected JSON, got something else at character {error.pos}: {error.msg}") from None
    except TypeError:
        raise DecodeError(f"expected the record's value as bytes, got {type(value).__name__}") from None
    fields = _object(document, "the value")
    texts = {name: _text(fields, name, name) for name in OnexEnvelopeV1._fields[:-1]}
    category = _category(texts["event_type"])
    payload = _object(fields.get("payload"), "payload")
    for name in PAYLOAD_KEYS[category]:
        if name == "context":
            _object(payload.get(name), "payload.context")
        else:
            _text(payload, name, f"payload.{name}")
    return OnexEnvelopeV1(**texts, payload=payload)


def _category(event_type: str) -> Category:
    for category in CATEGORIES:
        if event_type.endswith(f".logging.{category}.v1"):
            return category
    raise DecodeError(f"event_type: expected one that ends in .logging.<category>.v1, got {event_type!r}")


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


def _header(headers: Headers, name: str) -> str | None:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    for key, value in pairs:
        if key.lower() == name and value is not None:
            return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
    return None
