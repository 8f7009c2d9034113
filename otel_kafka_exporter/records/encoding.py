"""Records to bytes: what an encoding is, and JSON, with the envelope's order of keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .envelope import OnexEnvelopeV1
from .statements import Converted, write_json
from .strict_json import json_bytes

#: Of Protobuf in the frame that Schema Registry clients expect.
CONTENT_TYPE_FRAMED = b"application/x-protobuf; framing=confluent"


class Encoding(NamedTuple):
    """A way to write envelopes.

    Attributes:
        content_type: what the header of that name says.
        write: makes bytes of a record.
        encode: makes the same bytes of an envelope, where one is at hand.
        text_size: how many bytes a text takes; more rather than less.
        json_per_byte: how many bytes of JSON one byte of it stands for at most.
        frame: bytes that a record gets before its value when it is sent.
    """

    content_type: bytes
    write: Callable[[Converted], bytes]
    encode: Callable[[OnexEnvelopeV1], bytes]
    text_size: Callable[[str], int]
    json_per_byte: int
    frame: int = 0


def encode_json(envelope: OnexEnvelopeV1) -> bytes:
    """The envelope as strict JSON: one that was read, or that had to be made to be cut."""
    return json_bytes(envelope._asdict())


JSON = Encoding(b"application/json", write_json, encode_json, lambda text: len(json_bytes(text)), 1)
