"""The one lock of a process's delivery."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_kafka_exporter.delivery.locking import DeliveryLock
from otel_kafka_exporter.process import owns
from tests.interrupting import interrupt_at_signal_point


@pytest.mark.parametrize("times", [0, 1])
def test_ctrl_c_before_a_block_leaves_the_lock_as_it_was(times: int) -> None:
    """Wherever Python raises it, a block that has not begun has no part of the lock."""
    lock = DeliveryLock()

    def block() -> None:
        with lock:
            pass

    number, interrupted = 0, True
    while interrupted:
        number += 1
        for _ in range(times):
            lock.acquire()
        interrupted = interrupt_at_signal_point(number, block)
        for _ in range(times):
            lock.release()
        assert not owns(lock), number
    assert number > 2


def test_a_thread_that_must_not_wait_for_ever_leaves_what_it_does() -> None:
    """Others keep the lock: what is done within `bounded` ends there, and the thread goes on behind it."""
    lock = DeliveryLock()
    went: list[str] = []

    def within() -> None:
        went.append("in")
        with lock:
            went.append("had it")
        went.append("behind it")

    def work() -> None:
        went.append(str(lock.bounded(within)))

    with ThreadPoolExecutor(1) as threads:
        with lock:
            threads.submit(work).result(20)
        assert went == ["in", "False"]
        threads.submit(work).result(20)
    assert went[2:] == ["in", "had it", "behind it", "True"]


def test_ctrl_c_leaves_no_thread_in_a_hurry() -> None:
    """Wherever Python raises it, even while the exception lives on, the thread waits for the lock as before."""
    lock = DeliveryLock()
    number, interrupted = 0, True
    kept: list[BaseException] = []

    def work() -> None:
        try:
            lock.bounded(lambda: None)
        except KeyboardInterrupt as error:
            kept.append(error)  # and its frames
            raise

    while interrupted:
        number += 1
        interrupted = interrupt_at_signal_point(number, work)
        assert not lock._bounded, number
    assert number > 3
