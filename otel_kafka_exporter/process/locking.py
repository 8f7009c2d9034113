"""Locks that a thread of the application's waits for in turns, and not for ever.

It may hold the lock of a log handler, for which a signal handler waits that has interrupted whoever has ours: nobody
would go on any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .clock import monotonic
from .os_threads import RLock, sleep

_T = TypeVar("_T")

#: How long a thread of the application's waits for a lock of ours. Nothing that has one takes nearly as long.
LOCK_SECONDS = 1.0
#: How many times such a thread gives the interpreter away before it sleeps for the lock, and for how long at most.
_TURNS = 50
_UNLUCKY_SECONDS = 0.05


def owns(lock: RLock) -> bool:
    """Whether this thread holds the lock, so that a signal handler or a finalizer asks. Takes no lock."""
    return lock._is_owned()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 - the threading module's own way to ask


def locked(lock: RLock, do: Callable[..., _T], otherwise: Callable[..., _T], *arguments: Any) -> _T:
    """Do something with the lock held; something else where others keep it for `LOCK_SECONDS`.

    Args:
        lock: it.
        do: what is done with it.
        otherwise: what is done without it.
        arguments: what either is given.
    """
    return _locked(lock, wait_for, do, otherwise, arguments)


def locked_next(lock: RLock, do: Callable[..., _T], otherwise: Callable[..., _T], *arguments: Any) -> _T:
    """As `locked`, for who comes seldom and has much to do with it: has it as soon as it is let go.

    At the price of what `wait_for` avoids.
    """
    return _locked(lock, _sleep_for, do, otherwise, arguments)


def _locked(
    lock: RLock,
    wait: Callable[[RLock], bool],
    do: Callable[..., _T],
    otherwise: Callable[..., _T],
    arguments: tuple[Any, ...],
) -> _T:
    if owns(lock):
        return do(*arguments)
    try:
        if not (lock.acquire(blocking=False) or wait(lock)):
            return otherwise(*arguments)
        try:
            return do(*arguments)
        finally:
            lock.release()
    except BaseException:  # Ctrl-C, between the two
        if owns(lock):
            lock.release()
        raise


def _sleep_for(lock: RLock) -> bool:
    return lock.acquire(timeout=LOCK_SECONDS)


def wait_for(lock: RLock) -> bool:
    """Take the lock when others have let it go; whether that was in time.

    Not by sleeping for it at once: who does so owns it from its release on, and may wait for the interpreter for
    another 5 ms then, while nobody else can have it. Threads that log without a pause would hand it on with each
    record, and each of them cost two switches of threads from then on. But whoever had no luck for some time sleeps for
    it: there is no other queue.
    """
    began = monotonic()
    for _ in range(_TURNS):
        sleep(0)  # gives the interpreter away once, to whoever has the lock in the end
        if lock.acquire(blocking=False):
            return True
        if monotonic() - began > _UNLUCKY_SECONDS:
            break
    return lock.acquire(timeout=max(0.0, began + LOCK_SECONDS - monotonic()))
