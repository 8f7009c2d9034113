"""Protobuf to envelopes, with or without the frame of a Schema Registry client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from otel_kafka_exporter.errors import DecodeError

from . import envelope_pb2 as pb
from .envelope import CATEGORIES, Category, OnexEnvelopeV1, category_of
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
    return whole(*parsed(data))


def parsed(data: bytes) -> tuple[pb.Envelope, Category]:
    """The message in a bare or framed one, all of which can be read, and its category.

    Raises:
        DecodeError: as above.
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
    _check_time(message.timestamp, "timestamp")
    body = getattr(message, category)
    for name, check in _CHECKS[category]:
        check(getattr(body, name), f"payload.{name}")
    return message, category


def whole(message: pb.Envelope, category: Category) -> OnexEnvelopeV1:
    """The envelope that is in such a message."""
    body = getattr(message, category)
    return OnexEnvelopeV1(
        message.event_type,
        message.event_id,
        time_of(message.timestamp),
        message.tenant_id,
        message.namespace,
        message.source,
        message.correlation_id,
        message.causation_id,
        message.schema_ref,
        {name: read(getattr(body, name)) for name, read in READERS[category].items()},
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


def _words(field: Any) -> dict[int, str]:
    """Of an enumeration's values, the words that JSON has for them."""
    return {value.number: _bare(field, value.name) for value in field.enum_type.values if value.number}


def _bare(field: Any, name: str) -> str:
    word = name.removeprefix(f"{field.enum_type.name.upper()}_")
    return word if field.name == "level" else word.lower()


def _reader(field: Any) -> Callable[[Any], Any]:
    """What makes a payload's value of a field's."""
    if field.enum_type is not None:
        return _words(field).__getitem__
    if field.name == "timestamp":
        return time_of
    return object_of if field.name == "context" else str


def _check(field: Any) -> Callable[[Any, str], None] | None:
    """What refuses a field's value; most take any."""
    if field.enum_type is not None:
        return partial(_check_word, _words(field))
    return _check_time if field.name == "timestamp" else None


def _check_word(words: Mapping[int, str], number: int, where: str) -> None:
    if number not in words:
        raise DecodeError(f"{where}: expected {' or '.join(words.values())}, got the number {number}")


def _check_time(stamp: Timestamp, where: str) -> None:
    seconds, nanos = stamp.seconds, stamp.nanos
    if not (0 <= seconds <= _LAST_SECOND and 0 <= nanos <= _MAX_NANOS):
        raise DecodeError(f"{where}: expected a time from 1970 to 9999, got {seconds} seconds and {nanos} nanoseconds")


def time_of(stamp: Timestamp) -> str:
    """A time as text."""
    return f"{_second(stamp.seconds)}.{stamp.nanos // 1000:06d}Z"


@lru_cache(maxsize=16)  # a record has its time twice, and the next one is of the same second
def _second(seconds: int) -> str:
    t = time.gmtime(seconds)
    return f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}"


def object_of(members: Mapping[str, pb.Value]) -> dict[str, Any]:
    """What is in a map, as JSON has it."""
    found: dict[str, Any] = {}
    for name in members:
        value = members[name]  # its items() is written in Python, and takes as long as all the rest
        # Most are texts, and most of the others scalars: without a call each.
        if text := value.string_value:
            found[name] = text
        else:
            kind = value.WhichOneof("kind")
            found[name] = getattr(value, kind) if kind in _SCALARS else _value(value, kind)
    return found


_SCALARS = frozenset(
    {field.name for field in pb.Value.DESCRIPTOR.fields if field.message_type is None and field.enum_type is None}
)


def value_of(value: pb.Value) -> Any:
    """A value as JSON has it."""
    return _value(value, value.WhichOneof("kind"))


def _value(value: pb.Value, kind: str | None) -> Any:
    if kind == "struct_value":
        return object_of(value.struct_value.fields)
    if kind == "list_value":
        return [value_of(element) for element in value.list_value.values]
    # One of a kind that is not known yet is as good as none.
    return None if kind in (None, "null_value") else getattr(value, kind)


def _fields(category: Category) -> list[Any]:
    payload: Any = pb.Envelope.DESCRIPTOR.fields_by_name[category].message_type
    return list(payload.fields)


#: By category, how each field of its payload is read.
READERS = {each: {field.name: _reader(field) for field in _fields(each)} for each in CATEGORIES}
_CHECKS = {
    each: [(field.name, check) for field in _fields(each) if (check := _check(field)) is not None]
    for each in CATEGORIES
}
