"""Points in time as people write them: `10m`, `22:00`, `yesterday`, `2026-11-25T22:00`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

EXPECTED = (
    "a time such as 10m, 1h30m, 2d, 22:00, today, yesterday, now, beginning, 2026-11-25 or 2026-11-25T22:00+01:00"
)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
BEGINNING = 0


def parse_time(text: str, now: datetime, zone: tzinfo | None = None) -> int:
    """A text as a point in time, in Unix milliseconds.

    Args:
        text: a duration before now, a time of today, a word, or ISO 8601.
        now: with a time zone, whichever.
        zone: of what is written without an offset; the machine's own unless given.

    Raises:
        ValueError: it is none of these; completes the sentence "expected …".
    """
    word = text.strip().lower().removesuffix(" ago")
    if word == "beginning":
        return BEGINNING
    try:
        if _DURATION.fullmatch(word):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(word))
            return max(BEGINNING, round((now.timestamp() - seconds) * 1000))
        point = _point(word, now.astimezone(zone))
        if point.tzinfo is None:
            # Without a zone it is the machine's own, by its rules for that day.
            point = point.astimezone() if zone is None else point.replace(tzinfo=zone)
        return max(BEGINNING, round(point.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise ValueError(EXPECTED) from None


def _point(word: str, now: datetime) -> datetime:
    if word == "now":
        return now
    today = now.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday")
    if clock := _CLOCK.fullmatch(word):
        return today.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0))
    # Python 3.10 reads neither the Z nor fractions of another length than three or six digits.
    iso = re.sub(r"z$", "+00:00", word).replace("t", " ")
    return datetime.fromisoformat(re.sub(r"[.,](\d{1,9})", lambda found: f".{found[1]:0<6.6}", iso))
