"""A limit of time, or its end, reaches a greenlet that is in one of our calls; and what it emitted is kept."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .greenlets import APPS, needs_eventlet, needs_gevent


@pytest.mark.parametrize("waits", ["waits", "does not"])
@pytest.mark.parametrize(
    ("how", "raised"), [("limit", "Timeout"), ("own limit", "TooLate"), ("killed", "GreenletExit")]
)
@pytest.mark.parametrize(
    "greenlets", [pytest.param("gevent", marks=needs_gevent), pytest.param("eventlet", marks=needs_eventlet)]
)
def test_what_is_thrown_into_a_greenlet_passes_through(greenlets: str, how: str, raised: str, waits: str) -> None:
    """What ends a greenlet, or limits its time, ends the call that it is in, and the event is in the outbox."""
    ended = subprocess.run(
        [sys.executable, str(APPS / "greenlet_limits.py"), greenlets, how, waits],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [raised, 2], ended.stderr
