"""The pictures in the documentation are of what the commands say today."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts.screenshots import screenshots
from tests.unit.test_docs import ROOT

from .conftest import require_kafka

pytestmark = pytest.mark.integration


def lines(path: Path) -> list[str]:
    """What is on a picture, by its lines: without the digits, which are of versions and of numbers of things."""
    found: dict[str, str] = {}
    for each in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in each.attrib:
            at = each.attrib["clip-path"]
            found[at] = found.get(at, "") + (each.text or "")
    return sorted(re.sub(r"\b[0-9a-f]{8}\b|\d+", "0", line).replace("\xa0", " ").strip() for line in found.values())


def test_the_pictures_are_of_today(tmp_path: Path) -> None:
    """Made anew they show the same, line by line: else `make screenshots`, and look at what is new."""
    require_kafka()
    screenshots(tmp_path)
    for made in sorted(tmp_path.iterdir()):
        assert lines(made) == lines(ROOT / "docs" / "images" / made.name), made.name
