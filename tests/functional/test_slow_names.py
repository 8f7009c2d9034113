"""Where resolving a broker's name takes its time, as it does without a name server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT

from .pipelines import arrived

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


def run(names: str, seconds: float, app: str, *arguments: str) -> str:
    """What an application writes that ends well; each name takes it so many seconds."""
    return subprocess.run(
        [sys.executable, "-m", f"tests.functional.slow_names.{app}", *arguments],
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": names, "NAMES_TAKE": str(seconds)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=100,
    ).stdout


def test_a_process_ends_in_time(names: str) -> None:
    """A shutdown at the interpreter's exit keeps its budget, keeps the record, and the process ends well at once."""
    started = time.monotonic()
    seconds, spooled = run(names, 60, "ends").split()
    assert float(seconds) < 0.5 + 2
    assert spooled == "1"
    assert time.monotonic() - started < 30


def test_a_fork_waits_for_the_first_client(names: str, embedded_kafka: EmbeddedKafka) -> None:
    """Children that are forked while the first client resolves its broker's name deliver what they log."""
    run(names, 0.1, "forks", embedded_kafka.bootstrap_servers)
    assert sorted(arrived(embedded_kafka)) == [*(f"child {number}" for number in range(5)), "parent"]


def test_a_fork_waits_half_a_second_at_most(names: str) -> None:
    """Where a name resolution hangs, forks go on after half a second, all of them together."""
    waited = run(names, 60, "forks_away", "127.0.0.1:1")
    assert 0.4 < float(waited) < 1.5
