"""Threads and locks of the operating system, and waits that hold up no greenlet, whether gevent is there or not.

gevent's `monkey.patch_all()` makes greenlets of all threads, which take turns in one thread of the operating system. A
wait in a C library holds all of them up, and librdkafka is one. So what waits for it is a real thread here; the locks
that such a thread has in common with greenlets are real ones; and a greenlet waits by looking again and again, with
pauses in which the others go on.

A real lock belongs to a thread of the operating system, and so to all greenlets in it: nobody may pause under one.

gevent is never imported by this package, and it may patch before or after this module is imported.
"""

from __future__ import annotations

import _thread
import sys
import time
from _thread import RLock
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .clock import monotonic
from .interruption import is_interruption
from .marking import own_work

__all__ = [
    "OsThread",
    "RLock",
    "allocate_lock",
    "breathe",
    "get_ident",
    "in_greenlet",
    "pause",
    "sleep",
]

#: Pauses between two looks get longer, in proportion to what has been waited for already.
_SHORTEST_PAUSE, _LONGEST_PAUSE, _SHARE = 0.001, 0.05, 0.125


def _original(module: Any, name: str) -> Any:
    """What a module of Python's has by nature, whatever gevent has put there."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(module, name) if monkey is None else monkey.get_original(module.__name__, name)


_start_new_thread: Callable[[Callable[[], object], tuple[()]], int] = _original(_thread, "start_new_thread")
allocate_lock: Callable[[], _thread.LockType] = _original(_thread, "allocate_lock")
get_ident: Callable[[], int] = _original(_thread, "get_ident")
sleep: Callable[[float], None] = _original(time, "sleep")


def _hub() -> Any:
    """gevent's hub in this thread of the operating system; None where no greenlets take turns."""
    local = sys.modules.get("gevent._hub_local")
    return None if local is None else local.get_hub_if_exists()


def in_greenlet() -> bool:
    """Whether others can go on while the caller waits: it is a greenlet, and not the hub, by which they take turns."""
    hub = _hub()
    return hub is not None and sys.modules["gevent"].getcurrent() is not hub


def pause(seconds: float, since: float | None = None) -> None:
    """Do nothing for so long; as a greenlet, let the others go on. Hold no lock.

    Args:
        seconds: how long at most.
        since: when the wait began that this is a part of, by the monotonic clock. Early pauses are short then, so that
            the end of the wait is noticed soon, and later ones longer, so that many that wait long cost little.
    """
    if since is not None:
        seconds = min(seconds, max(_SHORTEST_PAUSE, min(_LONGEST_PAUSE, (monotonic() - since) * _SHARE)))
    if in_greenlet():
        sys.modules["gevent"].sleep(max(0.0, seconds))
    else:
        sleep(max(0.0, seconds))


def breathe() -> None:
    """Let other threads go on, in the middle of something long that nobody waits for."""
    sleep(0)


class OsThread:
    """A thread of the operating system, which ends with the interpreter at the latest. `threading` knows nothing of it.

    `threading.Thread.start` waits until the new thread runs, which it does not before the garbage collector lets it: a
    finalizer that logs, and waits for a lock that the caller holds, would wait for ever. Nobody waits here.

    What is logged on it is of our own making.

    Args:
        target: what it runs.

    Attributes:
        is_begun: whether it was started, also where Ctrl-C came just behind that.
    """

    def __init__(self, target: Callable[[], object]) -> None:
        self._target = target
        self._runs = allocate_lock()  # held while it does
        self.is_begun = False

    def start(self) -> None:
        """Start it; raises RuntimeError where no thread is to be had."""
        try:
            self._runs.acquire()
            # No call in between, at which Ctrl-C could come: once this is set, it comes when the thread is there.
            self.is_begun = True
            _start_new_thread(self._run, ())
        except BaseException as error:
            self.is_begun = self.is_begun and is_interruption(error)  # else no thread is to be had
            if not self.is_begun and self._runs.locked():  # it would seem to run for ever
                self._runs.release()
            raise

    def _run(self) -> None:
        try:
            with own_work():
                self._target()
        finally:
            self._runs.release()
            with suppress(Exception):  # where something waited by gevent's means, a log handler's lock or a socket, say
                hub = _hub()
                if hub is not None:
                    hub.destroy(destroy_loop=True)

    def is_alive(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._runs.locked()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most for so many seconds."""
        began = monotonic()
        while self.is_alive():
            left = _LONGEST_PAUSE if timeout is None else began + timeout - monotonic()
            if left <= 0:
                return
            pause(left, began)
