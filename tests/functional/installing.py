"""Virtual environments as users have them: empty, and then with what one line of a page installs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from otel_kafka_exporter import __version__
from tests.unit.test_docs import ROOT
from tests.waiting import until

from .pasting import SECONDS, section, without_packages

#: Compiling what is never imported takes as long as the rest of an installation.
QUICK = {"PIP_NO_COMPILE": "1"}
Install = Callable[[str], Path]


def shell(line: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell without this Python's own packages."""
    return subprocess.run(
        ["bash", "-euc", line],
        cwd=directory,
        env={**without_packages(dict(os.environ)), **QUICK, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def virtual_environment(directory: Path, pip: Path | None = None) -> Path:
    """Make an empty virtual environment; its directory of programs.

    Args:
        directory: where.
        pip: another environment's pip, to be used here as well: installing one anew takes seconds.
    """
    without = [] if pip is None else ["--without-pip"]
    subprocess.run([sys.executable, "-m", "venv", *without, directory], check=True, timeout=SECONDS)
    programs = directory / "bin"
    if pip is not None:
        (programs / "pip").write_text(f'#!/bin/sh\nexec {pip} --python {programs / "python"} "$@"\n')
        (programs / "pip").chmod(0o755)
    return programs


def first_on_path(directory: Path) -> dict[str, str]:
    """The variable by which a shell finds the programs of a directory first."""
    return {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}


class NoRegistryError(Exception):
    """pip reaches no registry of packages."""


class Environments:
    """An environment of each install line as it stands on a page, made once, and ahead of the tests that need it.

    A process beside the tests makes them, two at a time. `otel-kafka-exporter` is this repository's wheel in them,
    which pip finds beside what its registry has.

    Args:
        directory: where they are made.
        lines: of what, in the order of the tests.
    """

    def __init__(self, directory: Path, lines: list[str]) -> None:
        self._directory = directory
        self._lines = lines
        command = [sys.executable, "-m", "tests.functional.installing", str(directory), *lines]
        self._process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)

    def empty(self) -> Path:
        """The programs of an empty environment.

        Raises:
            NoRegistryError: from there pip reaches none.
        """
        return self._made("empty")

    def installed(self, line: str) -> Path:
        """The programs of the environment of a line, which is one of those that were given."""
        return self._made(str(self._lines.index(line)))

    def close(self) -> None:
        """Make no more of them."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _made(self, name: str) -> Path:
        said = self._directory / f"{name}.txt"
        until(lambda: said.exists() or self._process.poll() is not None, SECONDS, what=f"the environment {name}")
        programs, _, problem = said.read_text().partition("\n")
        if name == "empty" and problem:
            raise NoRegistryError(problem)
        assert not problem, problem
        return Path(programs)


def _make_all(directory: Path, lines: list[str]) -> None:
    os.nice(10)  # tests go on beside it
    empty = virtual_environment(directory / "empty")
    reached = shell("pip download --quiet --no-deps packaging", directory, **first_on_path(empty))
    if reached.returncode:
        last = reached.stderr.strip().splitlines()[-1:]
        _say(directory, "empty", empty, f"pip reaches no registry of packages: {last}")
        return
    _say(directory, "empty", empty)
    built = shell(f"pip wheel --quiet --no-deps --wheel-dir wheels {ROOT}", directory, **first_on_path(empty))
    assert built.returncode == 0, built.stderr
    find_links = " ".join(filter(None, [os.environ.get("PIP_FIND_LINKS"), str(directory / "wheels")]))
    (directory / "constraints.txt").write_text(f"otel-kafka-exporter=={__version__}\n")
    places = {"PIP_CONSTRAINT": str(directory / "constraints.txt"), "PIP_FIND_LINKS": find_links}

    def make(name: str, line: str) -> None:
        programs = virtual_environment(directory / name, empty / "pip")
        done = shell(line, directory, **first_on_path(programs), **places)
        _say(directory, name, programs, done.stderr if done.returncode else "")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, map(str, range(len(lines))), lines))


def _say(directory: Path, name: str, programs: Path, problem: str = "") -> None:
    """What has become of an environment, in one step."""
    (directory / f"{name}.new").write_text(f"{programs}\n{problem}")
    (directory / f"{name}.new").rename(directory / f"{name}.txt")


def lines_in(text: str) -> list[str]:
    """The install lines of a page, of a part of it, or of a program's docstring."""
    return re.findall(r"^pip install .*", text, re.MULTILINE)


def install_lines(page: Path, title: str) -> str:
    """All install lines of a section: one environment has them all."""
    return "\n".join(lines_in(section(page, title)))


if __name__ == "__main__":
    _make_all(Path(sys.argv[1]), sys.argv[2:])
