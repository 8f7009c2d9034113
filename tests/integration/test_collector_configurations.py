"""Every configuration of collector-config/, laid over each other as the README shows them, is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.rig import otelcol

from .collectors import CONFIGURATIONS, README

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.usefixtures("collector_binary")]

#: The configurations as they are laid over each other.
LAID = [
    *(["from-kafka", *over] for over in ([], ["secure-from-kafka"], ["bridge"], ["tail-tenant"])),
    *(["to-kafka", *over] for over in ([], ["secure-to-kafka"])),
]


@pytest.mark.parametrize("files", LAID, ids="+".join)
def test_every_configuration_is_valid(files: list[str]) -> None:
    """The Collector's own check finds nothing wrong, and does find what is."""
    paths = [CONFIGURATIONS / f"{name}.yaml" for name in files]
    assert otelcol.validate(paths, {"KAFKA_USERNAME": "shop", "KAFKA_PASSWORD": "x", "KAFKA_CA_FILE": "ca.pem"}) == ""


def test_no_configuration_is_left_out() -> None:
    """Each file of the folder is in the README, and in the check above."""
    names = {path.name for path in CONFIGURATIONS.glob("*.yaml")}
    assert names == {
        *("from-kafka.yaml", "bridge.yaml", "tail-tenant.yaml", "secure-from-kafka.yaml"),
        *("to-kafka.yaml", "secure-to-kafka.yaml"),
    }
    assert all(f"[{name}]({name})" in README for name in names)


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.iterdir()), ids=lambda path: path.name)
def test_every_command_shown_is_one_that_is_tested(path: Path) -> None:
    """Whichever files a command of the README or of a comment starts a Collector with, are tried together here."""
    for command in re.findall(r"otelcol-contrib ([^\n]*--config [^\n]*)", path.read_text(encoding="utf-8")):
        files = [Path(name).stem for name in re.findall(r"--config (\S+)", command)]
        assert files in LAID, command
