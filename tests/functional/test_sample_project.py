"""The sample project's tests pass as its user runs them: with the package installed, and nothing of this repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.test_docs import ROOT, blocks

PROJECT = ROOT / "examples" / "tested_service"
PAGE = ROOT / "docs" / "testing.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as the project's requirements ask for, with the package's wheel, built of this tree."""
    environment = tmp_path_factory.mktemp("sample") / "venv"
    wanted = (PROJECT / "requirements.txt").read_text().split()
    wanted = [str(ROOT) if each == "otel-kafka-exporter" else each for each in wanted]
    subprocess.run([ROOT / "scripts" / "venv", environment, *wanted], check=True, timeout=300)
    return environment


def passing(installed: Path, directory: Path, **more: str) -> str:
    """What pytest says of the tests in a directory, in a process that has nothing of this one."""
    variables: Mapping[str, str] = {"HOME": str(directory), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **more}
    done = subprocess.run(
        [installed / "bin" / "python", "-m", "pytest", "-q", "-W", "error"],
        cwd=directory,
        env=variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(400)
def test_the_sample_projects_tests(installed: Path, tmp_path: Path) -> None:
    """Each of them passes where pytest and the package are all that is installed, whatever the environment names."""
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    assert "9 passed" in passing(installed, project, OTEL_EXPORTER_KAFKA_TOPIC_PREFIX="staging.")


@pytest.mark.timeout(400)
def test_the_pages_examples(installed: Path, tmp_path: Path) -> None:
    """The blocks of the page on testing pass, one after the other in one file, beside the sample's code."""
    shutil.copy(PROJECT / "orders.py", tmp_path)
    code = "\n".join(blocks(PAGE, "python"))
    (tmp_path / "test_of_the_page.py").write_text(code)
    tests = len(re.findall(r"^(?:def|    def) test_", code, re.MULTILINE))
    assert tests > 3
    assert f"{tests} passed" in passing(installed, tmp_path)
