"""Which stretch of the topics is read: from when, until when, and whether what comes after that follows."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import NamedTuple

from .times import BEGINNING, parse_time

_AT = re.compile(r"([A-Za-z0-9._-]+)/(\d+)/(\d+)")


class Position(NamedTuple):
    """One record's place."""

    topic: str
    partition: int
    offset: int


class Stretch(NamedTuple):
    """What is read.

    Attributes:
        since: Unix milliseconds; None is now.
        until: Unix milliseconds, from which on nothing is shown; None is the end.
        last: so many records before the end.
        at: a record, and those around it.
        context: how many of these, on each side.
        follow: whether what comes after the end follows.
    """

    since: int | None = None
    until: int | None = None
    last: int | None = None
    at: Position | None = None
    context: int = 0
    follow: bool = False


class StretchError(ValueError):
    """Options contradict each other, or one cannot be read: says what was expected, and what was got."""


def stretch(
    *,
    since: str | None,
    until: str | None,
    last: int | None,
    at: str | None,
    context: int | None,
    follow: bool | None,
    is_terminal: bool,
    is_story: bool,
    now: datetime,
    zone: tzinfo | None,
) -> Stretch:
    """The stretch that options say.

    Args:
        since: as of the option.
        until: likewise.
        last: likewise.
        at: likewise.
        context: likewise.
        follow: likewise; None where it was not given.
        is_terminal: whether a person reads.
        is_story: whether the records of one request are asked for.
        now: with a time zone.
        zone: of times without one.

    Raises:
        StretchError: they make none.
    """
    position = None if at is None else _position(at)
    if position is not None and (since, until, last, follow or None) != (None, None, None, None):
        raise StretchError("--at: expected neither --since nor --until, --last or --follow beside it.")
    if context is not None and position is None:
        raise StretchError("-C: expected --at beside it.")
    if follow and until is not None:
        raise StretchError("--follow: expected no --until beside it.")
    begin = None if since is None else _time("--since", since, now, zone)
    end = None if until is None else _time("--until", until, now, zone)
    if begin is not None and end is not None and begin >= end:
        raise StretchError(f"--until: expected a time after --since, got {until}.")
    if follow is None:
        follow = is_terminal and not is_story and until is None and last is None and position is None
    if begin is None and position is None and (not follow or last is not None):
        begin = BEGINNING
    return Stretch(begin, end, last, position, context or 0, follow)


def _time(option: str, text: str, now: datetime, zone: tzinfo | None) -> int:
    try:
        return parse_time(text, now, zone)
    except ValueError as error:
        raise StretchError(f"{option}: expected {error}, got {text!r}.") from None


def _position(text: str) -> Position:
    found = _AT.fullmatch(text)
    if found is None:
        raise StretchError(f"--at: expected topic/partition/offset, got {text!r}.")
    return Position(found[1], int(found[2]), int(found[3]))
