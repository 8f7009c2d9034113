"""Prints the public surface: each name that users may depend on, with its signature.

Usage: make surface, which writes tests/unit/public_surface.txt

A test compares the two, so that every change of the surface is seen in review.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from typing import Any

from otel_kafka_exporter.settings.settings import FIELDS

MODULES = ("otel_kafka_exporter", "otel_kafka_exporter.testing")


def surface() -> str:
    """The public surface, a line each."""
    lines: list[str] = []
    for name in MODULES:
        module = importlib.import_module(name)
        lines.append(f"[{name}]")
        for each in sorted(module.__all__):
            lines += _name(each, getattr(module, each))
    lines.append("[settings]")
    lines += [f"{name} = {field.metadata['shown']}" for name, field in sorted(FIELDS.items())]
    lines.append("[entry points]")
    for entry in sorted(distribution("otel-kafka-exporter").entry_points, key=lambda each: (each.group, each.name)):
        lines.append(f"{entry.group}: {entry.name}")
    return "\n".join(lines) + "\n"


def _name(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in _members(value))
    elif callable(value):
        yield f"{'async def' if inspect.iscoroutinefunction(value) else 'def'} {name}{inspect.signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def _members(cls: type) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield from (f"{member.name} = {member.value!r}" for member in cls)
        return
    if issubclass(cls, tuple):
        annotations: dict[str, Any] = cls.__annotations__
        yield from (f"{field}: {getattr(kind, '__forward_arg__', kind)}" for field, kind in annotations.items())
        return
    for name, value in sorted(vars(cls).items()):
        if name.startswith("_") and name not in {"__init__", "__aenter__", "__aexit__", "__enter__", "__exit__"}:
            continue
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if isinstance(value, property):
            yield f"{name}: property"
        elif inspect.isfunction(function):
            prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
            yield f"{prefix} {name}{inspect.signature(function)}"
        else:
            yield f"{name} = {value!r}"


if __name__ == "__main__":
    sys.stdout.write(surface())
