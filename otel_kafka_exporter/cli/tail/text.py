"""Texts for a terminal: nothing in them moves the cursor, and they fit a number of columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size

# A control sequence, an operating-system command and its like up to their end, or an escape and one character.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?",
)
_LONGEST = 8_000
_FORMAT = re.compile("[\u200b-\u200f\u2060-\u206f\u202a-\u202e\ufeff\u061c]")


def visible(text: str) -> str:
    """A text on one line, without escape sequences and control characters: a record may hold what moves a cursor."""
    if text.isprintable():
        return text
    text = _FORMAT.sub("", _SEQUENCE.sub("", text))
    return "".join(each if each.isprintable() else " " for each in text)


def lines(text: str) -> list[str]:
    """The lines of a text, each as `visible`."""
    if text.isprintable():
        return [text]
    # Tabs would leave the columns that are counted.
    return [visible(line.expandtabs(4)).rstrip() for line in text.splitlines()] or [""]


def counted(count: int, what: str) -> str:
    """So many of a thing, as "1 record" and "2 records"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def in_short(text: str) -> str:
    """A text whose middle is left out if it would fill a terminal many times over."""
    left = len(text) - _LONGEST
    if left <= 0:
        return text
    end = _LONGEST // 4  # of a stack trace that says most
    return f"{text[: _LONGEST - end]}\n… {left:,} characters, which --json shows …\n{text[-end:]}"


def cut(text: str, width: int) -> str:
    """A text of so many columns at most; the end of a longer one is an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + "…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """A text of just so many columns."""
    text = cut(text, width)
    return text + " " * (width - cell_len(text))


def wrapped(text: str, first: int, width: int) -> Iterator[str]:
    """A line in parts.

    Args:
        text: the line.
        first: columns that the first part has.
        width: columns that the others have.
    """
    room = first
    at = 0
    while True:
        near = _beginning(text, at, room)
        if cell_len(near) <= room:
            break
        part = set_cell_size(near, max(1, room))
        if not near.startswith(part):  # half of a wide character became a blank
            part = part[:-1] or near[0]
        blank = part.rfind(" ")
        if blank > room // 2:
            part = part[:blank]
        yield part
        at += len(part)
        while text.startswith(" ", at):
            at += 1
        room = width
    yield text[at:]


def _beginning(text: str, at: int, room: int) -> str:
    """So much of a text from a place on that it is wider than so many columns, or all; of a long one only that."""
    size = room + 1
    while cell_len(near := text[at : at + size]) <= room and at + size < len(text):
        size *= 2  # there are characters without a width
    return near
