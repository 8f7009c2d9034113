"""How values are cleaned, without any haste: each value by itself. What is quick has to come to the same."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from otel_kafka_exporter.records.redaction import REDACTED, KeyRedaction
from otel_kafka_exporter.records.scalars import clean_float, clean_int, clean_text, text_of, unused_name
from otel_kafka_exporter.records.secret_texts import hide_userinfo
from otel_kafka_exporter.records.values import (
    CIRCULAR,
    MAX_DEPTH,
    TOO_DEEP,
    TOO_MANY,
)

_CHARACTERS_PER_NODE = 64


class PlainWalk:
    """One value, with so many nodes to spend."""

    def __init__(self, nodes: int) -> None:
        self._is_sensitive = KeyRedaction().is_sensitive
        self._left = nodes
        self._within: list[int] = []

    def value(self, value: object, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            return TOO_MANY
        try:
            cleaned = self._cleaned(value, depth)
        except Exception:  # noqa: BLE001 - a value may raise anything
            return f"[UNREADABLE {type(value).__name__}]"
        if type(cleaned) is str:
            self._left -= len(cleaned) // _CHARACTERS_PER_NODE
        return cleaned

    def _cleaned(self, value: object, depth: int) -> Any:  # noqa: PLR0911 - one for each kind
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return hide_userinfo(clean_text(str.__str__(value)))
        if isinstance(value, int):
            return clean_int(int.__int__(value))
        if isinstance(value, float):
            return clean_float(float.__float__(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return base64.b64encode(bytes(value)).decode()
        items = _items(value)
        if items is None and not isinstance(value, Collection):
            return hide_userinfo(text_of(value))
        if id(value) in self._within:
            return CIRCULAR
        if depth > MAX_DEPTH:
            return TOO_DEEP
        self._within.append(id(value))
        try:
            return self._list(value, depth) if items is None else self._object(items, depth)  # type: ignore[arg-type]  # it is a collection
        finally:
            self._within.pop()

    def _object(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for key, value in items:
            if self._left < 0:
                cleaned[unused_name(TOO_MANY, cleaned)] = TOO_MANY
                break
            name = unused_name(_key_text(key), cleaned)
            self._left -= 1 + len(name) // _CHARACTERS_PER_NODE
            cleaned[name] = REDACTED if self._is_sensitive(name) else self.value(value, depth + 1)
        named = [cleaned.get("name"), cleaned.get("key")]
        if (
            depth > 0
            and "value" in cleaned
            and any(isinstance(each, str) and self._is_sensitive(each) for each in named)
        ):
            cleaned["value"] = REDACTED
        return cleaned

    def _list(self, elements: Iterable[Any], depth: int) -> list[Any]:
        cleaned: list[Any] = []
        for element in elements:
            if type(element) in (list, tuple) and len(element) == 2 and self._hides(element[0]):
                self._left -= 3
                cleaned.append([_key_text(element[0]), REDACTED])
            else:
                cleaned.append(self.value(element, depth + 1))
            if self._left < 0:
                cleaned.append(TOO_MANY)
                break
        return cleaned

    def _hides(self, key: object) -> bool:
        return isinstance(key, (str, bytes, bytearray)) and self._is_sensitive(_key_text(key))


def _items(value: Any) -> Iterable[tuple[Any, Any]] | None:
    if isinstance(value, Mapping):
        return value.items()
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=True)
    return None


def _key_text(key: object) -> str:
    if isinstance(key, str):
        return hide_userinfo(clean_text(str.__str__(key)))
    return hide_userinfo(clean_text(key.decode("utf-8", "replace")) if isinstance(key, bytes) else text_of(key))
