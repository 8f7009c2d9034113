"""A flag that threads wait for, and that a signal handler may set at any moment.

`threading.Event` has a lock that is not reentrant: a handler that sets one while its own thread is about to set it, or
to wait for it, waits for ever.
"""

from __future__ import annotations

from contextlib import suppress

from .clock import monotonic
from .os_threads import allocate_lock, in_greenlet, pause


class Flag:
    """As `threading.Event`, by one lock of the interpreter's that is held while the flag is not set.

    Whether it is set stands beside the lock: Ctrl-C may come when a wait for that has just ended, and took it along
    otherwise. The lock is the real one of the operating system's threads, whatever gevent has put into `threading`; a
    greenlet that waits lets the others go on.
    """

    __slots__ = ("_is_set", "_unset")

    def __init__(self) -> None:
        self._is_set = False
        self._unset = allocate_lock()
        self._unset.acquire()

    def set(self) -> None:
        """Let everybody go on that waits, and whoever comes."""
        self._is_set = True
        self._let_in()

    def clear(self) -> None:
        """Have those that come from now on wait."""
        self._unset.acquire(blocking=False)  # first: who waits must not find it held of one that is set
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, at most for so long; whether it is. One that is set stays so."""
        if in_greenlet():
            return self._look_until_set(seconds)
        try:
            if not self._is_set:
                self._unset.acquire(timeout=max(0.0, seconds))
        finally:
            if self._is_set:
                self._let_in()  # the others, too
        return self._is_set

    def _let_in(self) -> None:
        with suppress(RuntimeError):  # nobody holds it
            self._unset.release()

    def _look_until_set(self, seconds: float) -> bool:
        began = monotonic()
        while not self.is_set():
            left = began + seconds - monotonic()
            if left <= 0:
                return False
            pause(left, began)
        return True
