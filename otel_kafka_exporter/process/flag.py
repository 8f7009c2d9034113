"""A flag that threads wait for, and that a signal handler may set at any moment.

`threading.Event` has a lock that is not reentrant: a handler that sets one while its own thread is about to set it, or
to wait for it, waits for ever.
"""

from __future__ import annotations

from contextlib import suppress

from .clock import monotonic
from .os_threads import allocate_lock, in_greenlet, pause


class Flag:
    """As `threading.Event`, of one lock of the interpreter's whose every operation is a single step.

    The lock is held while the flag is not set. It is the real one of the operating system's threads, whatever gevent
    or eventlet has put into `threading`; a greenlet that waits lets the others go on.
    """

    __slots__ = ("_unset",)

    def __init__(self) -> None:
        self._unset = allocate_lock()
        self._unset.acquire()

    def set(self) -> None:
        """Let everybody go on that waits, and whoever comes."""
        with suppress(RuntimeError):  # it is set
            self._unset.release()

    def clear(self) -> None:
        """Have those that come from now on wait."""
        self._unset.acquire(blocking=False)

    def is_set(self) -> bool:
        return not self._unset.locked()

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, at most for so long; whether it is. One that is set stays so."""
        if in_greenlet():
            return self._look_until_set(seconds)
        if not self._unset.acquire(timeout=max(0.0, seconds)):
            return False
        self.set()  # for the others
        return True

    def _look_until_set(self, seconds: float) -> bool:
        began = monotonic()
        while not self.is_set():
            left = began + seconds - monotonic()
            if left <= 0:
                return False
            pause(left, began)
        return True
