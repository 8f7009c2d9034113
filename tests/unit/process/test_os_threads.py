"""Threads and waits, with gevent and without."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from otel_kafka_exporter.process import Flag, OsThread
from tests.functional.greenlets import needs_gevent
from tests.interrupting import interrupt_at_signal_point

PATCHED_BEFORE = "import gevent.monkey; gevent.monkey.patch_all(); from otel_kafka_exporter import process"
PATCHED_AFTER = "from otel_kafka_exporter import process; import gevent.monkey; gevent.monkey.patch_all()"
patched = pytest.mark.parametrize("patch", [PATCHED_BEFORE, PATCHED_AFTER], ids=["before", "after"])


def run(*lines: str) -> None:
    """Run a program, which must end well: who patches does so for the whole process."""
    subprocess.run(
        [sys.executable, "-c", "\n".join(["import gevent, threading, time", *lines])], check=True, timeout=60
    )


def test_whoever_starts_a_thread_does_not_wait_for_what_is_finalized_in_it() -> None:
    """A finalizer that runs before all else in the new thread may want a lock that the one who starts it holds."""
    program = """
        import _thread, gc
        from otel_kafka_exporter.process import OsThread, Flag
        lock, done = _thread.allocate_lock(), Flag()
        starter = _thread.get_ident()

        def finalize(phase, info):
            if _thread.get_ident() != starter:
                with lock:
                    pass

        gc.callbacks.append(finalize)
        gc.set_threshold(1)
        with lock:
            OsThread(done.set).start()
        done.wait(30)
        gc.callbacks.clear()
        assert done.is_set()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


@needs_gevent
@patched
def test_a_thread_runs_while_no_greenlet_lets_others_go_on(patch: str) -> None:
    """It is a thread of the operating system, be it that of a patched process."""
    run(
        patch,
        "ran = []",
        "thread = process.OsThread(lambda: ran.append(process.get_ident()))",
        "assert not thread.is_alive()",
        "thread.start()",
        "end = time.monotonic() + 30",
        "while thread.is_alive() and time.monotonic() < end: pass",
        "assert len(ran) == 1 and ran != [process.get_ident()]",
    )


@needs_gevent
@patched
def test_a_greenlet_waits_for_a_thread_and_lets_others_go_on(patch: str) -> None:
    """A flag that a thread sets, and its end, are noticed by a greenlet, while another one ticks."""
    run(
        patch,
        "flag, ticks = process.Flag(), []",
        "def work():",
        "    process.sleep(0.3)",
        "    flag.set()",
        "    process.sleep(0.3)",
        "def tick():",
        "    while True:",
        "        ticks.append(1)",
        "        gevent.sleep(0.01)",
        "gevent.spawn(tick)",
        "thread = process.OsThread(work)",
        "thread.start()",
        "assert not flag.wait(0.01)",
        "assert flag.wait(30)",
        "assert len(ticks) > 3",
        "thread.join(0.01)",
        "assert thread.is_alive()",
        "thread.join(30)",
        "assert not thread.is_alive()",
    )


@needs_gevent
@patched
def test_a_lock_that_a_thread_holds_is_waited_for(patch: str) -> None:
    """A thread and a greenlet exclude each other, and the same thread may enter twice."""
    run(
        patch,
        "lock, held, go = process.RLock(), process.Flag(), process.Flag()",
        "def work():",
        "    with lock, lock:",
        "        held.set()",
        "        go.wait(30)",
        "thread = process.OsThread(work)",
        "thread.start()",
        "assert held.wait(30)",
        "assert not lock.acquire(timeout=0.01)",
        "go.set()",
        "assert lock.acquire(timeout=30)",
    )


@needs_gevent
def test_in_the_hub_a_wait_is_a_real_one() -> None:
    """What runs between the greenlets, as a signal handler may, cannot give way, and waits all the same."""
    run(
        PATCHED_BEFORE,
        "flag, waited = process.Flag(), []",
        "def work():",
        "    process.sleep(0.1)",
        "    flag.set()",
        "process.OsThread(work).start()",
        "gevent.get_hub().loop.run_callback(lambda: waited.append(flag.wait(30)))",
        "gevent.sleep(0.05)",
        "assert waited == [True]",
    )


def test_ctrl_c_while_a_thread_is_started() -> None:
    """Wherever Python raises it, the thread says whether it was begun, and one that was begun does what it is for."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        done = Flag()
        thread = OsThread(done.set)
        interrupted = interrupt_at_signal_point(number, thread.start)
        if thread.is_begun:
            assert done.wait(10), number
            thread.join(10)
        assert not thread.is_alive(), number
    assert thread.is_begun
    assert number > 3
