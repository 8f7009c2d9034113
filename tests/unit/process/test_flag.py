"""A flag that threads wait for, and that a signal handler may set."""

from __future__ import annotations

import signal
import threading
import time

from otel_kafka_exporter.process import Flag
from tests.interrupting import interrupt_at_signal_point


def test_it_is_set_until_it_is_cleared() -> None:
    """Who waits for a flag that is set goes on at once, and so does the next one."""
    flag = Flag()
    assert not flag.is_set()
    assert not flag.wait(0)
    flag.set()
    flag.set()
    assert flag.wait(0)
    assert flag.wait(0)
    assert flag.is_set()
    flag.clear()
    flag.clear()
    assert not flag.wait(0.001)


def test_everybody_who_waits_goes_on() -> None:
    """All threads that wait are let go by one `set`."""
    flag = Flag()
    went: list[bool] = []
    threads = [threading.Thread(target=lambda: went.append(flag.wait(10))) for _ in range(5)]
    for thread in threads:
        thread.start()
    flag.set()
    for thread in threads:
        thread.join(10)
    assert went == [True] * 5


def test_a_signal_handler_may_set_it_at_any_moment() -> None:
    """A handler that sets the flag while its own thread sets it, clears it and waits for it, never hangs."""
    flag = Flag()
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        flag.set()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        deadline = time.monotonic() + 20
        while handled < 500:
            assert time.monotonic() < deadline
            flag.set()
            flag.clear()
            flag.wait(0.0001)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_within_a_wait_takes_nothing_along() -> None:
    """Wherever Python raises it in a wait for a flag that is set, the flag is set for whoever comes next."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        flag = Flag()
        setter = threading.Timer(0.001, flag.set)
        setter.start()
        interrupted = interrupt_at_signal_point(number, lambda: flag.wait(10))  # noqa: B023 - called at once
        setter.join(10)
        assert flag.is_set(), number
        assert flag.wait(0), number
    assert number > 3
