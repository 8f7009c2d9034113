"""The three streams of a command: those that it was started without, and the output that nobody reads any more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def prepare_streams() -> None:
    """Have all three be there, and write what the terminal's encoding lacks as a question mark.

    In the place of one that was closed, the client's next socket would be what `print` writes to.
    """
    # Nothing of the output is to be lost in silence: writing to what is open for reading fails.
    sys.stdin = sys.stdin or _opened(0, os.O_RDONLY, "r")
    sys.stdout = sys.stdout or _opened(1, os.O_RDONLY, "w")
    sys.stderr = sys.stderr or _opened(2, os.O_WRONLY, "w")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def silence_stdout() -> None:
    """Have nothing written at the interpreter's end to where it cannot be written."""
    with suppress(OSError, ValueError):  # no descriptor, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _opened(descriptor: int, flags: int, mode: str) -> TextIO:
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    return open(descriptor, mode, encoding="utf-8", closefd=False)  # type: ignore[return-value]
