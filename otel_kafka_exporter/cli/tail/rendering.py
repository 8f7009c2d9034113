"""Records as a person reads them: a line each, and below it what does not belong on a line."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from typing import Any, NamedTuple

from rich.cells import cell_len

from .fields import MISSING, Field
from .matching import text_of
from .record import Record, category_of
from .runs import Run, cut_runs, marked, wrapped_runs
from .text import cut, in_short, lines, pad, visible, wrapped

#: Of an exception, OpenTelemetry's names; the first is shown below the line.
STACK_TRACE = "exception.stacktrace"
_COLORS = {"DEBUG": "2", "INFO": "32", "WARN": "33", "ERROR": "1;31", "audit": "36", "security": "35"}
_OUTCOMES = {"success": "32", "allow": "32", "failure": "31", "deny": "31"}
_SERVICES = ("36", "34", "35", "32", "33", "96", "94", "95", "92")
_DIM, _BAD, _BOLD = "2", "33", "1"
_KIND, _SERVICE, _CORRELATION = 8, 12, 8
_WIDE, _MEDIUM = 100, 72  # columns of a terminal, below which columns of ours give way
_LEAST_PAIRS = 24
_CUT_VALUE, _CUT_DEAD_LETTER = 60, 300


class View(NamedTuple):
    """How records are shown.

    Attributes:
        width: columns of the terminal; None for a pipe, where nothing is cut or wrapped.
        color: whether styles are written.
        zone: that times are shown in; the machine's own unless given.
        fields: what stands behind the message, instead of the context.
        hide: names of fields that are not shown.
        expand: whether the whole envelope is shown below each line.
        offsets: whether each line says where the record is.
        story: whether each line says how long after the first one it was.
        marks: patterns that are highlighted.
        tenant: whose records need not say so.
    """

    width: int | None = None
    color: bool = False
    zone: tzinfo | None = None
    fields: Sequence[Field] = ()
    hide: frozenset[str] = frozenset()
    expand: bool = False
    offsets: bool = False
    story: bool = False
    marks: Sequence[re.Pattern[str]] = ()
    tenant: str = "default"


class Renderer:
    """Makes lines of records; knows which day and which story it is in.

    Args:
        view: how.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._day = ""
        self._start: float | None = None

    def resize(self, width: int) -> None:
        """The terminal has another width now."""
        self._view = self._view._replace(width=width)

    def record(self, record: Record, notes: Sequence[str] = (), *, dim: bool = False) -> Iterator[str]:
        """A record's lines.

        Args:
            record: what is shown.
            notes: words about it, such as `late`.
            dim: whether all of it is to stand back.
        """
        moment = self._moment(record)
        if self._view.width is not None and (day := f"{moment:%Y-%m-%d}") != self._day:
            if self._day or day != f"{datetime.now(self._view.zone).astimezone(self._view.zone):%Y-%m-%d}":
                yield self._line([(f"── {day} ──", _DIM)], dim=False)
            self._day = day
        prefix, correlation = self._prefix(record, moment)
        message, below = self._message(record)
        pairs = list(self._pairs(record, notes))
        for runs in self._laid_out(prefix, message, pairs, correlation):
            yield self._line(runs, dim=dim)
        indent = "    " if self._view.width is None or self._view.width < _MEDIUM else " " * 8
        for line in below:
            for part in self._fitted(line, indent):
                yield self._line([(part, _DIM)], dim=dim)
        if self._view.expand:
            for name, text in self._expanded(record):
                for part in self._fitted(f"{name}: {text}", indent):
                    yield self._line([(part, _DIM)], dim=dim)

    def _moment(self, record: Record) -> datetime:
        if record.envelope is not None:
            try:
                moment = datetime.fromisoformat(record.envelope.timestamp[:26].removesuffix("Z") + "+00:00")
                return moment.astimezone(self._view.zone)
            except ValueError:
                pass  # another writer's
        try:
            moment = datetime.fromtimestamp(max(record.milliseconds, 0) / 1000, timezone.utc)
        except (ValueError, OverflowError, OSError):
            moment = datetime.fromtimestamp(0, timezone.utc)
        return moment.astimezone(self._view.zone)

    def _prefix(self, record: Record, moment: datetime) -> tuple[list[Run], str]:
        """The columns before the message, and the correlation ID where it is shown."""
        view = self._view
        wide = view.width is None or view.width >= _WIDE
        runs: list[Run] = []
        if "timestamp" not in view.hide:
            clock = f"{moment:%H:%M:%S}" + (f".{moment.microsecond // 1000:03}" if wide else "")
            runs.append((f"{moment:%Y-%m-%d} {clock}{_offset(moment)}" if view.width is None else clock, _DIM))
        if view.story:
            seconds = moment.timestamp()
            self._start = seconds if self._start is None else self._start
            runs.append((f"{elapsed(seconds - self._start):>9}", _BOLD))
        if record.envelope is None:
            return [*runs, (pad("?", _KIND if wide else 5), _BAD)], ""
        kind = category_of(record.envelope.event_type)
        name = str(record.envelope.payload["level"]) if kind == "application" else str(kind)
        if "level" not in view.hide:
            runs.append(
                (pad(visible(name), _KIND if view.width is None or view.width >= _MEDIUM else 5), _COLORS.get(name, ""))
            )
        if "source" not in view.hide and (view.width is None or view.width >= _MEDIUM):
            service = visible(record.envelope.source)
            color = _SERVICES[zlib.crc32(service.encode("utf-8", "replace")) % len(_SERVICES)]
            runs.append((service.ljust(_SERVICE) if view.width is None else pad(service, _SERVICE), color))
        shown = wide and not view.story and "correlation_id" not in view.hide
        return runs, visible(record.envelope.correlation_id[-_CORRELATION:]) if shown else ""

    def _message(self, record: Record) -> tuple[list[Run], list[str]]:
        """What the record says, in one line, and what goes below it."""
        envelope = record.envelope
        if envelope is None:
            # A dead letter that never became an envelope has its reason beside it; elsewhere the problem is news.
            dead = record.outbox is not None and record.outbox.reason
            said = cut(visible(_value(record)), _CUT_DEAD_LETTER) if dead else f"{record.place}: {record.problem}"
            return [(visible(said), _BAD)], []
        payload = envelope.payload
        short = str if self._view.width is None else in_short
        category = category_of(envelope.event_type)
        if category == "application":
            first, *below = lines(short(payload["message"]))
            runs = [(first, "")]
        else:
            names = ("actor", "action", "resource", "outcome")
            names = ("user_id", "event_type", "resource", "decision") if category == "security" else names
            who, what, on, outcome = (visible(str(payload[name])) for name in names)
            runs = [(who, _BOLD), (f" {what} on {on}: ", ""), (outcome, _OUTCOMES.get(outcome, ""))]
            said = payload["context"].get("message")
            below = []
            if isinstance(said, str):
                first, *below = lines(short(said))
                runs.append((f"  {first}", ""))
        trace = payload["context"].get(STACK_TRACE)
        if isinstance(trace, str) and "context" not in self._view.hide and STACK_TRACE not in self._view.hide:
            below += lines(short(trace.rstrip()))
        return runs, below

    def _pairs(self, record: Record, notes: Sequence[str]) -> Iterator[Run]:
        """What stands behind the message: where it is, words about it, and the rest as `name=value`."""
        view = self._view
        if view.offsets:
            yield visible(record.place), _DIM
        yield from ((f"({note})", _BAD) for note in notes)
        if record.envelope is None:
            return
        payload = record.envelope.payload
        if view.fields:
            chosen: Iterable[tuple[str, Any]] = ((each.name, each.of(record)) for each in view.fields)
        else:
            chosen = self._usual(record.envelope.tenant_id, payload)
        for name, value in chosen:
            if value is not MISSING:
                text = visible(text_of(value))
                yield f"{visible(name)}={text if view.width is None else cut(text, _CUT_VALUE)}", _DIM

    def _usual(self, tenant: str, payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        hide = self._view.hide
        if tenant != self._view.tenant and "tenant_id" not in hide:
            yield "tenant", tenant
        if payload.get("code", "UNSPECIFIED") != "UNSPECIFIED" and "code" not in hide:
            yield "code", payload["code"]
        if "context" in hide:
            return
        told = {"message"} if "message" not in payload else set()
        if STACK_TRACE in payload["context"]:
            told |= {STACK_TRACE, "exception.type", "exception.message"}  # its last line says these
        yield from ((name, value) for name, value in payload["context"].items() if name not in hide | told)

    def _laid_out(
        self, prefix: list[Run], message: list[Run], pairs: list[Run], correlation: str
    ) -> Iterator[list[Run]]:
        """Lines of runs: the message in whole, wrapped where it has to be, and of the pairs what a line holds."""
        start = [run for column in prefix for run in (column, (" ", ""))]
        width = self._view.width
        if width is None:
            rest = [run for pair in pairs for run in (("  ", ""), pair)]
            yield [*start, *message, *rest, *([("  ", ""), (correlation, _DIM)] if correlation else [])]
            return
        indent = sum(cell_len(text) for text, _ in start)
        if indent > width // 2:
            indent = 2
        margin = _CORRELATION + 1 if correlation else 0
        rows = wrapped_runs(message, width - sum(cell_len(text) for text, _ in start) - margin, width - indent)
        head, *more = [start + rows[0], *([(" " * indent, ""), *row] for row in rows[1:])]
        final = more[-1] if more else head
        room = width - sum(cell_len(text) for text, _ in final) - (0 if more else margin)
        whole = "  ".join(text for text, _ in pairs)
        # Who asks for a record's place wants all of it.
        least = cell_len(pairs[0][0]) + 4 if self._view.offsets and pairs else _LEAST_PAIRS
        if pairs and (cell_len(whole) + 2 <= room or room >= least):
            final += [("  ", ""), *cut_runs(pairs, room - 2)]
        elif pairs:
            more.append([(" " * indent, ""), *cut_runs(pairs, width - indent)])
        if correlation:
            gap = width - sum(cell_len(text) for text, _ in head) - _CORRELATION
            head += [(" " * max(1, gap), ""), (correlation, _DIM)]
        yield head
        yield from more

    def _expanded(self, record: Record) -> Iterator[tuple[str, str]]:
        """The envelope's parts, each with its name; what is none in whole."""
        if record.envelope is None:
            yield "value", visible(_value(record))
            return
        payload = record.envelope.payload
        # What stands in both, or on the line already, is not said again.
        parts = {
            **record.envelope._asdict(),  # whose order counts, and whose event_type
            **payload,
            **record.envelope._asdict(),
            **{f"context.{key}": value for key, value in payload["context"].items()},
        }
        without = {"payload", "context", "message", f"context.{STACK_TRACE}"}
        hide = self._view.hide
        for name, value in parts.items():
            is_hidden = (
                name in hide
                or name.removeprefix("context.") in hide
                or (name.startswith("context.") and "context" in hide)
            )
            if name not in without and not is_hidden:
                yield visible(name), visible(text_of(value))

    def _fitted(self, text: str, indent: str) -> Iterator[str]:
        if self._view.width is None:
            yield indent + text
            return
        room = max(8, self._view.width - len(indent))
        for part in wrapped(text, room, room):
            yield indent + part

    def _line(self, runs: Iterable[Run], *, dim: bool) -> str:
        if not self._view.color:
            return "".join(text for text, _ in runs).rstrip()
        return "".join(marked(text, _DIM if dim else style, self._view.marks) for text, style in runs)


def elapsed(seconds: float) -> str:
    """So much later, or earlier: `+0.123`, `+12:03.456`, `+2:12:03`."""
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    if minutes < 1:
        return f"{sign}{milliseconds / 1000:.3f}"
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{sign}{minutes}:{milliseconds / 1000:06.3f}"
    return f"{sign}{minutes // 60}:{minutes % 60:02}:{milliseconds // 1000:02}"


def _value(record: Record) -> str:
    return (record.value or b"").decode(errors="replace")


def _offset(moment: datetime) -> str:
    """Of a moment's zone, as in ISO 8601: lines in a file outlive the terminal that they were written from."""
    return "Z" if not moment.utcoffset() else moment.isoformat()[-6:]
