"""Which envelopes a test expects, and how those that came differ from it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from otel_kafka_exporter.records import CATEGORIES, PAYLOAD_KEYS, OnexEnvelopeV1, category_of

#: What an envelope's fields are called here beside their own names.
_SERVICE = "service"
_PAYLOAD = {key for keys in PAYLOAD_KEYS.values() for key in keys}
_NAMES = sorted({_SERVICE, *_PAYLOAD, *OnexEnvelopeV1._fields} - {"payload"})
_ABSENT = object()
#: What a line about an envelope says, in this order, where it has it.
_SHOWN = ("level", "service", "logger", "code", "message", "action", "actor", "event_type", "user_id", "resource")
_LAST = ("outcome", "decision", "tenant_id")
_LONGEST = 60  # characters of a value in a line


class Expectation:
    """A category, and what an envelope's fields are.

    Args:
        category: application, audit or security; None for any.
        fields: by name: of the payload, else of the envelope, or `service`, its source. A value is compared with `==`;
            a compiled regular expression is searched for; a mapping is contained.

    Raises:
        TypeError: there is no such category or field; names those that there are.
    """

    def __init__(self, category: str | None, fields: Mapping[str, Any]) -> None:
        if category is not None and category not in CATEGORIES:
            raise TypeError(f"category: expected one of {', '.join(CATEGORIES)}, or None for all, got {category!r}")
        for name in fields:
            if name not in _NAMES:
                close = difflib.get_close_matches(name, _NAMES, 1)
                hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(_NAMES)}"
                raise TypeError(f"{name}: expected the name of an envelope's field{hint}")
        self._category = category
        self._fields = fields

    def __str__(self) -> str:
        wanted = ", ".join(f"{name}={_text(value)}" for name, value in self._fields.items())
        return f"{self._category or 'any'} envelope{' with ' if wanted else ''}{wanted}"

    def concerns(self, envelope: OnexEnvelopeV1) -> bool:
        """Whether an envelope is of the category."""
        return self._category in (None, category_of(envelope.event_type))

    def matches(self, envelope: OnexEnvelopeV1) -> bool:
        """Whether an envelope is as expected."""
        return not self.differences(envelope)

    def differences(self, envelope: OnexEnvelopeV1) -> list[str]:
        """In what it is not, a phrase for each."""
        return list(self._differences(envelope))

    def _differences(self, envelope: OnexEnvelopeV1) -> Iterator[str]:
        if not self.concerns(envelope):
            yield f"category: expected {self._category}, got {category_of(envelope.event_type)}"
            return  # its fields are others
        for name, expected in self._fields.items():
            got = _field(envelope, name)
            if isinstance(expected, Mapping) and isinstance(got, Mapping):
                for key, value in expected.items():
                    if not _is(value, within := got.get(key, _ABSENT)):
                        yield f"{name}[{key!r}]: expected {_text(value)}, got {_text(within)}"
            elif not _is(expected, got):
                yield f"{name}: expected {_text(expected)}, got {_text(got)}"


def line(envelope: OnexEnvelopeV1) -> str:
    """An envelope in one line: its category, what it says, and its context."""
    said = [f"{name}={_text(value)}" for name in _SHOWN if (value := _field(envelope, name, own=True)) is not _ABSENT]
    context = envelope.payload["context"]
    last = [f"{name}={_text(value)}" for name in _LAST if (value := _field(envelope, name, own=True)) is not _ABSENT]
    return " ".join(
        [category_of(envelope.event_type), *said, *last, *([f"context={_text(context)}"] if context else [])]
    )


def _field(envelope: OnexEnvelopeV1, name: str, *, own: bool = False) -> Any:
    """A field's value; with `own` only what the category's payload has, and the service."""
    if name == _SERVICE:
        return envelope.source
    if name in envelope.payload:
        return envelope.payload[name]
    return _ABSENT if own else getattr(envelope, name, _ABSENT)


def _is(expected: Any, got: Any) -> bool:
    if isinstance(expected, re.Pattern):
        return isinstance(got, str) and expected.search(got) is not None
    return got is not _ABSENT and bool(expected == got)  # what equals anything is no field that is not there


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "no such field"
    text = f"/{value.pattern}/" if isinstance(value, re.Pattern) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
