"""Kafka records as the outbox keeps them, to and from bytes: the payload of docs/outbox-format.md.

The layout belongs to the version of the segment's format: whoever changes it gives that another number.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from otel_kafka_exporter.records import Category, Header, KafkaRecord

# nanoseconds, milliseconds; how many headers; the bytes of topic, event ID, reason, key and value.
_HEAD = "<qqIIIIII"
_HEAD_STRUCT = Struct(_HEAD)
_NONE = 0xFFFFFFFF  # in place of a length: None, which is not the same as empty


class Row(NamedTuple):
    """One record in the outbox.

    Attributes:
        record: the record; a header's text has become bytes, and `cuts` is not kept.
        reason: why it is a dead letter; empty for a record that waits.
        nanoseconds: when it was put here, in Unix nanoseconds.
    """

    record: KafkaRecord
    reason: str
    nanoseconds: int


class _Names(NamedTuple):
    """What the names of a record's headers are in a row: almost all records have the same.

    Attributes:
        layout: the head of such a row.
        lengths: of each name.
        joined: the names.
    """

    layout: Struct
    lengths: tuple[int, ...]
    joined: bytes


@lru_cache(maxsize=64)
def _names(names: tuple[str, ...]) -> _Names:
    encoded = [name.encode() for name in names]
    return _Names(Struct(f"{_HEAD}{2 * len(names)}I"), tuple(map(len, encoded)), b"".join(encoded))


def encode_row(record: KafkaRecord, reason: str = "", nanoseconds: int = 0) -> bytes:
    """The bytes of a record; its category is not among them, since the stream that it is put in tells it."""
    topic, key, value, headers, milliseconds, _, event_id = record[:7]
    names, values = zip(*headers) if headers else ((), ())  # noqa: B905 - pairs
    layout, name_lengths, joined = _names(names)
    topic_bytes = topic.encode()
    # The ID and the reason may quote what an application gave, lone surrogates included.
    event_id_bytes = event_id.encode("utf-8", "backslashreplace")
    reason_bytes = reason.encode("utf-8", "backslashreplace") if reason else b""
    try:
        # All are bytes, as in every record of our own; what is not is a TypeError in here.
        texts = b"".join(values)
        lengths: Iterable[int] = map(len, values)
    except TypeError:
        found = [text.encode() if isinstance(text, str) else text for text in values]
        texts = b"".join([text or b"" for text in found])
        lengths = (_NONE if text is None else len(text) for text in found)
    head = layout.pack(
        nanoseconds,
        milliseconds,
        len(names),
        len(topic_bytes),
        len(event_id_bytes),
        len(reason_bytes),
        _NONE if key is None else len(key),
        len(value),
        *name_lengths,
        *lengths,
    )
    return b"".join((head, topic_bytes, event_id_bytes, reason_bytes, key or b"", value, joined, texts))


def decode_row(payload: bytes | memoryview, category: Category = "application") -> Row:
    """The record that a row's bytes hold.

    Args:
        payload: what `encode_row` made.
        category: what the stream tells.

    Raises:
        ValueError: these bytes are no row.
    """
    payload = bytes(payload)
    if len(payload) < _HEAD_STRUCT.size:
        raise ValueError(f"expected a row of at least {_HEAD_STRUCT.size} bytes, got {len(payload)}")
    nanoseconds, milliseconds, count, *lengths = _HEAD_STRUCT.unpack_from(payload)
    start = _HEAD_STRUCT.size + 8 * count
    if start > len(payload):
        raise ValueError(f"expected the lengths of {count} headers, got {len(payload)} bytes in all")
    lengths += Struct(f"<{2 * count}I").unpack_from(payload, _HEAD_STRUCT.size)
    parts: list[bytes | None] = []
    end = start
    for length in lengths:
        if length == _NONE:
            parts.append(None)
        else:
            parts.append(payload[end : end + length])
            end += length
    if end != len(payload):
        raise ValueError(f"expected a row of {end} bytes, got {len(payload)}")
    topic, event_id, reason, key, value = parts[:5]
    headers: list[Header] = [
        (_text(name), text) for name, text in zip(parts[5 : 5 + count], parts[5 + count :], strict=True)
    ]
    if value is None:
        raise ValueError("expected a value, got none")
    record = KafkaRecord(_text(topic), key, value, headers, milliseconds, category, _text(event_id))
    return Row(record, _text(reason), nanoseconds)


def time_of(payload: bytes) -> int:
    """When a row was put here, in Unix nanoseconds; 0 where these bytes are no row."""
    return int.from_bytes(payload[:8], "little", signed=True) if len(payload) >= _HEAD_STRUCT.size else 0


def topic_of(payload: bytes) -> str | None:
    """The topic of a row's record, without reading the rest; None where these bytes are no row."""
    if len(payload) < _HEAD_STRUCT.size:
        return None
    _, _, count, length, *_ = _HEAD_STRUCT.unpack_from(payload)
    start = _HEAD_STRUCT.size + 8 * count
    if start + length > len(payload):
        return None
    return payload[start : start + length].decode(errors="replace")


def _text(part: bytes | None) -> str:
    if part is None:
        raise ValueError("expected a text, got none")
    return part.decode()
