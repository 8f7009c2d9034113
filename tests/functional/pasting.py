"""What a reader pastes from a page: its blocks, in their order, into one shell and the files that they name."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.unit.test_docs import ROOT
from tests.ways_in.running import environment

_BLOCK = re.compile(r"^```(?P<language>bash|python|yaml)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
#: The first line of a block that begins a file; one without it goes on with the file before.
_FILE = re.compile(r"# (?P<name>[\w.]+\.(?:py|yaml))\n")
_END = "END_OF_WHAT_IS_PASTED"
SECONDS = 300  # pip may be slow


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def blocks_in_order(page: str) -> list[Block]:
    """The blocks of a page, or of a part of it, that readers paste."""
    return [Block(match["language"], match["text"]) for match in _BLOCK.finditer(page)]


def section(page: Path, title: str) -> str:
    """The part of a page below a heading of the second level."""
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def as_script(blocks: list[Block], servers: str) -> str:
    """A shell script that does with the blocks what a reader does, at this Kafka."""
    lines = []
    file = "app.py"
    for block in blocks:
        text = block.text.replace("localhost:9092", servers)
        if block.language == "bash":
            lines.append(text)
            continue
        begins = _FILE.match(text)
        if begins:
            file = begins["name"]
        lines.append(f"cat {'>' if begins else '>>'} {file} <<'{_END}'\n{text}{_END}\n")
    return "".join(lines)


def paste(script: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a shell that ends at the first command that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=script,
        cwd=directory,
        env={**without_packages(environment()), **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def without_packages(variables: dict[str, str]) -> dict[str, str]:
    """As in a shell in which no virtual environment is active, so that nothing of the tests' own is found."""
    own = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"}
    kept = {name: value for name, value in variables.items() if name not in own and not name.startswith("PYTEST")}
    places = [place for place in kept["PATH"].split(os.pathsep) if not Path(place).is_relative_to(ROOT)]
    return kept | {"PATH": os.pathsep.join(places)}
