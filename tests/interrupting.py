"""Ctrl-C, and SIGKILL, at a chosen moment."""

from __future__ import annotations

import dis
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import otel_kafka_exporter

from .waiting import exit_code

_PACKAGE = str(Path(otel_kafka_exporter.__file__).parent)
#: After which bytecodes CPython 3.10 to 3.14 looks for signals: at the end of a call, at the begin of a function, and
#: on the way back in a loop.
#: Until then the begin of a function is an event of another kind; a generator that goes on is one, too.
_BEGINS_AS_CALL = (3, 11) <= sys.version_info < (3, 12)
_RESUME = dis.opmap.get("RESUME", 0)
_LOOKING = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")


def interrupt_after(bytecodes: int, run: Callable[[], object]) -> bool:
    """Run something with a Ctrl-C after so many of this package's bytecodes in it; whether it came to that."""
    return _interrupt(bytecodes, run, lambda _name: True, _raise)


def interrupt_at_signal_point(number: int, run: Callable[[], object]) -> bool:
    """Run something with a Ctrl-C where Python looks for signals for the nth time; whether it came to that."""
    return _interrupt(number, run, lambda name: name.startswith(_LOOKING), _raise)


def strike_at_signal_point(number: int, run: Callable[[], object], strike: Callable[[], object]) -> bool:
    """Run something with a call, as of a signal handler, where Python looks for signals for the nth time.

    Returns:
        Whether it came to that.
    """
    struck: list[object] = []
    _interrupt(number, run, lambda name: name.startswith(_LOOKING), lambda: struck.append(strike()))
    return bool(struck)


def killed_after(bytecodes: int, prepare: Callable[[], Callable[[], object]]) -> bool:
    """Prepare something and run it, in a forked child that is killed after so many of this package's bytecodes of it.

    Returns:
        Whether it came to that.
    """
    child = os.fork()
    if not child:
        gc.disable()  # clients that earlier tests have left have no threads here, and cannot be destroyed
        try:
            run = prepare()
            _interrupt(bytecodes, run, lambda _name: True, lambda: os.kill(os.getpid(), signal.SIGKILL))
            os._exit(0)
        finally:
            os._exit(1)
    code = exit_code(child)
    assert code in {0, -signal.SIGKILL}
    return code != 0


class _Garbage:
    """Ends when the collector runs, wherever that is."""

    def __init__(self, finalizer: Callable[[], object]) -> None:
        self._itself = self
        self._finalizer = finalizer

    def __del__(self) -> None:
        self._finalizer()


def finalize_within(
    code: CodeType, run: Callable[[], object], finalizer: Callable[[], object], when: Callable[[FrameType], bool]
) -> None:
    """Run something, with a finalizer that the collector runs in this thread, once, within a function of it.

    Args:
        code: the function's.
        run: what is run.
        finalizer: what the finalizer calls.
        when: whether the moment has come, asked before each bytecode.
    """
    is_due = True

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal is_due
        if frame.f_code is code:
            frame.f_trace_opcodes = True
            if is_due and when(frame):
                is_due = False
                _Garbage(finalizer)
                gc.collect()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)


def _raise() -> None:
    raise KeyboardInterrupt


def _interrupt(
    left: int, run: Callable[[], object], counts: Callable[[str], bool], strike: Callable[[], object]
) -> bool:
    latest: FrameType | None = None
    name = ""

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left, latest, name
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "call" and _BEGINS_AS_CALL and frame.f_lasti <= frame.f_code.co_code.index(_RESUME):
            left -= counts("RESUME")
            if left == 0:
                left = -1
                strike()
        elif event == "opcode":
            left -= latest is frame and counts(name)
            if left == 0:
                left = -1
                strike()
            latest, name = frame, dis.opname[frame.f_code.co_code[frame.f_lasti]]
        elif event == "return":
            latest = None
        return trace

    before = sys.gettrace()
    gc.disable()  # what is collected meanwhile has code of its own, in which Python swallows a Ctrl-C
    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False
