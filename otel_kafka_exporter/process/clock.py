"""The clock for deadlines, which a frozen time leaves alone.

freezegun puts a clock that stands still in the place of `time.monotonic`, wherever it finds it: a wait until then would
never end. It does not know this one.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

#: Seconds since some moment, as of `time.monotonic`.
monotonic: Callable[[], float] = (
    functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic
)
