"""Telling what the application's values raise while they are read from what interrupts the application itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: What ends a greenlet, or limits its time; never imported here, since an application that has none pays nothing.
_THROWN_INTO_GREENLETS = (("greenlet", "GreenletExit"), ("gevent.timeout", "Timeout"), ("eventlet.timeout", "Timeout"))
_raising_nothing: set[CodeType] = set()


def raises_nothing(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Mark a function that has nothing to raise: what does come out of it interrupts whoever called it."""
    _raising_nothing.add(function.__code__)
    return function


def is_interruption(error: BaseException) -> bool:
    """Whether an exception is to pass through all of ours.

    That is Ctrl-C; whatever a signal handler raises, such as `sys.exit()` on SIGTERM, or a time limit of Celery's or of
    a test's: raised in a function that was called with the frame that it interrupted; and what is thrown into a
    greenlet of gevent's or eventlet's: its end, or a time limit, with an exception of the application's own perhaps,
    which comes out of a pause.
    """
    if isinstance(error, KeyboardInterrupt) or _is_thrown_into_greenlets(error):
        return True
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        interrupted, step = step.tb_frame, step.tb_next
        if step.tb_frame.f_code in _raising_nothing or _has_argument(step.tb_frame, interrupted):
            return True
    return False


def _is_thrown_into_greenlets(error: BaseException) -> bool:
    kinds = (getattr(sys.modules.get(module), name, None) for module, name in _THROWN_INTO_GREENLETS)
    return any(kind is not None and isinstance(error, kind) for kind in kinds)


def _has_argument(function: FrameType, argument: FrameType) -> bool:
    """Whether a function holds this very object, be it as one of its `*args`."""
    values = list(function.f_locals.values())
    return any(part is argument for value in values for part in (value if type(value) is tuple else (value,)))
