"""Envelopes for readers: one line each, one in full, and the accounting; coloured on a terminal, plain in a pipe."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Literal, TextIO

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from otel_kafka_exporter.records import OnexEnvelopeV1

from .tally import Line, category_of

_STYLES = {
    "DEBUG": "dim",
    "INFO": "green",
    "WARN": "yellow",
    "ERROR": "bold red",
    "audit": "cyan",
    "security": "magenta",
}
_TIME_WIDTH, _KIND_WIDTH, _SERVICE_WIDTH, _CORRELATION_WIDTH = 8, 8, 10, 8
_MIN_MESSAGE_WIDTH = 36  # with less, other columns give way
_PIPED_MESSAGE_WIDTH = 48  # there, a longer one is not cut
_GAP = "  "
_SENTENCES = {
    "audit": ("actor", "action", "resource", "outcome"),
    "security": ("user_id", "event_type", "resource", "decision"),
}

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?", re.DOTALL)


class Screen:
    """Writes to a terminal or a pipe.

    Args:
        file: where to; stdout unless given.
        width: of the terminal; found out unless given.
    """

    def __init__(self, file: TextIO | None = None, width: int | None = None) -> None:
        # rich by itself leaves bold and dim to NO_COLOR.
        colors: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
        # No markup, emoji codes or highlighting: what is written comes from log records.
        self._console = Console(
            file=file,
            width=width,
            color_system=colors,
            markup=False,
            emoji=False,
            highlight=False,
        )
        self._width = self._console.width if self._console.is_terminal else None

    def say(self, text: str = "", style: str = "") -> None:
        """Write a paragraph; on a terminal it is wrapped."""
        self._print(Text(text, style))

    def fact(self, name: str, text: str) -> None:
        """Write a line with its name before it."""
        self._print(Text.assemble((f"{name:<9}", "bold"), text))

    def columns(self) -> None:
        """Write what stands in the columns of `record`."""
        line = _row("time UTC", "level", "service", "message", "corr. ID", self._width)
        line.stylize("dim")
        self._print(line)

    def record(self, envelope: OnexEnvelopeV1) -> None:
        """Write an envelope as one line."""
        self._print(record_line(envelope, self._width))

    def envelope(self, envelope: OnexEnvelopeV1) -> None:
        """Write an envelope in full."""
        self._print(JSONHighlighter()(Text(pretty(envelope))))

    def accounting(self, lines: Sequence[Line]) -> None:
        """Write the accounting as a table."""
        self._print(Text(f"{'':<12}{'emitted':>8}{'arrived':>9}{'lost':>6}", "dim"))
        for line in lines:
            lost = (f"{line.lost:>6}", "bold red" if line.lost else "green")
            self._print(Text.assemble(f"{line.name:<12}{line.emitted:>8}{line.arrived:>9}", lost))

    def _print(self, text: Text) -> None:
        # In a pipe there is no width to wrap at.
        self._console.print(text, soft_wrap=self._width is None)


def record_line(envelope: OnexEnvelopeV1, width: int | None) -> Text:
    """An envelope on one line.

    Args:
        envelope: what to show.
        width: of the terminal, which the line does not exceed; None for a pipe.
    """
    payload = envelope.payload
    category = category_of(envelope)
    if category == "application":
        kind, message = str(payload.get("level")), str(payload.get("message"))
    else:
        kind, message = category, " ".join(str(payload.get(name)) for name in _SENTENCES[category])
    line = _row(envelope.timestamp[11:19], kind, envelope.source, message, envelope.correlation_id, width)
    line.stylize("dim", 0, _TIME_WIDTH)
    start = _TIME_WIDTH + len(_GAP)
    line.stylize(_STYLES.get(kind, ""), start, start + len(kind))
    return line


def pretty(envelope: OnexEnvelopeV1) -> str:
    """An envelope as JSON on many lines, without a character that does something to a terminal."""
    text = json.dumps(envelope._asdict(), indent=2, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def visible(text: str) -> str:
    """`text` on one line, without escape sequences and control characters: a record may hold what moves a cursor."""
    text = _ESCAPE_SEQUENCE.sub("", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _row(time: str, kind: str, service: str, message: str, correlation: str, width: int | None) -> Text:
    cells = [_cell(time, _TIME_WIDTH), _cell(kind, _KIND_WIDTH)]
    service_cell = _cell(service, _SERVICE_WIDTH)
    if width is None:
        whole = visible(message).ljust(_PIPED_MESSAGE_WIDTH)
        start = visible(correlation[:_CORRELATION_WIDTH])
        return Text(_GAP).join([*cells, service_cell, Text(whole), Text(start)])
    # The narrower the terminal, the fewer columns: the message is what matters.
    left = width - _TIME_WIDTH - _KIND_WIDTH - 2 * len(_GAP)
    tail: list[Text] = []
    if left - _CORRELATION_WIDTH - len(_GAP) >= _MIN_MESSAGE_WIDTH:
        tail = [_cell(correlation[:_CORRELATION_WIDTH], _CORRELATION_WIDTH)]
        left -= _CORRELATION_WIDTH + len(_GAP)
    if left - _SERVICE_WIDTH - len(_GAP) >= _MIN_MESSAGE_WIDTH:
        cells.append(service_cell)
        left -= _SERVICE_WIDTH + len(_GAP)
    line = Text(_GAP).join([*cells, _cell(message, max(left, 1)), *tail])
    line.truncate(width, overflow="ellipsis")
    return line


def _cell(text: str, width: int) -> Text:
    cell = Text(visible(text))
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell
