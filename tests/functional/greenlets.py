"""Workers under gevent or eventlet, and whether there are these."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import EmbeddedKafka

HAS_GEVENT = importlib.util.find_spec("gevent") is not None
HAS_EVENTLET = importlib.util.find_spec("eventlet") is not None
needs_gevent = pytest.mark.skipif(not HAS_GEVENT, reason="gevent is not installed: it has no wheel for this Python")
needs_eventlet = pytest.mark.skipif(
    not HAS_EVENTLET, reason="eventlet is not installed: it has no wheel for this Python"
)
AUDIT_TOPIC = "omninode.logging.audit.v1"
APPS = Path(__file__).with_name("apps")
#: How far apart a greenlet's ticks, which are to come every 5 ms, may be on a machine that has other things to do.
#: What this is about lasted for 2.3 s to 3.4 s.
LONGEST_GAP = 1.0


class Said(NamedTuple):
    """A worker's answer: see `apps/greenlets.py`."""

    ticks: int
    apart: float
    took: float
    result: Any
    held: int


class Worker:
    """A process under gevent or eventlet."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, command: str, seconds: float = 0.0) -> Said:
        """Have something done, and see that the worker's other greenlets went on meanwhile."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command} {seconds}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the worker ended with {self._process.wait(10)}"
        said = Said(**json.loads(line))
        assert said.apart < LONGEST_GAP, (command, said)
        assert said.ticks >= said.took / LONGEST_GAP - 1, (command, said)
        assert not said.held, "a greenlet let others go on while it held a lock of ours"
        return said

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(30) == 0


@contextmanager
def working(
    kafka: EmbeddedKafka, way_in: str = "direct", patches: str = "before", greenlets: str = "gevent"
) -> Iterator[Worker]:
    arguments = [sys.executable, str(APPS / "greenlets.py"), kafka.bootstrap_servers, way_in, patches, greenlets]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


def resources(kafka: EmbeddedKafka) -> list[int]:
    """The events that are in Kafka, by their numbers."""
    return sorted(int(decode(message.value()).payload["resource"]) for message in kafka.messages(AUDIT_TOPIC))
