"""The disk, for tasks of event loops."""

from __future__ import annotations

import contextlib

from otel_kafka_exporter.otel.disk import Disk
from tests.interrupting import strike_at_signal_point


class TimeLimitError(Exception):
    """What a signal handler raises."""


def _strike() -> None:
    raise TimeLimitError


def test_a_time_limit_in_a_call_leaves_the_next_ones_a_thread() -> None:
    """Wherever a signal handler raises in a call, those that come later are told of the disk."""
    number, struck = 0, True
    while struck:
        number += 1
        disk = Disk(lambda: True)
        with contextlib.suppress(TimeLimitError):
            struck = strike_at_signal_point(number, disk.take, _strike)
        assert disk.take().result(5)
    assert number > 5
