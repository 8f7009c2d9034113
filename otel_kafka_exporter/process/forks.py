"""Waiting with a fork, starting anew in a forked child, and ending in one."""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakMethod

from .clock import monotonic
from .os_threads import RLock, get_ident, sleep

#: How long a fork waits at most, and how long between two looks.
_LONGEST_WAIT, _LOOK_SECONDS = 0.5, 0.001


class _Methods:
    """Bound methods to call, in the order in which they were added, for as long as their objects live.

    What Python itself is given to call at a fork it keeps for ever, and a service may make an exporter per request.
    """

    def __init__(self) -> None:
        self._methods: dict[int, WeakMethod[Callable[[], None]]] = {}
        self._numbers = itertools.count()

    def add(self, method: Callable[[], None]) -> None:
        number = next(self._numbers)
        self._methods[number] = WeakMethod(method, lambda _: self._methods.pop(number, None))

    def call(self) -> None:
        # No tuple: before Python 3.12 the collector runs when that is made, and takes some of them away.
        for reference in list(self._methods.values()):
            method = reference()
            if method is not None:
                method()


_before, _in_child = _Methods(), _Methods()
_functions_in_child: list[Callable[[], object]] = []


class _Making:
    """Forks wait for who makes something, and who begins waits for forks; nobody waits for anybody else.

    One lock for all would have a thread wait for another one that makes something, and that a finalizer may have
    interrupted which waits for what the first one holds. So each thread has its own, which is a real one: Ctrl-C leaves
    it as it is.
    """

    def __init__(self) -> None:
        self._of_threads: dict[int, RLock] = {}
        self._taken: list[RLock] = []  # by the fork that is under way
        self._forker = 0

    def __call__(self) -> RLock:
        """This thread's lock; hold it while a locked file is made."""
        ident, deadline = get_ident(), monotonic() + _LONGEST_WAIT
        lock = self._of_threads.get(ident)
        if lock is None:  # a fork that is under way knows nothing of it
            while self._forker not in {0, ident} and monotonic() < deadline:
                sleep(_LOOK_SECONDS)
            lock = self._of_threads.setdefault(ident, RLock())
        return lock

    def begin_fork(self) -> None:
        """Wait for all others, at most for `_LONGEST_WAIT`, and have nobody begin."""
        self._forker, deadline = get_ident(), monotonic() + _LONGEST_WAIT
        for lock in list(self._of_threads.values()):
            if lock.acquire(timeout=max(0.0, deadline - monotonic())):
                self._taken.append(lock)

    def end_fork(self) -> None:
        """The child is there."""
        self._forker = 0
        while self._taken:
            with suppress(RuntimeError):  # of another one that forks at the same time
                self._taken.pop().release()

    def begin_anew(self) -> None:
        """Nobody makes anything, in a forked child."""
        self._of_threads, self._taken, self._forker = {}, [], 0


#: A child that is forked while a locked file is made would have its descriptor, and never close it.
making_locks = _Making()

#: The process whose state this is, and which thread of a child begins anew.
_pid = os.getpid()
_beginner: dict[int, int] = {}


def _wait_before_fork() -> None:
    _before.call()
    making_locks.begin_fork()


def _begin_in_child() -> None:
    global _pid  # noqa: PLW0603 - one per process
    making_locks.begin_anew()
    collects = gc.isenabled()
    gc.disable()  # what a finalizer emits in between would be in the hands of what is made anew just behind that
    try:
        for function in _functions_in_child:
            function()
        _in_child.call()
    finally:
        _pid = os.getpid()
        if collects:
            gc.enable()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(before=_wait_before_fork, after_in_parent=making_locks.end_fork, after_in_child=_begin_in_child)


def notice_fork() -> None:
    """Begin anew in a child whose fork Python was not told of: a C program's, as uWSGI's.

    For each way into the package: what a child does with its parent's client waits for ever.
    """
    pid = os.getpid()
    if pid == _pid:
        return
    if _beginner.setdefault(pid, get_ident()) == get_ident():
        _begin_in_child()
    deadline = monotonic() + _LONGEST_WAIT
    while _pid != pid and monotonic() < deadline:
        sleep(_LOOK_SECONDS)  # another thread is at it, and there is no lock that a fork could not have left held


def call_in_child(function: Callable[[], object]) -> None:
    """Call a function in every child that is forked from now on."""
    _functions_in_child.append(function)


def after_fork_in_child(method: Callable[[], None]) -> None:
    """Call a bound method in every child that is forked from now on, for as long as its object lives.

    What a child inherits is a copy of one moment: locks that other threads held stay locked for ever, and those
    threads, librdkafka's among them, are not there.
    """
    _in_child.add(method)


class ForkGate:
    """Forks wait while it is closed: what goes on then may hold locks of the C library's, in threads of librdkafka's.

    In a child that is forked meanwhile those stay locked for ever. It opens by itself `_LONGEST_WAIT` after it was
    closed, so that no fork waits longer, be it in the very thread that was to open it, or while the cluster is away.
    There is no lock in here, which such a thread could be holding.
    """

    def __init__(self) -> None:
        self._opens_at = 0.0
        _before.add(self._wait)

    def close(self) -> None:
        """Have forks wait from now on."""
        self._opens_at = monotonic() + _LONGEST_WAIT

    def open(self) -> None:
        """Have them wait no longer."""
        self._opens_at = 0.0

    def _wait(self) -> None:
        deadline = monotonic() + _LONGEST_WAIT
        while monotonic() < min(self._opens_at, deadline):
            sleep(_LOOK_SECONDS)  # between two looks: an event has a lock, and this thread may be who opens


def at_worker_exit(method: Callable[[], None]) -> None:
    """Call a bound method when this process, or one that is forked from it, ends as a worker of another.

    Those of `multiprocessing` and of Celery's prefork pool end by `os._exit`, without atexit.
    """
    call = _weak(method)
    util = _if_imported("multiprocessing.util")
    if util is not None:

        def watch(_owner: object) -> None:
            util.Finalize(None, call, exitpriority=100)

        # A forkserver's child imports what it needs first, and forgets all finalizers when its target begins.
        util.register_after_fork(method.__self__, watch)  # type: ignore[attr-defined]  # a bound method has it
        if sys.modules["multiprocessing.process"].parent_process() is not None:
            watch(None)
    signals = _if_imported("celery.signals")
    if signals is not None:
        # Celery's children skip finalizers, and wait for a second at their end, whatever is on its way.
        signals.worker_process_shutdown.connect(lambda **_: call(), weak=False)


def _weak(method: Callable[[], None]) -> Callable[[], None]:
    """Calls a bound method for as long as its object lives."""
    reference = WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call


def _if_imported(module: str) -> Any:
    """A module, if the application uses it; one that another thread is importing is waited for."""
    return importlib.import_module(module) if sys.modules.get(module) is not None else None
