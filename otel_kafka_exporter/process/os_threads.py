"""Threads and locks of the operating system, and waits that hold up no greenlet, be it gevent's or eventlet's.

`gevent.monkey.patch_all()` and `eventlet.monkey_patch()` make greenlets of all threads, which take turns in one thread
of the operating system. A wait in a C library holds all of them up, and librdkafka is one. So what waits for it is a
real thread here; the locks that such a thread has in common with greenlets are real ones; and a greenlet waits by
looking again and again, with pauses in which the others go on.

A real lock belongs to a thread of the operating system, and so to all greenlets in it: nobody may pause under one.

Neither is ever imported by this package, and either may patch before or after this module is imported.
"""

from __future__ import annotations

import _thread
import importlib.util
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .clock import monotonic
from .interruption import is_interruption, raises_nothing
from .marking import own_work

__all__ = [
    "OsThread",
    "RLock",
    "allocate_lock",
    "breathe",
    "get_ident",
    "in_greenlet",
    "in_own_thread",
    "pause",
    "sleep",
]

#: Pauses between two looks get longer, in proportion to what has been waited for already.
_SHORTEST_PAUSE, _LONGEST_PAUSE, _SHARE = 0.001, 0.05, 0.125


def _as_made(name: str) -> Any:
    """One of the interpreter's own modules as it was made, whatever others have put into the one of that name.

    It is another module: eventlet also replaces locks that are there already, but only those whose type it knows.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"expected a module {name}, got none", name=name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_threads = _as_made("_thread")
_start_new_thread: Callable[[Callable[[], object], tuple[()]], int] = _threads.start_new_thread
allocate_lock: Callable[[], _thread.LockType] = _threads.allocate_lock
get_ident: Callable[[], int] = _threads.get_ident
sleep: Callable[[float], None] = _as_made("time").sleep
if TYPE_CHECKING:
    from _thread import RLock
else:
    RLock = _threads.RLock

#: The threads of ours that run: there may be a hub in one, made by what it calls, and no greenlets but itself.
_ours: set[int] = set()


def _gevent_hub() -> Any:
    """gevent's hub in this thread of the operating system; None where no greenlets of its take turns."""
    local = sys.modules.get("gevent._hub_local")
    return None if local is None else local.get_hub_if_exists()


def _give_way() -> Callable[[float], object] | None:
    """What a greenlet calls to let others go on for so long. None for a thread, and a hub, by which they take turns."""
    hub = _gevent_hub()
    if hub is not None:
        gevent = sys.modules["gevent"]
        found, is_hub = gevent.sleep, gevent.getcurrent() is hub
    else:
        hubs = sys.modules.get("eventlet.hubs")
        hub = getattr(getattr(hubs, "_threadlocal", None), "hub", None)
        if hub is None:
            return None
        found, is_hub = sys.modules["eventlet"].sleep, sys.modules["greenlet"].getcurrent() is hub.greenlet
    return None if is_hub or get_ident() in _ours else found


def in_greenlet() -> bool:
    """Whether others can go on while the caller waits: it is a greenlet, and not the hub, by which they take turns."""
    return _give_way() is not None


def in_own_thread() -> bool:
    """Whether this is a thread of ours, by which others get what they wait for: a finalizer in it must not wait."""
    return get_ident() in _ours


@raises_nothing
def pause(seconds: float, since: float | None = None) -> None:
    """Do nothing for so long; as a greenlet, let the others go on. Hold no lock.

    Args:
        seconds: how long at most.
        since: when the wait began that this is a part of, by the monotonic clock. Early pauses are short then, so that
            the end of the wait is noticed soon, and later ones longer, so that many that wait long cost little.
    """
    if since is not None:
        seconds = min(seconds, max(_SHORTEST_PAUSE, min(_LONGEST_PAUSE, (monotonic() - since) * _SHARE)))
    (_give_way() or sleep)(max(0.0, seconds))


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
        ident = get_ident()
        _ours.add(ident)
        try:
            with own_work():
                self._target()
        finally:
            _ours.discard(ident)
            self._runs.release()
            with suppress(Exception):  # where something waited by gevent's means, a log handler's lock or a socket, say
                hub = _gevent_hub()
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
