"""Where resolving a broker's name takes its time, as it does without a name server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.test_docs import ROOT

HERE = Path(__file__).parent / "slow_names"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs a C compiler, and Linux for LD_PRELOAD"
)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library that makes name resolution slow in a process that it is loaded into."""
    library = tmp_path_factory.mktemp("names") / "names.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "names.c", "-ldl", "-lpthread"], check=True)
    return str(library)


def test_a_process_ends_in_time(names: str) -> None:
    """A shutdown at the interpreter's exit keeps its budget, keeps the record, and the process ends well at once."""
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "tests.functional.slow_names.ends"],
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": names, "NAMES_TAKE": "60"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=100,
    )
    seconds, spooled = ended.stdout.split()
    assert float(seconds) < 0.5 + 1.5
    assert spooled == b"1"
    assert time.monotonic() - started < 30
