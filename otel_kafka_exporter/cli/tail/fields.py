"""The names that expressions and options have for the parts of a record."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_kafka_exporter.records import Category, OnexEnvelopeV1

from .record import Record, category_of

if TYPE_CHECKING:
    from otel_kafka_exporter.records.protobuf_view import ProtobufView


class Absent(enum.Enum):
    """What stands for a value that is not there."""

    MISSING = "the record has no such field"
    UNKNOWN = "to be known only from the decoded value"


MISSING, UNKNOWN = Absent.MISSING, Absent.UNKNOWN
_EVENTS: tuple[Category, ...] = ("audit", "security")


class Field(NamedTuple):
    """A part of a record.

    Attributes:
        name: as it is written.
        of: its value, in a record whose value was looked at.
        early: the same before that: from the headers, the key and the place; `UNKNOWN` where these do not tell.
        literal: whether its text stands in the value's bytes as it is, in JSON and in Protobuf.
        word: the same, in JSON alone: Protobuf has a number.
    """

    name: str
    of: Callable[[Record], Any]
    early: Callable[[Record], Any]
    literal: bool = False
    word: bool = False


class UnknownFieldError(ValueError):
    """A name is no field's: says which could be meant."""


def field(name: str, path: Sequence[str] = ()) -> Field:
    """The field of a name such as `level`, `context.status` or `header.x-tenant`.

    Args:
        name: with dots between its parts.
        path: more parts, which may have dots themselves.

    Raises:
        UnknownFieldError: there is none.
    """
    first, *rest = name.split(".")
    parts = [*rest, *path]
    if not parts and name in _FIELDS:
        return _FIELDS[name]
    if first in ("context", "payload") and all(parts):
        return _nested(first, parts)
    if first in ("header", "headers") and parts:
        return _header(".".join(parts))
    close = difflib.get_close_matches(name, [*_FIELDS, "context"], n=1)
    meant = f"Did you mean {close[0]}?" if close else f"Is it context.{name}?"
    raise UnknownFieldError(meant)


def names() -> list[str]:
    """The fields that have a name of their own."""
    return list(_FIELDS)


def lookup(value: Any, parts: Sequence[str]) -> Any:
    """What is at a path in nested objects, whose keys may have dots themselves: `a.b` is `a.b` or `b` in `a`."""
    if not parts:
        return value
    if not isinstance(value, Mapping):
        return MISSING
    if len(parts) == 1:
        return value.get(parts[0], MISSING)
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if key in value and (found := lookup(value[key], parts[count:])) is not MISSING:
            return found
    return MISSING


def _envelope(record: Record) -> OnexEnvelopeV1 | ProtobufView:
    if record.view is None:
        raise ValueError("the record's value was not looked at")
    return record.view


def _unknown(_record: Record) -> Absent:
    return UNKNOWN


def _of_header(name: str) -> Callable[[Record], Any]:
    def early(record: Record) -> Any:
        text = record.headers.get(name)
        if text is None:
            return UNKNOWN
        return text.decode(errors="replace") if isinstance(text, bytes) else text

    return early


def _of_categories(categories: Sequence[Category]) -> Callable[[Record], Any]:
    """A field of other categories is not there."""

    def early(record: Record) -> Any:
        category = record.category
        return UNKNOWN if category is None or category in categories else MISSING

    return early


def _of_envelope(name: str, header: str = "") -> Field:
    early = _of_header(header) if header else _unknown
    return Field(name, lambda record: getattr(_envelope(record), name), early, literal=name != "timestamp")


def _of_payload(name: str, categories: Sequence[Category], *, keys: Sequence[str] = (), word: bool = False) -> Field:
    """A field of a payload, by its first key that is there."""

    def of(record: Record) -> Any:
        envelope = _envelope(record)
        if category_of(envelope.event_type) not in categories:
            return MISSING
        payload = envelope.payload
        for key in keys or (name,):
            if key in payload:
                return payload[key]
        return MISSING

    return Field(name, of, _of_categories(categories), literal=not word, word=word)


def _nested(first: str, parts: Sequence[str]) -> Field:
    def of(record: Record) -> Any:
        payload = _envelope(record).payload
        return lookup(payload["context"] if first == "context" else payload, parts)

    return Field(".".join((first, *parts)), of, _unknown)


def _header(name: str) -> Field:
    def of(record: Record) -> Any:
        text = _of_header(name)(record)
        return MISSING if text is UNKNOWN else text

    return Field(f"header.{name}", of, of)


def _key(record: Record) -> Any:
    return MISSING if record.key is None else record.key.decode(errors="replace")


def _category(record: Record) -> Any:
    return category_of(_envelope(record).event_type)


def _early_category(record: Record) -> Any:
    return record.category or UNKNOWN


def _fields() -> dict[str, Field]:
    everywhere = (
        _of_envelope("event_type", "x-event-type"),
        _of_envelope("event_id"),
        _of_envelope("timestamp"),
        _of_envelope("tenant_id", "x-tenant"),
        _of_envelope("namespace"),
        _of_envelope("source"),
        _of_envelope("correlation_id", "x-correlation-id"),
        _of_envelope("causation_id", "x-causation-id"),
        _of_envelope("schema_ref", "x-schema-hash"),
        Field("category", _category, _early_category),
        _of_payload("level", ("application",), word=True),
        *(_of_payload(name, ("application",)) for name in ("service_name", "instance_id", "logger", "message", "code")),
        _of_payload("actor", _EVENTS, keys=("actor", "user_id")),
        _of_payload("action", _EVENTS, keys=("action", "event_type")),
        _of_payload("resource", _EVENTS),
        _of_payload("outcome", _EVENTS, keys=("outcome", "decision"), word=True),
        _of_payload("user_id", ("security",)),
        _of_payload("decision", ("security",), word=True),
        Field("context", lambda record: _envelope(record).payload["context"], _unknown),
        Field("topic", lambda record: record.topic, lambda record: record.topic),
        Field("partition", lambda record: record.partition, lambda record: record.partition),
        Field("offset", lambda record: record.offset, lambda record: record.offset),
        Field("key", _key, _key),
    )
    fields = {each.name: each for each in everywhere}
    for short, name in {"service": "source", "tenant": "tenant_id", "correlation": "correlation_id"}.items():
        fields[short] = fields[name]
    return fields


_FIELDS = _fields()


def of_category(category: Category, topic: str) -> Record:
    """A record that stands for all of a category, for conditions that the category alone decides."""
    return _Any(topic, -1, -1, 0, None, [("x-event-type", f"any.logging.{category}.v1".encode())], None)


class _Any(Record):
    """Its place and key are any."""

    __slots__ = ()


def early_of(each: Field) -> Callable[[Record], Any]:
    """A field's `early`, which knows of a record that stands for a category nothing else."""
    if each.name in ("partition", "offset", "key") or each.name.startswith(("header.", "event_type")):
        return lambda record: UNKNOWN if type(record) is _Any else each.early(record)
    return each.early
