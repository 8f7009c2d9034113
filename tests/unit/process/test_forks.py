"""Forks, and what they wait for."""

from __future__ import annotations

import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from otel_kafka_exporter.process import call_in_child, making_locks, owns
from otel_kafka_exporter.process.forks import _Methods
from tests.waiting import exit_code


def test_who_makes_a_file_waits_for_nobody_who_makes_another() -> None:
    """One of them may be interrupted by a finalizer, that waits for what the other one holds."""
    with ThreadPoolExecutor(1) as threads, making_locks():
        assert threads.submit(_made).result(10)


def _made() -> bool:
    with making_locks() as is_ours:
        return is_ours


def test_a_fork_waits_for_a_file_to_be_made_and_not_for_ever() -> None:
    """It waits for another thread, for half a second at most, and not for its own."""
    makes, is_over = threading.Event(), threading.Event()

    def make() -> None:
        with making_locks():
            makes.set()
            is_over.wait(30)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(make)
        assert makes.wait(10)
        started = time.monotonic()
        with making_locks():
            child = os.fork()
            if not child:
                with making_locks():  # nobody makes anything there
                    os._exit(0)
            took = time.monotonic() - started
            is_over.set()
        assert exit_code(child) == 0
        assert 0.4 < took < 5
        assert threads.submit(_made).result(10)
    assert not owns(making_locks())


class Dead:
    """Garbage, which the collector finds."""

    def __init__(self) -> None:
        self._itself = self

    def begin(self) -> None:
        """For a child."""


def test_a_collection_while_a_child_begins_leaves_nothing_out() -> None:
    """Wherever the collector runs, and takes exporters away, all others begin anew."""
    before = gc.get_threshold()
    try:
        for allocations in range(1, 400):
            gc.disable()
            methods, alive = _Methods(), Dead()
            methods.add(alive.begin)
            for each in [Dead() for _ in range(20)]:
                methods.add(each.begin)
            del each
            gc.set_threshold(allocations)
            gc.enable()
            methods.call()  # no RuntimeError
    finally:
        gc.set_threshold(*before)


def test_no_finalizer_runs_before_a_child_has_begun_anew() -> None:
    """What it emitted would be in the hands of what is made anew just behind that."""
    collects: list[bool] = []
    call_in_child(lambda: collects.append(gc.isenabled()))
    child = os.fork()
    if not child:
        os._exit(0 if [*collects, gc.isenabled()] == [False, True] else 1)
    assert exit_code(child) == 0
