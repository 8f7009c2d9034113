"""Virtual environments as users have them: empty, and then with what one line of a page installs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .pasting import SECONDS, without_packages

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
