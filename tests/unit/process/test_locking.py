"""Locks of ours, as threads of the application's take them."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from otel_kafka_exporter.process import RLock, locked, locked_next, owns
from tests.interrupting import interrupt_at_signal_point
from tests.waiting import until


def is_waiting(ident: int) -> bool:
    """Whether a thread is in the function that takes the lock, or in one that this calls."""
    frame = sys._current_frames()[ident]
    return frame.f_code.co_filename == locked.__code__.co_filename


def test_who_waits_does_not_own_the_lock_before_it_runs() -> None:
    """A thread that lets the lock go, computes, and takes it again gets it, though another one has waited for it.

    The other one could not have done anything with it meanwhile: it did not have the interpreter.
    """
    lock = RLock()
    got = 0
    with ThreadPoolExecutor(1) as pool:
        ident = pool.submit(threading.get_ident).result(10)
        for _ in range(50):
            lock.acquire()
            other = pool.submit(locked, lock, lambda: "did", lambda: "did not")
            until(lambda: is_waiting(ident), what="its wait")
            lock.release()
            sum(range(20_000))
            if lock.acquire(blocking=False):
                got += 1
                lock.release()
            assert other.result(10) == "did"
    assert got > 25


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


def test_who_has_much_to_do_has_the_lock_next() -> None:
    """It sleeps for the lock, and has it when that is let go, though the other thread computes and wants it again."""
    lock = RLock()
    lost = 0
    with ThreadPoolExecutor(1) as pool:
        ident = pool.submit(threading.get_ident).result(10)
        for _ in range(20):
            lock.acquire()
            other = pool.submit(locked_next, lock, lambda: "did", lambda: "did not")
            until(lambda: is_waiting(ident), what="its wait")
            lock.release()
            sum(range(200_000))
            if lock.acquire(blocking=False):
                lost += 1
                lock.release()
            assert other.result(10) == "did"
    assert lost < 20
