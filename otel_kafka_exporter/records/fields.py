"""One field of an envelope from one value of a log record: what counts as given, and what it becomes.

A value that does not count gives None, so that the caller goes on to the field's next source; a field of audit and
security events, which has one source only, gives a `ConversionError` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from opentelemetry._logs import SeverityNumber

from otel_kafka_exporter.errors import ConversionError

from . import attributes as names
from .envelope import CATEGORIES, Category, Level
from .ids import parse_event_id
from .scalars import clean_int, clean_text
from .values import Cleaner

MAX_ID_LENGTH = 255
MAX_SERVICE_NAME_LENGTH = 256
MAX_TENANT_ID_LENGTH = 128

_Choice = TypeVar("_Choice", bound=str)

_LEVELS: tuple[Level, ...] = ("DEBUG", "DEBUG", "INFO", "WARN", "ERROR", "ERROR")
_LEVEL_BY_TEXT: dict[str, Level] = {
    "TRACE": "DEBUG",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "NOTICE": "INFO",
    "WARN": "WARN",
    "WARNING": "WARN",
    "ERROR": "ERROR",
    "CRITICAL": "ERROR",
    "FATAL": "ERROR",
}
# OpenTelemetry's numbers come in six ranges of four: TRACE 1-4, … FATAL 21-24. With a level goes the name that the
# severity has without a text of its own: "DEBUG2" says more than DEBUG.
_LEVEL_BY_NUMBER: dict[object, tuple[Level, str]] = {
    number.value: (_LEVELS[(number.value - 1) // 4], number.name) for number in SeverityNumber if number.value > 0
}


def level_of(number: object, text: object) -> tuple[Level, str | None]:
    """A record's level, and its severity's text where the level alone would lose something.

    By number; by text when there is no number; INFO when there is neither.
    """
    try:
        # An enum's member hashes in Python, its value in C. A caller of the API may hand over the bare number.
        level, name = _LEVEL_BY_NUMBER[getattr(number, "_value_", number)]
    except (KeyError, TypeError):
        level, name = "INFO", ""
        if isinstance(text, str):
            level = _LEVEL_BY_TEXT.get(text.strip().upper(), "INFO")
    if text == level and name in ("", level):
        return level, None
    if isinstance(text, str) and text and text != level:
        return level, str.__str__(text)
    return level, name if name not in ("", level) else None


def level_named(name: object) -> tuple[Level, str | None]:
    """A level by its name, in any case of letters, and that name where the level alone would lose something.

    Raises:
        ConversionError: there is no such level.
    """
    name = unwrapped(name)
    text = str.__str__(name).strip().upper() if isinstance(name, str) else ""
    level = _LEVEL_BY_TEXT.get(text)
    if level is None:
        raise ConversionError("level", f"expected DEBUG, INFO, WARN or ERROR, got {describe(name)}")
    return level, text if text not in (level, "WARNING") else None


def unwrapped(value: object) -> object:
    """An enum's member as its value, whichever kind of enum it is; anything else as it is."""
    return value._value_ if issubclass(type(value), Enum) else value  # type: ignore[attr-defined]  # by the test before


def identifier(value: object, limit: int = MAX_ID_LENGTH) -> str | None:
    """A caller's ID: text as it is, a UUID as text; None when blank, too long, with NUL, or of another type."""
    if not isinstance(value, str):
        value = unwrapped(value)
        if not isinstance(value, str):
            return str(value) if isinstance(value, UUID) else None
    text = str.__str__(value)
    if len(text) > limit or not text.strip() or clean_text(text) != text:
        return None
    return text


def required_text(cleaner: Cleaner, attributes: dict[str, Any], name: str) -> str:
    """A field of an audit or security event, taken out of `attributes`: text, or a UUID or integer as text.

    Raises:
        ConversionError: it is missing, blank, or of another type.
    """
    return text_field(cleaner, name, attributes.pop(name, None))


def text_field(cleaner: Cleaner, name: str, value: object) -> str:
    """The same of a value by itself."""
    if type(value) is not str:
        value = unwrapped(value)
        if isinstance(value, UUID):
            value = str(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            value = str(clean_int(int.__int__(value)))
    if isinstance(value, str) and value.strip():
        return cleaner.text(str.__str__(value))
    raise ConversionError(name, f"expected text, got {describe(value)}")


def required_choice(attributes: dict[str, Any], name: str, choices: Sequence[_Choice]) -> _Choice:
    """A field of an audit or security event that is one of a few words, taken out of `attributes`.

    Raises:
        ConversionError: it is missing or another word.
    """
    return choice_field(name, attributes.pop(name, None), choices)


def choice_field(name: str, value: object, choices: Sequence[_Choice]) -> _Choice:
    """The same of a value by itself."""
    if type(value) is not str:
        value = unwrapped(value)
    for choice in choices:
        if isinstance(value, str) and value == choice:
            return choice
    raise ConversionError(name, f"expected {' or '.join(choices)}, got {describe(value)}")


def describe(value: object) -> str:
    """A wrong value by its kind: the value itself may be a secret put into the wrong field."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "another text" if value.strip() else "blank text"
    return type(value).__name__


_FLAGS = tuple(f"{flags:02x}" for flags in range(256))


def trace_context(trace_id: object, span_id: object, flags: object) -> tuple[str | None, str | None]:
    """A trace ID as a dashed UUID, and the W3C traceparent of both IDs; None for what there is not."""
    if type(trace_id) is not int or not 0 < trace_id < 1 << 128:
        return None, None
    digits = trace_id.to_bytes(16, "big").hex()
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    if type(span_id) is not int or not 0 < span_id < 1 << 64:
        return uuid, None
    byte = flags & 0xFF if isinstance(flags, int) else 0
    return uuid, f"00-{digits}-{span_id.to_bytes(8, 'big').hex()}-{_FLAGS[byte]}"


def take_category(attributes: dict[str, Any]) -> Category | None:
    """The category that `attributes` name, taken out of them; None when they name none.

    Raises:
        ConversionError: they name another one.
    """
    value = attributes.pop(names.CATEGORY, None)
    if value is None:
        return None
    for category in CATEGORIES:
        if isinstance(value, str) and value == category:
            return category
    raise ConversionError(names.CATEGORY, f"expected {', '.join(CATEGORIES)}, got another {type(value).__name__}")


def take_id(attributes: dict[str, Any], name: str, limit: int = MAX_ID_LENGTH) -> str | None:
    """The ID of that name, taken out of `attributes`; one that does not count stays where it is."""
    text = identifier(attributes.get(name), limit)
    if text is not None:
        del attributes[name]
    return text


def take_ids(attributes: dict[str, Any]) -> tuple[str | None, str | None, str | None, str | None]:
    """The caller's event, tenant, correlation and causation ID."""
    return (
        _take_event_id(attributes) if names.RECORD_UID in attributes else None,
        take_id(attributes, names.TENANT_ID, MAX_TENANT_ID_LENGTH) if names.TENANT_ID in attributes else None,
        take_id(attributes, names.CORRELATION_ID) if names.CORRELATION_ID in attributes else None,
        take_id(attributes, names.CAUSATION_ID) if names.CAUSATION_ID in attributes else None,
    )


def _take_event_id(attributes: dict[str, Any]) -> str | None:
    """The caller's UUID or ULID, as a UUID."""
    text = identifier(attributes.get(names.RECORD_UID))
    event_id = text and parse_event_id(text)
    if event_id:
        del attributes[names.RECORD_UID]
    return event_id or None
