"""What we do ourselves, told apart from what the application does: what any library logs of it is no record.

The client of a Schema Registry logs each request, the one for a token too. Would these lines come back as records, each
would be a reason for the next. A callback of the configuration's, for tokens say, is our work, too: what it logs is
heard wherever the application listens, and makes no record; an audit or security event that it emits does.

In the middle of our work the interpreter may run what is none of it: a finalizer, or a signal handler. What these log
is the application's, like everything else that it logs.

The mark is a trace of our own: a log record has the trace of the thread that logs it, by whichever library, and the
batch processor leaves it that, as it does not leave it OpenTelemetry's context. Nobody samples it.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

from opentelemetry.context import attach, get_current
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, get_current_span, set_span_in_context

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: The trace of log records that tell of our own work; another in each process.
OWN_TRACE_ID = int.from_bytes(os.urandom(16), "big") | 1  # 0 is none
_OWN_CONTEXT = SpanContext(OWN_TRACE_ID, span_id=1, is_remote=False, trace_flags=TraceFlags(0))


class _OwnSpan(NonRecordingSpan):
    """The current span while we work. Who logs asks it for its context, on the thread and at the moment of the call.

    Args:
        outer: the span that is current otherwise.
        depth: how many frames there are around our work.
    """

    def __init__(self, outer: Span, depth: int) -> None:
        super().__init__(_OWN_CONTEXT)
        self._outer = outer
        self._depth = depth

    def get_span_context(self) -> SpanContext:
        """Ours; or the application's, where it has interrupted us."""
        return self._outer.get_span_context() if _is_interrupted(self._depth) else _OWN_CONTEXT


def _is_interrupted(depth: int) -> bool:
    """Whether this is called, within so many frames, by something that nobody has called but the interpreter."""
    frames = list(_frames(sys._getframe(1)))  # noqa: SLF001 - documented, in spite of its name
    within = [frame.f_code for frame in frames[: len(frames) - depth]] if len(frames) > depth else []
    uncalled = _uncalled()
    return any(code.co_name == "__del__" or code in uncalled for code in within)


def _uncalled() -> set[CodeType]:
    """The code of what the interpreter runs wherever it is: signal handlers, finalizers, the collector's callbacks."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    functions = [getattr(each, "__func__", each) for each in (*handlers, *gc.callbacks, weakref.finalize.__call__)]
    return {code for each in functions if (code := getattr(each, "__code__", None)) is not None}


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@contextmanager
def own_work() -> Iterator[None]:
    """What is logged meanwhile, on this thread, tells of our own work."""
    before = get_current()
    depth = sum(1 for _ in _frames(sys._getframe(2)))  # noqa: SLF001 - as above; that of the `with` block
    span = _OwnSpan(get_current_span(before), depth)
    try:  # around all of it: Ctrl-C may come at any moment
        attach(set_span_in_context(span))
        yield
    finally:
        attach(before)


def as_own_work(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The same function, whose work is ours, on whichever thread it is called."""

    @functools.wraps(function)
    def marked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with own_work():
            return function(*args, **kwargs)

    return marked
