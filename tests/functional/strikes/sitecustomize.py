"""Sends this process a signal at a moment of the command's run: at the nth import, or call, or at its end."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

PHASE, MOMENT, NUMBER = (os.environ.pop(f"STRIKE_{name}") for name in ("PHASE", "MOMENT", "NUMBER"))
COUNT = Path(os.environ.pop("STRIKE_COUNT"))  # of moments there are
del os.environ["PYTHONPATH"]  # for this process alone


class Moments:
    """Of one phase: whether it has begun, and how many have passed."""

    begun = False
    passed = 0

    def on_import(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import":
            self.begun = self.begun or arguments[0] == "otel_kafka_exporter"  # the command's first
            self.count()

    def on_call(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        self.begun = self.begun or (code.co_name == "run" and code.co_filename.endswith("root.py"))
        if event in {"call", "c_call"}:
            self.count()

    def count(self) -> None:
        self.passed += self.begun
        if self.begun and self.passed == int(MOMENT):
            os.kill(os.getpid(), int(NUMBER))

    def at_end(self) -> None:
        sys.setprofile(None)
        COUNT.write_text(str(self.passed))
        if PHASE == "end":
            os.kill(os.getpid(), int(NUMBER))


moments = Moments()
atexit.register(moments.at_end)
if PHASE == "import":
    sys.addaudithook(moments.on_import)
elif PHASE == "call":
    sys.setprofile(moments.on_call)
