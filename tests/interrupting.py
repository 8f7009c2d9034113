"""Ctrl-C at a chosen moment."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import otel_kafka_exporter

_PACKAGE = str(Path(otel_kafka_exporter.__file__).parent)
#: After which bytecodes CPython 3.10 to 3.14 looks for signals: at the end of a call, at the begin of a function, and
#: on the way back in a loop.
_LOOKING = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")


def interrupt_after(bytecodes: int, run: Callable[[], object]) -> bool:
    """Run something with a Ctrl-C after so many of this package's bytecodes in it; whether it came to that."""
    return _interrupt(bytecodes, run, lambda _name: True)


def interrupt_at_signal_point(number: int, run: Callable[[], object]) -> bool:
    """Run something with a Ctrl-C where Python looks for signals for the nth time; whether it came to that."""
    return _interrupt(number, run, lambda name: name.startswith(_LOOKING))


def _interrupt(left: int, run: Callable[[], object], counts: Callable[[str], bool]) -> bool:
    latest: FrameType | None = None
    name = ""

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left, latest, name
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= latest is frame and counts(name)
            if left == 0:
                left = -1
                raise KeyboardInterrupt
            latest, name = frame, dis.opname[frame.f_code.co_code[frame.f_lasti]]
        elif event == "return":
            latest = None
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
