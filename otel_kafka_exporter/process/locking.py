"""Locks that a thread of the application's does not wait for for ever.

It may hold the lock of a log handler, for which a signal handler waits that has interrupted whoever has ours: nobody
would go on any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .os_threads import RLock

_T = TypeVar("_T")

#: How long a thread of the application's waits for a lock of ours. Nothing that has one takes nearly as long.
LOCK_SECONDS = 1.0
#: How long it waits for one that others have kept for so long already, as long as they do: many threads that log would
#: each hold up the one that the others wait for.
_KEPT_SECONDS = 0.05
#: Those locks, by their identities.
_kept: set[int] = set()


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
    return do(*arguments) if owns(lock) else when_free(lock, do, otherwise, *arguments)


def when_free(lock: RLock, do: Callable[..., _T], otherwise: Callable[..., _T], *arguments: Any) -> _T:
    """As `locked`, for a thread that does not hold the lock, as its caller has just found out."""
    try:
        if not (lock.acquire(False) or wait_for(lock)):  # noqa: FBT003 - by name it takes twice as long
            return otherwise(*arguments)
        try:
            return do(*arguments)
        finally:
            lock.release()
    except BaseException:  # Ctrl-C, between the two
        if owns(lock):
            lock.release()
        raise


def wait_for(lock: RLock) -> bool:
    """Take the lock when others have let it go; whether that was in time."""
    if lock.acquire(timeout=_KEPT_SECONDS if id(lock) in _kept else LOCK_SECONDS):
        _kept.discard(id(lock))
        return True
    _kept.add(id(lock))
    return False
