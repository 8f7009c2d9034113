"""Telling what the application's values raise while they are read from what interrupts the application itself."""

from __future__ import annotations

from types import FrameType


def is_interruption(error: BaseException) -> bool:
    """Whether an exception is to pass through all of ours: Ctrl-C, and whatever a signal handler raises.

    Such as `sys.exit()` on SIGTERM, or a time limit of Celery's or of a test's: raised in a function that was called
    with the frame that it interrupted.
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        interrupted, step = step.tb_frame, step.tb_next
        if _has_argument(step.tb_frame, interrupted):
            return True
    return False


def _has_argument(function: FrameType, argument: FrameType) -> bool:
    """Whether a function holds this very object, be it as one of its `*args`."""
    values = list(function.f_locals.values())
    return any(part is argument for value in values for part in (value if type(value) is tuple else (value,)))
