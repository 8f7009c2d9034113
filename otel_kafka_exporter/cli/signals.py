"""How a signal ends a command: by an exception while there is something to tidy up, at once before and behind that."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

#: Ctrl-C, a service manager's word, and a terminal that is closed (which Windows has not).
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def signals_raise() -> Iterator[None]:
    """Have each signal that would end the process raise KeyboardInterrupt or SystemExit, until the block is over.

    What is ignored stays so, as nohup leaves SIGHUP and a shell the SIGINT of its background jobs. Behind the block the
    process ends by the signal itself: an exception in the interpreter's own last steps would be written as a traceback.
    """
    ours = [number for number in _SIGNALS if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)]
    try:
        for number in ours:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _leave)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)
