"""Ctrl-C at a chosen moment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import otel_kafka_exporter

_PACKAGE = str(Path(otel_kafka_exporter.__file__).parent)


def interrupt_after(bytecodes: int, run: Callable[[], object]) -> bool:
    """Run something with a Ctrl-C after so many of this package's bytecodes in it; whether it came to that."""
    left = bytecodes

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
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
