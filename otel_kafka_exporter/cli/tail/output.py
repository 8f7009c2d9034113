"""Where records go: lines for a person, JSON documents, or bytes."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from otel_kafka_exporter.records import encode_json

from .record import Record
from .rendering import Renderer, View


class Output(Protocol):
    """Takes records, and writes them with the next `flush`."""

    def show(self, record: Record, notes: Sequence[str], *, duplicate: bool) -> None:
        """Take a record.

        Args:
            record: the record.
            notes: words about it, such as `late`.
            duplicate: whether one of its event_id came before.
        """

    def flush(self) -> None:
        """Write what was taken. BrokenPipeError when nobody reads it."""


class HumanOutput:
    """Lines for a person.

    Args:
        view: how records are shown.
    """

    def __init__(self, view: View) -> None:
        self._renderer = Renderer(view)
        self._is_terminal = view.width is not None
        self._lines: list[str] = []

    def show(self, record: Record, notes: Sequence[str], *, duplicate: bool) -> None:
        self._lines += self._renderer.record(record, [*notes, *(["duplicate"] if duplicate else [])], dim=duplicate)

    def flush(self) -> None:
        if self._lines:
            write("\n".join(self._lines) + "\n")
            self._lines.clear()
        if self._is_terminal:
            self._renderer.resize(terminal_width())


class JsonOutput:
    """One document a line; its keys are API, and are described in docs/command-line.md."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def show(self, record: Record, notes: Sequence[str], *, duplicate: bool) -> None:
        self._lines.append(as_json(record, late="late" in notes, duplicate=duplicate))

    def flush(self) -> None:
        if self._lines:
            write("\n".join(self._lines) + "\n")
            self._lines.clear()


class RawOutput:
    """Values as they are, with a line's end behind each."""

    def __init__(self) -> None:
        self._values: list[bytes] = []

    def show(self, record: Record, notes: Sequence[str], *, duplicate: bool) -> None:  # noqa: ARG002 - not part of a value
        self._values.append(record.value or b"")

    def flush(self) -> None:
        if self._values:
            sys.stdout.flush()
            sys.stdout.buffer.write(b"\n".join(self._values) + b"\n")
            sys.stdout.buffer.flush()
            self._values.clear()


def as_json(record: Record, *, late: bool = False, duplicate: bool = False) -> str:
    """A record as one line of JSON, in which characters that do something to a terminal are escaped."""
    document: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition if record.outbox is None else None,
        "offset": record.offset if record.outbox is None else None,
        "timestamp": record.milliseconds,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "headers": {name: _text(value) for name, value in record.headers.items()},
        "envelope": None if record.envelope is None else orjson.Fragment(encode_json(record.envelope)),
        "error": record.problem or None,
        "value": (record.value or b"").decode(errors="replace") if record.problem else None,
        "late": late,
        "duplicate": duplicate,
        "outbox": None if record.outbox is None else {**record.outbox._asdict(), "row": record.offset},
    }
    text = orjson.dumps(document).decode()
    return text if text.isascii() and "\x7f" not in text else _escaped(text)


def _escaped(text: str) -> str:
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def write(text: str) -> None:
    """Write to stdout, now."""
    sys.stdout.write(text)
    sys.stdout.flush()


def is_terminal() -> bool:
    """Whether stdout is one."""
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Its columns."""
    return shutil.get_terminal_size().columns


def wants_color(choice: str) -> bool:
    """Whether styles are written.

    Args:
        choice: `auto`, `always` or `never`. `auto` is for a terminal that has them, unless NO_COLOR says otherwise.
    """
    if choice != "auto":
        return choice == "always"
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def is_reader_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more, which writing would say only at the next record."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False  # no descriptor, as in a test
