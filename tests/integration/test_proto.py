"""What guards the proto."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_docs import ROOT

from .conftest import lacking

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string code = 6;", "string code = 9;"),
        ("int64 int_value = 3;", "string int_value = 3;"),
        ("  LEVEL_WARN = 3;\n", ""),
        ("string actor = 3;", "string user = 3;"),
    ],
)
def test_a_breaking_change_of_the_proto_is_refused(old: str, new: str, tmp_path: Path) -> None:
    """What `make check` calls finds a number, a type, a value or a name that readers would miss."""
    buf = Path(sys.executable).with_name("buf")
    if not buf.exists():
        lacking("buf is not installed (it is in the dependency group proto).")
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    against = [str(buf), "breaking", "proto", "--against", "proto/released.binpb"]
    assert subprocess.run(against, cwd=tmp_path, check=False).returncode == 0
    file = tmp_path / "proto" / "onex" / "logging" / "v1" / "envelope.proto"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert subprocess.run(against, cwd=tmp_path, check=False).returncode != 0
