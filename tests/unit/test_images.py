"""The pictures in the documentation: there, complete in themselves, and looked at by a reader of the page."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.unit.test_docs import ROOT

IMAGES = ROOT / "docs" / "images"


@pytest.mark.parametrize("name", ["demo", "doctor", "tail", "topics"])
def test_a_picture(name: str) -> None:
    """It is well-formed, shows the command that it is named after, and loads nothing from elsewhere."""
    text = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
    words = "".join(ET.fromstring(text).itertext()).replace("\xa0", " ")
    assert f"otel-kafka {name}" in words
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
    assert f"(images/{name}.svg)" in (ROOT / "docs" / "command-line.md").read_text()


def test_no_picture_is_left_over() -> None:
    """Each file there is a picture that is made."""
    assert sorted(path.stem for path in IMAGES.iterdir()) == ["demo", "doctor", "tail", "topics"]
