"""What the documents say holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from otel_kafka_exporter.records.decoding import decode
from scripts.settings_table import with_table

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_settings_table_is_that_of_the_settings_module() -> None:
    """The README's table is what `make readme` writes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_table(readme) == readme


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link of a document names a file of the project."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_the_documented_envelope_is_one() -> None:
    """The example in the documentation decodes, and comes out as it stands."""
    [example] = blocks(ROOT / "docs" / "envelope.md", "json")
    assert decode(example.encode())._asdict() == json.loads(example)


def test_the_declarative_file_is_valid() -> None:
    """The declarative file in the documentation parses and names our exporter."""
    [text] = blocks(ROOT / "docs" / "ways-in.md", "yaml")
    [processor] = yaml.safe_load(text)["logger_provider"]["processors"]
    assert "onex_kafka" in processor["batch"]["exporter"]
