"""What we do ourselves, told apart from what the application does: what any library logs of it is no record.

The client of a Schema Registry logs each request, the one for a token too. Would these lines come back as records, each
would be a reason for the next.

The mark is a trace of our own: a log record has the trace of the thread that logs it, by whichever library, and the
batch processor leaves it that, as it does not leave it OpenTelemetry's context. Nobody samples it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from opentelemetry.context import attach, get_current
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: The trace of log records that tell of our own work; another in each process.
OWN_TRACE_ID = int.from_bytes(os.urandom(16), "big") | 1  # 0 is none
_SPAN = NonRecordingSpan(SpanContext(OWN_TRACE_ID, span_id=1, is_remote=False, trace_flags=TraceFlags(0)))


@contextmanager
def own_work() -> Iterator[None]:
    """What is logged meanwhile, on this thread, tells of our own work."""
    before = get_current()
    try:  # around all of it: Ctrl-C may come at any moment
        attach(set_span_in_context(_SPAN))
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
