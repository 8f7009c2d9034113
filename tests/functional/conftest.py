"""Environments for what readers paste, each made once in a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_kafka_exporter import __version__
from tests.functional.installing import Install, first_on_path, shell, virtual_environment
from tests.unit.test_docs import ROOT


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an empty virtual environment from which pip reaches a registry; without one, skip."""
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
def install(wheel: Path, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Makes an environment of install lines as they stand on a page, once for each, and gives its programs' directory.

    `otel-kafka-exporter` is this repository's wheel in it, which pip finds beside what its registry has.
    """
    made: dict[str, Path] = {}
    find_links = " ".join(filter(None, [os.environ.get("PIP_FIND_LINKS"), str(wheel.parent)]))

    def installed(line: str) -> Path:
        if line not in made:
            directory = tmp_path_factory.mktemp("installed")
            programs = virtual_environment(directory / "environment", empty / "pip")
            (directory / "constraints.txt").write_text(f"otel-kafka-exporter=={__version__}\n")
            places = {"PIP_CONSTRAINT": str(directory / "constraints.txt"), "PIP_FIND_LINKS": find_links}
            variables = first_on_path(programs) | places
            done = shell(line, directory, **variables)
            assert done.returncode == 0, done.stderr
            made[line] = programs
        return made[line]

    return installed
