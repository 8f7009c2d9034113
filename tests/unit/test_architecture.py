"""The map of the code says what is there."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from otel_kafka_exporter.delivery.steps import picture

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "otel_kafka_exporter"
MAP = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`(\w+/\w+\.py)`", MAP))))
def test_a_file_that_it_names_is_there(file: str) -> None:
    """Each module that the map names exists."""
    assert (PACKAGE / file).is_file()


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", MAP))))
def test_a_test_that_it_names_is_there(test: str) -> None:
    """Each invariant's test exists."""
    file, _, name = test.partition("::")
    functions = {
        node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)
    }
    assert not name or name in functions


def test_the_states_are_drawn_as_they_are() -> None:
    """The picture of a record's states is the table that the code executes, here and in docs/delivery.md."""
    assert picture() in MAP
    assert picture() in (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")


def test_every_folder_is_on_it() -> None:
    """The picture shows each folder of the package."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    picture = MAP.split("```")[1]
    assert {folder for folder in folders if re.search(rf"(^ |  ){folder}  ", picture, re.MULTILINE)} == folders


@pytest.mark.parametrize("folder", sorted(path.parent for path in PACKAGE.glob("*/__init__.py")))
def test_a_folder_says_what_it_is_for(folder: Path) -> None:
    """Each folder's docstring has one to five lines, and it exports by `__all__` what others use."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert docstring is not None
    assert len(docstring.splitlines()) <= 5


def test_what_the_oldest_dependencies_are_not_tried_with_is_there() -> None:
    """Each name that the Makefile leaves out is one of a file or a folder of tests."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    left_out = " ".join(re.findall(r"^LEFT_OUT \+?= (.*)$", makefile, re.MULTILINE)).split()
    assert left_out
    assert [name for name in left_out if not list((ROOT / "tests").glob(f"{name}*"))] == []


def test_another_interpreter_has_environments_of_its_own() -> None:
    """`make test VENV=…`, as `make test-all` calls it, installs into no other directory and runs from no other."""
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", "test", "VENV=elsewhere"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "elsewhere/dev" in planned
    assert "elsewhere/lowest" in planned
    assert ".venv" not in planned
