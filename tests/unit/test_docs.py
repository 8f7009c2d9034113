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
PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
FOLDERS = ("docs", "examples", "collector-config")
DOCUMENTS = [
    *(ROOT / name for name in PAGES),
    *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md"))),
]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may have behind #: headings as GitHub writes them, and anchors of our own."""
    text = page.read_text(encoding="utf-8")
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", without_blocks, re.MULTILINE)
    slugs = {
        re.sub(r"[^\w\- ]", "", re.sub(r"`|\[([^]]*)\]\([^)]*\)", r"\1", each).lower()).replace(" ", "-")
        for each in headings
    }
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def test_the_settings_table_is_that_of_the_settings_module() -> None:
    """The README's table is what `make readme` writes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_table(readme) == readme


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link of a document names a file of the project, and, behind #, a heading or an anchor in it."""
    for target in re.findall(r"\]\(\s*(?!https?:)([^)]+)\)", document.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        page = (document.parent / name) if name else document
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target


def test_the_documented_envelope_is_one() -> None:
    """The example in the documentation decodes, and comes out as it stands."""
    [example] = blocks(ROOT / "docs" / "envelope.md", "json")
    assert decode(example.encode())._asdict() == json.loads(example)


def test_the_declarative_file_is_valid() -> None:
    """The declarative file in the documentation parses and names our exporter."""
    [text] = blocks(ROOT / "docs" / "ways-in.md", "yaml")
    [processor] = yaml.safe_load(text)["logger_provider"]["processors"]
    assert "onex_kafka" in processor["batch"]["exporter"]
