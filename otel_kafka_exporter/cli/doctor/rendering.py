"""An examination as a person reads it: one line a check, and below what is not well what it means and what to do."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from otel_kafka_exporter.cli.tail.text import counted, visible, wrapped

from .check import Result, Status
from .running import root_cause

_LOOKS = {
    Status.OK: ("OK", "green", "dim"),
    Status.WARN: ("WARN", "yellow", ""),
    Status.FAIL: ("FAIL", "bold red", "bold"),
    Status.SKIPPED: ("skip", "dim", "dim"),
}
_ID_WIDTH = 19
_TEXT_AT = 5 + _ID_WIDTH + 1
_BELOW_AT = 5
_LEAST_WIDTH = 20


class Rendering:
    """Writes results, each as it comes.

    Args:
        write: takes text.
        width: columns; None for as many as a line needs.
        color: whether there are styles.
        verbose: whether what there was nothing to look at for has a line as well.
    """

    def __init__(self, write: Callable[[str], object], *, width: int | None, color: bool, verbose: bool) -> None:
        self._write = write
        self._width = width
        self._verbose = verbose
        self._skipped: dict[str, list[str]] = {}
        self._console = Console(
            file=io.StringIO(), force_terminal=color, color_system="standard" if color else None, highlight=False
        )

    def all(self, results: Sequence[Result]) -> None:
        """Write results, and their summary."""
        for each in results:
            self.result(each)
        self.summary(results)

    def result(self, result: Result) -> None:
        """Write a check's line, and what it asks for; those that one failure made impossible have a line together."""
        finding = result.finding
        if finding.status is Status.SKIPPED and not self._verbose:
            if result.because:
                self._skipped.setdefault(result.because, []).append(result.check.id)
            return
        self._skips()
        word, style, text_style = _LOOKS[finding.status]
        head = Text.assemble((f"{word:4} ", style), (f"{result.check.id:{_ID_WIDTH}} ", text_style))
        self._lines(head, finding.text, text_style, _TEXT_AT)
        below = Text(" " * _BELOW_AT)
        for line in finding.lines:
            self._lines(below, line, text_style, _BELOW_AT)
        if finding.todo:
            self._lines(below, finding.means, "", _BELOW_AT)
            self._lines(below, f"Do: {finding.todo}", "", _BELOW_AT)
            self._lines(below, result.check.doc, "dim", _BELOW_AT)

    def summary(self, results: Sequence[Result]) -> None:
        """Write the end: how many of each, and the one cause."""
        self._skips()
        counts = {status: sum(each.finding.status is status for each in results) for status in Status}
        because = sum(bool(each.because) for each in results)
        nothing = counts[Status.SKIPPED] - because
        warnings = counted(counts[Status.WARN], "warning")
        text = f"{counts[Status.OK]} OK, {warnings}, {counts[Status.FAIL]} failed"
        if because:
            text += f", {because} skipped because of a failure"
        if nothing:
            text += f", {nothing} with nothing to look at{'' if self._verbose else ' (--verbose shows them)'}"
        self._lines(Text(), "", "", 0)
        self._lines(Text(), text, "", 0)
        cause = root_cause(results)
        if cause is not None:
            head = Text.assemble(("root cause: ", "bold red"))
            self._lines(head, f"{cause.check.id}: {cause.finding.text}", "bold", len(head))

    def _skips(self) -> None:
        for because, names in self._skipped.items():
            word, style, _ = _LOOKS[Status.SKIPPED]
            families = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            head = Text(f"{word:4} {counted(len(names), 'check'):{_ID_WIDTH}} ", style)
            self._lines(head, f"because {because} failed; of {families}", style, _TEXT_AT)
        self._skipped.clear()

    def _lines(self, head: Text, text: str, style: str, indent: int) -> None:
        """Lines that begin with a head, and go on below it."""
        text = visible(text)
        width = None if self._width is None else max(_LEAST_WIDTH, self._width - indent)
        if width == _LEAST_WIDTH and indent > _BELOW_AT and text:
            # On a narrow terminal the text has lines of its own.
            self._print(head)
            head, indent = Text(" " * _BELOW_AT), _BELOW_AT
            width = max(_LEAST_WIDTH, (self._width or 0) - indent)
        parts = [text] if width is None else wrapped(text, width, width)
        for number, part in enumerate(parts):
            self._print((head.copy() if number == 0 else Text(" " * indent)).append(part, style))

    def _print(self, line: Text) -> None:
        line.rstrip()
        with self._console.capture() as capture:
            self._console.print(line, soft_wrap=True)
        self._write(capture.get())
