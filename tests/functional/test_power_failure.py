"""A real file system whose disk loses what was not flushed, below processes with `durability=power`."""

from __future__ import annotations

import fcntl
import os
import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, exporting, records
from .test_crashes import AUDIT_TOPIC, emitted, emitting

#: Of ext4 and xfs: the file system ends at once, and neither its data nor its journal comes to the disk any more.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2


class Disk:
    """A file system in a file. What was not flushed when the power fails is lost."""

    def __init__(self, image: Path, path: Path) -> None:
        self.image = image
        self.path = path

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.path)], check=True, capture_output=True)

    def fail(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    image, path = tmp_path / "image", tmp_path / "disk"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    found = Disk(image, path)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        found.mount()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs mkfs.ext4, a loop device and the right to mount it (run as root): {error}")
    try:
        yield found
    finally:
        found.unmount()


@pytest.mark.parametrize("cluster", ["away", "there"])
def test_a_power_failure_loses_no_event_whose_call_returned(
    cluster: str, embedded_kafka: EmbeddedKafka, disk: Disk, tmp_path: Path
) -> None:
    """Every audit event whose emit had returned when the power failed is delivered by the next process."""
    choose = random.Random(17)
    settings = (f"outbox_dir={disk.path / 'state' / 'outbox'}", "durability=power", "delivery_wait=0.2")
    expected: set[str] = set()
    for n in range(3):
        file = tmp_path / f"emitted-{n}"
        if cluster == "away":
            embedded_kafka.down()
        least = choose.randint(1, 150)
        with emitting(embedded_kafka, "audit", file, *settings):
            until(lambda file=file, least=least: emitted(file) >= least, 60)  # type: ignore[misc]  # bound per round
            expected |= {f"{file.name} {number}" for number in range(1, emitted(file) + 1)}
            disk.fail()
        disk.unmount()
        disk.mount()
    embedded_kafka.up()
    with exporting(embedded_kafka, outbox_dir=disk.path / "state" / "outbox") as exporter:
        exporter.export(records(["after"]))
        until(lambda: expected <= set(arrived(embedded_kafka, AUDIT_TOPIC)), 30)
