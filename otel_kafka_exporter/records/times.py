"""Which time a record has, and how an envelope writes it.

A time in seconds, milliseconds or microseconds, where OpenTelemetry has nanoseconds, would be one of 1970, and a topic
deletes by its records' times: such a record would be gone within seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeGuard

#: 2000-01-01T00:00:00Z in Unix nanoseconds. What is before that was no time of a log record, but one in another unit.
EARLIEST = 946_684_800_000_000_000
#: 9999-12-31T23:59:59.999999999Z, the last that fits the format.
LATEST = 253_402_300_799_999_999_999
_DAY = 86_400 * 1_000_000_000


class Times:
    """Judges the times of records. Threads may share one.

    Args:
        now: the time in Unix nanoseconds; asked when a record is later than all before.

    Attributes:
        latest: up to where a time is known to be plausible, so that most records need no look at the clock.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.latest = 0

    def best(self, given: object, observed: object) -> int:
        """The first plausible one: the time that a record was given, the one at which it was observed, else now."""
        if self._is_plausible(given):
            return given
        return observed if self._is_plausible(observed) else min(max(self._now(), 0), LATEST)

    def _is_plausible(self, nanoseconds: object) -> TypeGuard[int]:
        """Whether it is from the year 2000 to a day ahead."""
        if type(nanoseconds) is not int or nanoseconds < EARLIEST:
            return False
        if nanoseconds > self.latest:
            self.latest = min(self._now() + _DAY, LATEST)
        return nanoseconds <= self.latest


_second_text = (0, "1970-01-01T00:00:00.")


def utc_text(nanoseconds: int) -> str:
    """Unix nanoseconds as `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    global _second_text  # noqa: PLW0603 - records come many to a second; one tuple, replaced whole, needs no lock
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    second, text = _second_text
    if second != seconds:
        t = time.gmtime(seconds)
        text = f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}."
        _second_text = (seconds, text)
    return f"{text}{str(rest // 1000).zfill(6)}Z"
