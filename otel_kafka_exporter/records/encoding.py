"""Envelopes to bytes: what an encoding is, and JSON, strict (RFC 8259), in UTF-8, with the envelope's order of keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from .envelope import OnexEnvelopeV1
from .values import clean_int, clean_text, unused_name

#: Of Protobuf in the frame that Schema Registry clients expect.
CONTENT_TYPE_FRAMED = b"application/x-protobuf; framing=confluent"


class Encoding(NamedTuple):
    """A way to write envelopes.

    Attributes:
        content_type: what the header of that name says.
        encode: makes bytes of an envelope.
        text_size: how many bytes a text takes; more rather than less.
        json_per_byte: how many bytes of JSON one byte of it stands for at most.
        frame: bytes that a record gets before its value when it is sent.
    """

    content_type: bytes
    encode: Callable[[OnexEnvelopeV1], bytes]
    text_size: Callable[[str], int]
    json_per_byte: int
    frame: int = 0


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
        return orjson.dumps(strict(value))
    # One byte is found many times faster than six, and most records have no backslash at all.
    if b"\\" in encoded and b"\\u0000" in encoded:
        return orjson.dumps(strict(value))
    return encoded


def strict(value: Any) -> Any:
    """`value` without what JSON's readers refuse."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for key, element in value.items():
            members[unused_name(clean_text(key), members)] = strict(element)
        return members
    if isinstance(value, (list, tuple)):
        return [strict(element) for element in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return clean_int(value)
    return value


JSON = Encoding(b"application/json", encode_json, lambda text: len(json_bytes(text)), 1)
