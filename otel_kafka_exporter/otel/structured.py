"""What structured loggers put elsewhere: loguru's and structlog's fields become attributes of the record.

loguru has all that was bound in one attribute, `extra`. structlog hands a whole event to `logging`: as a mapping in the
message's place (`wrap_for_formatter`), which `logging` writes as one text, or as JSON text of its own. Left there, an
audit event would be an application record, and a password a part of its text.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes

from otel_kafka_exporter.process import is_interruption, note
from otel_kafka_exporter.records import KafkaRecord, LogRecordBuilder, SdkLogRecord, unused_name
from otel_kafka_exporter.records import attributes as names

#: Where loguru has what was bound.
_EXTRA = "extra"
#: What structlog adds to a record whose message is an event.
_STRUCTLOGS = ("_logger", "_name")
#: Under which an event has its message: structlog's own name, and those of JSON formatters.
_MESSAGE_KEYS = ("event", "message", "msg")


class EventText(str):
    """The text of an event, as every other exporter sees it, with the fields that it was made of."""

    __slots__ = ("fields",)

    fields: Mapping[str, Any]


class EventFormatter(logging.Formatter):
    """For OpenTelemetry's handler: keeps the fields of structlog's events; all else is as without a formatter.

    Nobody can forge fields by what a text says: they travel beside it, within the process.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record's message."""
        text = record.getMessage()
        if type(record.msg) is not dict or not all(name in record.__dict__ for name in _STRUCTLOGS):
            return text
        event = EventText(text)
        fields = dict(record.msg)
        error = fields.pop("exc_info", None)
        if error and not record.exc_info:  # else OpenTelemetry has it already
            fields |= _described(error)
        event.fields = fields
        return event


def _described(error: object) -> dict[str, Any]:
    """An exception, as `exc_info` may hold it, by OpenTelemetry's names."""
    found = error if isinstance(error, BaseException) else error[1] if isinstance(error, tuple) else sys.exc_info()[1]
    if not isinstance(found, BaseException):
        return {}
    return {
        "exception.type": type(found).__name__,
        "exception.message": str(found),
        "exception.stacktrace": "".join(traceback.format_exception(type(found), found, found.__traceback__)),
    }


class StructuredRecordBuilder(LogRecordBuilder):
    """As `LogRecordBuilder`, of records whose fields may be where structured loggers put them."""

    def build(self, record: SdkLogRecord) -> KafkaRecord | None:
        """As of `LogRecordBuilder`."""
        # Not by `super()`, which makes an object for each record before Python 3.12.
        return LogRecordBuilder.build(self, with_fields(record))

    def letter(self, record: SdkLogRecord) -> KafkaRecord:
        """As of `LogRecordBuilder`."""
        return super().letter(with_fields(record))


def with_fields(record: SdkLogRecord) -> SdkLogRecord:
    """The record, with its fields as attributes; the same one where they are that already. Never raises.

    An attribute that has a field's name already stays, and so does the field, where it was.
    """
    try:
        log = record.log_record
        body = log.body
        attributes: Any = log.attributes
        if type(attributes) is BoundedAttributes:
            attributes = attributes._dict  # noqa: SLF001 - a look through the mapping itself costs seven times as much
        elif attributes is None:
            attributes = {}
        kind = type(body)
        if names.CATEGORY in attributes:
            return record  # all has been said; its context may come from a request
        if _EXTRA not in attributes and kind is not EventText and not (kind is str and body[:1] == "{"):  # type: ignore[index]
            return record
        attributes = dict(attributes)
        if isinstance(attributes.get(_EXTRA), Mapping):
            left = _spread(attributes.pop(_EXTRA), attributes)
            if left:
                attributes[_EXTRA] = left
        if isinstance(body, str):
            body = _of_text(body, attributes)
        changed = copy.copy(log)
        changed.body, changed.attributes = body, _as_given(log.attributes, attributes)
        found = copy.copy(record)
        object.__setattr__(found, "log_record", changed)  # one that is exported is frozen
    except BaseException as error:
        if is_interruption(error):
            raise
        return record  # whatever is wrong with it, the converter says so
    return found


def _as_given(given: object, attributes: dict[str, Any]) -> Any:
    """Other attributes, of the SDK's kind, which knows by which limits values were cut, and how many are gone."""
    if not isinstance(given, BoundedAttributes):
        return attributes
    changed = copy.copy(given)
    changed._dict = attributes  # noqa: SLF001 - its constructor would look at each value again
    return changed


def _of_text(text: str, attributes: dict[str, Any]) -> str:
    """The message in an event, whose fields become attributes; the text itself where it is none."""
    trusted = type(text) is EventText
    fields = dict(text.fields) if isinstance(text, EventText) else _json_object(text)
    if _STRUCTLOGS[0] in attributes and not trusted:
        note(
            "structlog",
            "an event of structlog's came as text, with its fields in it, which can be neither redacted nor found:"
            " use render_to_log_kwargs, or opentelemetry-instrument",
        )
    key = next((key for key in _MESSAGE_KEYS if isinstance(fields.get(key), str)), None)
    if key is None:
        return str(text)
    message: str = fields.pop(key)
    if trusted:
        for name in _STRUCTLOGS:
            attributes.pop(name, None)
    left = _spread(fields, attributes, but=None if trusted else _is_reserved)
    if left:
        attributes[unused_name(names.BODY, attributes)] = left
    if not trusted and names.CATEGORY in left:
        note(
            "json",
            "a log message in JSON names an omni.category, which does not count there, since whoever can have a text"
            " logged could forge an event: give it as an attribute",
        )
    return message


def _json_object(text: str) -> dict[str, Any]:
    """The fields of a JSON object; none where the text is not one."""
    if not text.startswith("{") or not text.rstrip().endswith("}"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_reserved(name: str) -> bool:
    return name.startswith(names.RESERVED_PREFIX) or name == names.RECORD_UID


def _spread(fields: Mapping[Any, Any], attributes: dict[str, Any], but: Any = None) -> dict[Any, Any]:
    """Make attributes of fields; those are left whose names are taken, are no text, or must not be taken from there."""
    left = {}
    for name, value in fields.items():
        if not isinstance(name, str) or name in attributes or (but is not None and but(name)):
            left[name] = value
        else:
            attributes[name] = value
    return left
