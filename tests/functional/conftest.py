"""Environments for what readers paste, each made once in a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.installing import Install, first_on_path, shell, virtual_environment
from tests.unit.test_docs import ROOT


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an empty virtual environment from which pip reaches a registry; the tests that need one are skipped without."""
    programs = virtual_environment(tmp_path_factory.mktemp("empty") / "environment")
    download = "pip download --quiet --no-deps --dest downloaded packaging"
    reached = shell(download, programs.parent, **first_on_path(programs))
    if reached.returncode:
        pytest.skip(f"pip reaches no registry of packages: {reached.stderr.strip().splitlines()[-1:]}")
    return programs


@pytest.fixture(scope="session")
def wheel(empty: Path) -> Path:
    """This repository's wheel, as a registry would have it."""
    built = shell(f"pip wheel --quiet --no-deps --wheel-dir wheels {ROOT}", empty.parent, **first_on_path(empty))
    assert built.returncode == 0, built.stderr
    [found] = (empty.parent / "wheels").iterdir()
    return found


@pytest.fixture(scope="session")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Makes an environment of an install line as it stands on a page, once for each, and gives its programs' directory.

    `otel-kafka-exporter` is this repository's wheel in it, whatever a registry has by that name.
    """
    made: dict[str, Path] = {}

    def installed(line: str) -> Path:
        if line not in made:
            directory = tmp_path_factory.mktemp("installed")
            programs = virtual_environment(directory / "environment")
            (directory / "constraints.txt").write_text(f"otel-kafka-exporter @ {wheel.as_uri()}\n")
            variables = first_on_path(programs) | {"PIP_CONSTRAINT": str(directory / "constraints.txt")}
            done = shell(line, directory, **variables)
            assert done.returncode == 0, done.stderr
            made[line] = programs
        return made[line]

    return installed
