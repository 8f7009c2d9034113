"""Runs a command for some seconds, with something in each of its Python processes that says what its logging does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from otel_kafka_exporter.process import monotonic

from . import inside

_STDERR = 2  # what the command prints is no part of what is found
#: In which a process has to notice that it is asked: on a machine under load its start alone takes seconds.
_BEGIN_SECONDS = 10.0
_ANSWER_SECONDS = 15.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_MODULE = "otel_kafka_doctor_inside"

# Where a sitecustomize of opentelemetry-instrument's stands before this one, the entry points below do instead.
_SITE_CUSTOMIZE = f"""
import importlib.machinery, importlib.util, os, sys
import {_MODULE}
{_MODULE}.begin()
_here = os.path.dirname(os.path.abspath(__file__))
_spec = importlib.machinery.PathFinder.find_spec(
    "sitecustomize", [path for path in sys.path if os.path.abspath(path) != _here]
)
if _spec is not None and _spec.loader is not None:  # the one that this one hides
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
"""
_ENTRY_POINTS = f"""
[opentelemetry_pre_instrument]
otel_kafka_doctor = {_MODULE}:set_up_begins
[opentelemetry_post_instrument]
otel_kafka_doctor = {_MODULE}:set_up_ends
"""
_METADATA = "Metadata-Version: 2.1\nName: otel-kafka-doctor\nVersion: 1\n"


class Child(NamedTuple):
    """A command that was run.

    Attributes:
        program: its first word.
        pid: of its first process.
        code: its exit code, where it ended by itself; None where it was stopped when its time was over.
        reports: one of each Python process, as `inside` writes them.
    """

    program: str
    pid: int
    code: int | None
    reports: list[dict[str, Any]]

    @property
    def complete(self) -> list[dict[str, Any]]:
        """Of processes that were asked; the first one's comes first."""
        found = [each for each in self.reports if each["phase"] == "complete"]
        return sorted(found, key=lambda each: (each["pid"] != self.pid, each["pid"]))


def run_child(command: Sequence[str], seconds: float) -> Child:
    """Run a command, and stop it.

    Args:
        command: its words.
        seconds: how long it runs before its processes are asked; one that ends before is asked at its end.

    Raises:
        OSError: it cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="otel-kafka-doctor-") as name:
        directory = Path(name)
        with _started(command, _prepared(directory, seconds)) as process:
            _await(process, directory, seconds)
            code = process.poll()
        return Child(command[0], process.pid, code, _reports(directory))


def _prepared(directory: Path, seconds: float) -> dict[str, str]:
    """What makes Python processes report; returns their environment."""
    (directory / "sitecustomize.py").write_text(_SITE_CUSTOMIZE, encoding="utf-8")
    shutil.copyfile(inside.__file__, directory / f"{_MODULE}.py")
    distribution = directory / "otel_kafka_doctor-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text(_METADATA, encoding="utf-8")
    (distribution / "entry_points.txt").write_text(_ENTRY_POINTS, encoding="utf-8")
    paths = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        inside.DIRECTORY: str(directory),
        inside.SECONDS: str(seconds),
    }


@contextmanager
def _started(command: Sequence[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, all of which is ended in the end."""
    sys.stderr.flush()
    process = subprocess.Popen(  # noqa: S603 - the very command that was asked for
        command, stdin=subprocess.DEVNULL, stdout=_STDERR, stderr=_STDERR, env=environ, start_new_session=True
    )
    try:
        yield process
    finally:
        try:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(_STOP_SECONDS)
        finally:  # without delay at a second Ctrl-C
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(process: subprocess.Popen[bytes], directory: Path, seconds: float) -> None:
    """Wait until all its processes have reported, or it has ended."""
    asked = monotonic() + seconds
    while process.poll() is None:
        late = monotonic() - asked
        open_phases = {each["phase"] for each in _reports(directory) if _lives(each["pid"])} - {"complete"}
        patience = _ANSWER_SECONDS if "asked" in open_phases else _BEGIN_SECONDS if open_phases else 0.0
        if late > patience:
            return
        time.sleep(_LOOK_SECONDS)  # there is nothing to wait on: its processes are not all ours


def _reports(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
