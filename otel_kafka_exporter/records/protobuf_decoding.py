"""Protobuf to envelopes, with or without the frame of a Schema Registry client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from otel_kafka_exporter.errors import DecodeError

from . import envelope_pb2 as pb
from .envelope import CATEGORIES, OnexEnvelopeV1, category_of
from .protobuf_fault import fault

_FRAME = 5
#: The last second of the year 9999, after which the text has no room for it.
_LAST_SECOND = 253_402_300_799
_MAX_NANOS = 999_999_999
#: The message's index in the schema's file, in both ways to write it: short for "the first one", and as a list of it.
_INDEXES = (b"\0", b"\x02\0")


def decode_protobuf(data: bytes) -> OnexEnvelopeV1:
    """The envelope in a bare or framed `onex.logging.v1.Envelope`.

    Raises:
        DecodeError: there is none; says at which byte, or in which field.
    """
    start = _start(data)
    try:
        message = pb.Envelope.FromString(data[start:])
    except Exception:  # noqa: BLE001 - DecodeError, or anything, by a runtime that is not its C one
        raise DecodeError(fault(data, start, pb.Envelope.DESCRIPTOR)) from None
    category = category_of(message.event_type)
    given = message.WhichOneof("payload")
    if given != category:
        raise DecodeError(f"payload: expected {category}, as event_type says, got {given or 'nothing'}")
    body = getattr(message, category)
    return OnexEnvelopeV1(
        message.event_type,
        message.event_id,
        _time(message.timestamp, "timestamp"),
        message.tenant_id,
        message.namespace,
        message.source,
        message.correlation_id,
        message.causation_id,
        message.schema_ref,
        {name: read(getattr(body, name)) for name, read in _READERS[category]},
    )


def _start(data: bytes) -> int:
    """Where the message begins: behind the frame, if there is one."""
    if data[:1] != b"\0":
        return 0
    for index in _INDEXES:
        if data[_FRAME : _FRAME + len(index)] == index:
            return _FRAME + len(index)
    if len(data) <= _FRAME:
        raise DecodeError(f"expected a frame of {_FRAME + 1} bytes, got {len(data)}")
    raise DecodeError(f"expected the index of the schema's first message at byte {_FRAME}, got another one")


def _reader(field: Any) -> Callable[[Any], Any]:
    """What makes a payload's value of a field's."""
    if field.enum_type is not None:
        return _word_reader(field)
    if field.name == "timestamp":
        return lambda stamp: _time(stamp, "payload.timestamp")
    return _object if field.name == "context" else str


def _word_reader(field: Any) -> Callable[[int], str]:
    """Of an enumeration's value, the word that JSON has for it."""
    words = {value.number: _bare(field, value.name) for value in field.enum_type.values if value.number}

    def read(number: int) -> str:
        word = words.get(number)
        if word is None:
            raise DecodeError(f"payload.{field.name}: expected {' or '.join(words.values())}, got the number {number}")
        return word

    return read


def _bare(field: Any, name: str) -> str:
    word = name.removeprefix(f"{field.enum_type.name.upper()}_")
    return word if field.name == "level" else word.lower()


def _time(stamp: Timestamp, where: str) -> str:
    seconds, nanos = stamp.seconds, stamp.nanos
    if not (0 <= seconds <= _LAST_SECOND and 0 <= nanos <= _MAX_NANOS):
        raise DecodeError(f"{where}: expected a time from 1970 to 9999, got {seconds} seconds and {nanos} nanoseconds")
    return f"{_second(seconds)}.{nanos // 1000:06d}Z"


@lru_cache(maxsize=16)  # a record has its time twice, and the next one is of the same second
def _second(seconds: int) -> str:
    t = time.gmtime(seconds)
    return f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}"


def _object(members: Mapping[str, pb.Value]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members.items():
        kind = value.WhichOneof("kind")
        # Most are: without a call each.
        found[name] = getattr(value, kind) if kind in _SCALARS else _value(value, kind)
    return found


_SCALARS = frozenset(
    {field.name for field in pb.Value.DESCRIPTOR.fields if field.message_type is None and field.enum_type is None}
)


def _value(value: pb.Value, kind: str | None) -> Any:
    if kind == "struct_value":
        return _object(value.struct_value.fields)
    if kind == "list_value":
        return [_value(element, element.WhichOneof("kind")) for element in value.list_value.values]
    # One of a kind that is not known yet is as good as none.
    return None if kind in (None, "null_value") else getattr(value, kind)


def _readers(message: Any) -> list[tuple[str, Callable[[Any], Any]]]:
    return [(field.name, _reader(field)) for field in message.fields]


#: By category, how each field of its payload is read.
_READERS = {each: _readers(pb.Envelope.DESCRIPTOR.fields_by_name[each].message_type) for each in CATEGORIES}
