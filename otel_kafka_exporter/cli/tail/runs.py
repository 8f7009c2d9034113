"""Texts with styles, which are cut and wrapped together: a line is a list of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

from .text import cut, wrapped

Run = tuple[str, str]  # a text, and the SGR parameters of its style
_MARKED = "7"


def sgr(text: str, style: str) -> str:
    """A text in a style."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text else text


def marked(text: str, style: str, marks: Sequence[re.Pattern[str]]) -> str:
    """A text in a style, and what patterns find in it in reverse."""
    # Marks may lie over each other: what is marked is a set of characters.
    found = {at for mark in marks for match in mark.finditer(text) for at in range(*match.span())}
    if not found:
        return sgr(text, style)
    pieces = []
    begin = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or (at in found) != (begin in found):
            styles = ";".join(filter(None, (style, _MARKED if begin in found else "")))
            pieces.append(sgr(text[begin:at], styles))
            begin = at
    return "".join(pieces)


def wrapped_runs(runs: list[Run], first: int, width: int) -> list[list[Run]]:
    """Runs in rows of so many columns at most, the first of which may have another number."""
    whole = "".join(text for text, _ in runs)
    if cell_len(whole) <= first:
        return [runs]
    rows = []
    at = 0
    for part in wrapped(whole, max(1, first), max(1, width)):
        at = whole.index(part, at)
        rows.append(_slice(runs, at, at + len(part)))
        at += len(part)
    return rows


def _slice(runs: list[Run], start: int, end: int) -> list[Run]:
    found = []
    at = 0
    for text, style in runs:
        piece = text[max(0, start - at) : max(0, end - at)]
        if piece:
            found.append((piece, style))
        at += len(text)
    return found


def cut_runs(runs: list[Run], width: int) -> list[Run]:
    """Runs with two blanks between them, in so many columns at most."""
    found: list[Run] = []
    left = width
    for text, style in runs:
        gap = 2 if found else 0
        if left - gap < 2:  # noqa: PLR2004 - a character and an ellipsis
            if found:
                found[-1] = (cut(found[-1][0] + " …", cell_len(found[-1][0]) + max(0, left)), found[-1][1])
            break
        if gap:
            found.append(("  ", ""))
        found.append((cut(text, left - gap), style))
        left -= gap + cell_len(found[-1][0])
    return found
