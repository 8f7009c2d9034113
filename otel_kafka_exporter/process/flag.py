"""A flag that threads wait for, and that a signal handler may set at any moment.

`threading.Event` has a lock that is not reentrant: a handler that sets one while its own thread is about to set it, or
to wait for it, waits for ever.
"""

from __future__ import annotations

import _thread
from contextlib import suppress


class Flag:
    """As `threading.Event`, of one lock of the interpreter's whose every operation is a single step.

    The lock is held while the flag is not set. It is the real one of the operating system's threads, whatever gevent
    or another library has put into `threading`.
    """

    __slots__ = ("_unset",)

    def __init__(self) -> None:
        self._unset = _thread.allocate_lock()
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
        if not self._unset.acquire(timeout=max(0.0, seconds)):
            return False
        self.set()  # for the others
        return True
