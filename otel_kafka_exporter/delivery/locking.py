"""The one lock of a process's delivery."""

from __future__ import annotations

from collections.abc import Callable

from otel_kafka_exporter.process import RLock, get_ident, owns, wait_for


class OthersHaveItError(BaseException):
    """Others have kept the lock for too long.

    No `Exception`, as Ctrl-C is none: it may come wherever that may, and passes through whatever it comes in.
    """


class DeliveryLock(RLock):  # type: ignore[misc]  # final as of its types, and not in CPython
    """The lock. A `with` waits for ever, but for threads within `bounded`: there it raises `OthersHaveItError`."""

    def __init__(self) -> None:
        self._bounded: list[int] = []

    def __enter__(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as of its base
        owned, is_tried = owns(self), False
        try:
            # No call in between, at which Ctrl-C could come: an owner has it once more when this is set.
            is_tried = True
            if self.acquire(False):  # noqa: FBT003 - as in `when_free`
                return True
            if self._bounded and get_ident() in self._bounded:
                if not wait_for(self):
                    raise OthersHaveItError  # noqa: TRY301 - the `try` is for Ctrl-C
                return True
            return self.acquire(blocking, timeout)
        except BaseException:  # the `with` has not begun, and would not let it go
            if is_tried if owned else owns(self):
                self.release()
            raise

    def bounded(self, do: Callable[..., object], *arguments: object) -> bool:
        """Do something that this thread gives up when others keep the lock; whether it was done."""
        # Not by a generator: an exception that came in contextlib's frames would leave it, and the mark, as it is.
        ident = get_ident()
        try:
            self._bounded.append(ident)
            do(*arguments)
        except OthersHaveItError:
            return False
        finally:
            self._bounded.remove(ident)
        return True
