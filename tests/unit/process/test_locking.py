"""Locks of ours, as threads of the application's take them."""

from __future__ import annotations

import threading
import time

from otel_kafka_exporter.process import LOCK_SECONDS, RLock, locked, owns
from tests.interrupting import interrupt_at_signal_point


def test_others_that_keep_the_lock_are_not_waited_for_for_ever() -> None:
    """A thread that does not get it does something else, and has no part of the lock then."""
    lock, kept, release = RLock(), threading.Event(), threading.Event()

    def keep() -> None:
        with lock:
            kept.set()
            release.wait(20)

    other = threading.Thread(target=keep)
    other.start()
    assert kept.wait(10)
    assert locked(lock, lambda _: "did", lambda what: what, "did not") == "did not"
    assert not owns(lock)
    # Many threads that come one after the other would each hold up the one that is waited for.
    started = time.monotonic()
    for _ in range(5):
        assert locked(lock, lambda _: "did", lambda what: what, "did not") == "did not"
    assert time.monotonic() - started < LOCK_SECONDS
    release.set()
    other.join(20)
    assert locked(lock, lambda what: what, lambda _: "did not", "did") == "did"


def test_ctrl_c_leaves_the_lock_free() -> None:
    """Wherever Python raises it, the thread that was about to take the lock does not hold it afterwards."""
    lock = RLock()
    number, interrupted = 0, True
    while interrupted:
        number += 1
        interrupted = interrupt_at_signal_point(number, lambda: locked(lock, int, int))
        assert not owns(lock), number
    assert number > 5


def test_ctrl_c_leaves_the_owner_with_what_it_had() -> None:
    """Wherever Python raises it, a thread that has the lock already, and takes it once more, has it once afterwards."""
    lock = RLock()
    number, interrupted = 0, True
    while interrupted:
        number += 1
        with lock:
            interrupted = interrupt_at_signal_point(number, lambda: locked(lock, int, int))
        assert not owns(lock), number
    assert number > 2
