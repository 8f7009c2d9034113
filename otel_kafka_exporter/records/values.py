"""Any Python value as one that JSON can carry. Total: whatever comes in, something comes out, and nothing raises.

| in | out |
|---|---|
| str | itself; NUL and lone surrogates become U+FFFD, userinfo in a URL `[REDACTED]` |
| bytes, bytearray, memoryview | base64 |
| NaN, Infinity; integers beyond 64 bits (-2**63 to 2**64 - 1), or beyond narrower bounds | text |
| mappings, dataclass instances, named tuples | object; keys become text, values of sensitive keys `[REDACTED]` |
| other collections | array; of a pair in one whose first element is a sensitive key, the second is `[REDACTED]` |
| a container more than `MAX_DEPTH` deep, or one that contains itself | a marker |
| what comes after `MAX_NODES` values or 64 times as many characters | a marker |
| what raises while it is read | a marker: its `str()` could show what would have been hidden |
| anything else | its `str()`, or a marker when that raises |
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from otel_kafka_exporter.process import is_interruption

from .redaction import REDACTED
from .scalars import (
    ALL_INTEGERS,
    NOT_JSON_TEXT,
    clean_float,
    clean_int,
    clean_text,
    name_of_type,
    text_of,
    unused_name,
)
from .secret_texts import URL_MARK, hide_userinfo

MAX_DEPTH = 10
#: More values than fit into any record; without a bound a small value that shares its parts could unfold for ever.
MAX_NODES = 250_000
_CHARACTERS_PER_NODE = 64
#: Past these, names are judged again: applications choose them, and a few invent new ones for ever.
_CACHED_NAMES = 4096

TOO_DEEP = "[TOO DEEP]"
CIRCULAR = "[CIRCULAR]"
TOO_MANY = "[TOO MANY VALUES]"
UNREADABLE_MAPPING = "otel.unreadable"

_PAIRS = frozenset({list, tuple})
_NAMES_OF_NAMES = ("name", "key")
_MIN_INT, _MAX_INT = ALL_INTEGERS


class Cleaner:
    """Makes values fit for JSON and hides what is sensitive.

    Args:
        is_sensitive: says by its key whether a value is hidden, e.g. `redaction.KeyRedaction().is_sensitive`.
        text_filter: applied to every text value, e.g. `secret_texts.redact_patterns`.
        integers: the least and the largest that stay numbers; others become text.
    """

    def __init__(
        self,
        is_sensitive: Callable[[str], bool],
        text_filter: Callable[[str], str] | None = None,
        *,
        integers: tuple[int, int] = ALL_INTEGERS,
    ) -> None:
        self.is_sensitive = is_sensitive
        self._text_filter = text_filter
        self.integers = integers
        #: Types whose values `clean` leaves as they are, but for what JSON cannot carry of a text or a number, and for
        #: userinfo in a URL.
        self.unchanged = frozenset(
            {float, bool, type(None)}
            | ({str} if text_filter is None else set())
            | ({int} if integers == ALL_INTEGERS else set())
        )
        #: Short names of members that stay as they are and are not sensitive, seen before.
        self.harmless: set[str] = set()

    def text(self, text: str) -> str:
        """A text as it may leave the process."""
        text = clean_text(text)
        if URL_MARK in text:
            text = hide_userinfo(text)
        return text if self._text_filter is None else self._text_filter(text)

    def clean(self, value: object) -> Any:
        """`value` with JSON's types only, redacted; a container in it counts from depth 1."""
        return _Walk(self).value(value, 1)

    def clean_mapping(self, mapping: Mapping[Any, Any]) -> dict[str, Any]:
        """`mapping` as an object at depth 0, redacted."""
        cleaned = _Walk(self).value(mapping, 0)
        return cleaned if type(cleaned) is dict else {UNREADABLE_MAPPING: cleaned}

    def remember_harmless(self, name: str) -> None:
        """Remember of a name that it stays as it is and is not sensitive; applications use the same ones again."""
        if len(name) < _CHARACTERS_PER_NODE:
            if len(self.harmless) >= _CACHED_NAMES:
                self.harmless.clear()
            self.harmless.add(name)


class _Walk:
    """One value on its way through a `Cleaner`: the containers that it is in, and how much is left of the budget.

    Most values need no change. Of a container of Python's own types that holds nothing but texts and numbers this is
    found out for all its elements at once, in a copy, since the application may go on to change its own.
    """

    __slots__ = ("_cleaner", "_left", "_unchanged", "_within")

    def __init__(self, cleaner: Cleaner) -> None:
        self._cleaner = cleaner
        self._unchanged = cleaner.unchanged
        self._left = MAX_NODES
        self._within: set[int] = set()

    def value(self, value: object, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            return TOO_MANY
        kind = type(value)
        try:
            if kind is dict:
                return self._container(value, value.items(), depth)  # type: ignore[attr-defined]  # by the test before
            if kind is list or kind is tuple:
                return self._array(value, depth)  # type: ignore[arg-type]
            cleaned = self._convert(value, depth)
        except BaseException as error:  # application code runs in here: iterators, properties, even __class__
            if is_interruption(error):
                raise
            return f"[UNREADABLE {name_of_type(kind)}]"
        if type(cleaned) is str:
            self._left -= len(cleaned) // _CHARACTERS_PER_NODE
        return cleaned

    def _array(self, value: list[Any] | tuple[Any, ...], depth: int) -> Any:
        elements = list(value)
        kinds = set(map(type, elements))
        if depth <= MAX_DEPTH and self._unchanged.issuperset(kinds) and self._stay(elements, kinds):
            return elements
        return self._container(value, None, depth)

    def _stay(self, elements: list[Any], kinds: set[type]) -> bool:
        """Whether all of these texts and numbers stay as they are; then, they are paid for."""
        cost = len(elements)
        if str in kinds:
            texts = elements if len(kinds) == 1 else [each for each in elements if type(each) is str]
            text = "".join(texts)
            if URL_MARK in text:
                return False
            if not (text.isascii() and "\0" not in text) and NOT_JSON_TEXT.search(text):
                return False
            if max(map(len, texts)) >= _CHARACTERS_PER_NODE:
                cost += sum(len(each) // _CHARACTERS_PER_NODE for each in texts)
        if int in kinds:
            numbers = elements if len(kinds) == 1 else [each for each in elements if type(each) is int]
            if min(numbers) < _MIN_INT or max(numbers) > _MAX_INT:
                return False
        if float in kinds:
            floats = elements if len(kinds) == 1 else [each for each in elements if type(each) is float]
            if not all(map(math.isfinite, floats)):
                return False
        if cost > self._left:
            return False
        self._left -= cost
        return True

    def _convert(self, value: object, depth: int) -> Any:  # noqa: PLR0911 - one for each kind
        if value is None or value is True or value is False:
            return value
        # The base type's own conversion: a subclass may do anything in its __str__, __int__ or __float__.
        if isinstance(value, str):
            return self._cleaner.text(str.__str__(value))
        if isinstance(value, int):
            return clean_int(int.__int__(value), self._cleaner.integers)
        if isinstance(value, float):
            return clean_float(float.__float__(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return base64.b64encode(bytes(value)).decode("ascii")
        items = _items(value)
        if items is None and not isinstance(value, Collection):
            return self._cleaner.text(text_of(value))
        return self._container(value, items, depth)

    def _container(self, value: object, items: Iterable[tuple[Any, Any]] | None, depth: int) -> Any:
        """A collection; one with names has `items`."""
        if id(value) in self._within:
            return CIRCULAR
        if depth > MAX_DEPTH:
            return TOO_DEEP
        self._within.add(id(value))
        try:
            if items is not None:
                return self._mapping(items, depth)
            return self._sequence(value, depth)  # type: ignore[arg-type]  # a collection, by the test above
        finally:
            self._within.discard(id(value))

    def _mapping(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:  # noqa: C901, PLR0912 - a value's way, without the calls
        cleaned: dict[str, Any] = {}
        harmless, unchanged = self._cleaner.harmless, self._unchanged
        left = self._left
        try:
            for key, value in items:
                if left < 0:
                    cleaned[unused_name(TOO_MANY, cleaned)] = TOO_MANY
                    break
                if type(key) is str and key in harmless and key not in cleaned:
                    name = key
                    left -= 1
                else:
                    name = unused_name(_key_text(key), cleaned)
                    left -= 1 + len(name) // _CHARACTERS_PER_NODE
                    if self._cleaner.is_sensitive(name):
                        cleaned[name] = REDACTED
                        continue
                    self._cleaner.remember_harmless(name)
                # What most values are, without a call.
                kind = type(value)
                if left > 0 and kind in unchanged:
                    if kind is str:
                        if value.isascii() and "\0" not in value and "://" not in value:
                            left -= 1 + len(value) // _CHARACTERS_PER_NODE
                            cleaned[name] = value
                            continue
                    elif kind is int:
                        if _MIN_INT <= value <= _MAX_INT:
                            left -= 1
                            cleaned[name] = value
                            continue
                    elif kind is not float or math.isfinite(value):
                        left -= 1
                        cleaned[name] = value
                        continue
                self._left = left
                cleaned[name] = self.value(value, depth + 1)
                left = self._left
        finally:  # what raises in the middle has been paid for, too
            self._left = left
        if "value" in cleaned and depth:
            self._hide_named(cleaned)
        return cleaned

    def _hide_named(self, cleaned: dict[str, Any]) -> None:
        """A pair that is written as an object, `{"name": "authorization", "value": "Bearer …"}`."""
        for name in _NAMES_OF_NAMES:
            named = cleaned.get(name)
            if type(named) is str and self._cleaner.is_sensitive(named):
                cleaned["value"] = REDACTED

    def _sequence(self, elements: Iterable[Any], depth: int) -> list[Any]:
        cleaned: list[Any] = []
        for element in elements:
            if element.__class__ in _PAIRS and len(element) == 2 and self._is_sensitive_pair(element):  # noqa: PLR2004
                self._left -= 3
                cleaned.append([_key_text(element[0]), REDACTED])
            else:
                cleaned.append(self.value(element, depth + 1))
            if self._left < 0:
                cleaned.append(TOO_MANY)
                break
        return cleaned

    def _is_sensitive_pair(self, pair: Sequence[Any]) -> bool:
        """Whether the second hides for the first, as of the headers of WSGI, and with bytes of ASGI."""
        key = pair[0]
        return isinstance(key, (str, bytes, bytearray)) and self._cleaner.is_sensitive(_key_text(key))


def _items(value: object) -> Iterable[tuple[Any, Any]] | None:
    """The fields of what has named fields; their names may be sensitive, which its `str()` would show."""
    if isinstance(value, Mapping):
        return value.items()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value, [field.name for field in dataclasses.fields(value)])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _fields(value, value._fields)
    return None


def _fields(value: object, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(value, name)) for name in names if hasattr(value, name))


def _key_text(key: object) -> str:
    if isinstance(key, str):
        text = clean_text(str.__str__(key))
    elif isinstance(key, (bytes, bytearray)):
        text = clean_text(bytes(key).decode("utf-8", "replace"))
    else:
        text = text_of(key)
    return hide_userinfo(text) if URL_MARK in text else text
