"""Waiting for what has to come about, without a pause that is a guess."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest


def until(condition: Callable[[], object], seconds: float = 15.0, what: str = "the condition") -> None:
    """Wait until a condition holds, and fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds:g} s"
        threading.Event().wait(0.002)


def exit_code(pid: int, seconds: float = 20.0) -> int:
    """The exit code of a child, which is killed when it does not end in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        threading.Event().wait(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the child hung")
