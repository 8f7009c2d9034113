"""The outbox on a file system that takes a new block for each store into an old one, and has none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from otel_kafka_exporter.outbox import DONE
from tests.outboxes import AUDIT, make_outbox, places

ROWS = 200


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """A disk with copy-on-write."""
    image, path = tmp_path / "image", tmp_path / "disk"
    path.mkdir()
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs mkfs.btrfs (btrfs-progs)")
    with image.open("wb") as file:
        file.truncate(128 << 20)
    for command in (["mkfs.btrfs", "-q", str(image)], ["mount", "-o", "loop", str(image), str(path)]):
        made = subprocess.run(command, capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"needs the right to mount a loop device: {made.stderr.decode().strip()}")
    path.chmod(0o700)
    try:
        yield path
    finally:
        (path / "filler").unlink(missing_ok=True)
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> None:
    """Leave no block on it."""
    descriptor = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    for size in (1 << 20, 4096):
        with suppress(OSError):
            while True:
                os.write(descriptor, os.urandom(size))
    os.close(descriptor)
    os.sync()


def settle_on_a_full_disk(disk: Path) -> None:
    outbox = make_outbox(disk)
    for number in range(ROWS):
        outbox.append(AUDIT, b"%d" % number * 100)
    os.sync()
    fill(disk)
    for place in places(outbox, AUDIT):
        outbox.set_state(place, DONE)


def test_a_full_disk_kills_nobody(btrfs: Path) -> None:
    """Rows that are on the disk are settled when that has no block left: no SIGBUS."""
    command = [sys.executable, "-c", f"from {__name__} import *; settle_on_a_full_disk(Path({str(btrfs)!r}))"]
    run = subprocess.run(command, check=False, timeout=60)
    assert run.returncode != -signal.SIGBUS
    assert run.returncode == 0
