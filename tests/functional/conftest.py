"""Environments for what readers paste, each made once in a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.installing import Environments, Install, NoRegistryError


@pytest.fixture(scope="session")
def environments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environments]:
    """Those of the `LINES` of the modules in this run."""
    modules = dict.fromkeys(item.module for item in request.session.items if isinstance(item, pytest.Function))
    lines = dict.fromkeys(line for module in modules for line in getattr(module, "LINES", ()))
    found = Environments(tmp_path_factory.mktemp("environments"), list(lines))
    yield found
    found.close()


@pytest.fixture(scope="session", autouse=True)
def _environments_are_made_ahead(request: pytest.FixtureRequest) -> None:
    """From the first test on, in a run that has tests of them."""
    if any("environments" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("environments")


@pytest.fixture
def empty(environments: Environments) -> Path:
    """The programs of an empty virtual environment from which pip reaches a registry; without one, skip."""
    try:
        return environments.empty()
    except NoRegistryError as error:
        pytest.skip(str(error))


@pytest.fixture
def install(environments: Environments, empty: Path) -> Install:  # noqa: ARG001 - it skips
    """Gives the directory of programs of the environment that an install line makes."""
    return environments.installed
