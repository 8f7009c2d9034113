"""Processes without a home directory, or with no place for an outbox: they start, and say so then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_kafka_exporter import KafkaLogExporter, SettingsError
from otel_kafka_exporter.otel.exporter import EntryPointKafkaLogExporter
from tests.functional.test_disks import small_disk  # noqa: F401 - a fixture

NOBODY_IN_PARTICULAR = 54_321  # has no entry in /etc/passwd

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a passwd entry")

#: Makes everything that a service may make, as that user, and prints where the outbox would be.
MAKE = f"""
import asyncio, os, sys
import opentelemetry.sdk._logs
from otel_kafka_exporter import *
from otel_kafka_exporter.otel.exporter import EntryPointKafkaLogExporter
from otel_kafka_exporter.settings import Settings
import otel_kafka_exporter.publisher, confluent_kafka, orjson, platformdirs
os.setgid({NOBODY_IN_PARTICULAR}); os.setuid({NOBODY_IN_PARTICULAR})
print(Settings.load({{"bootstrap_servers": "127.0.0.1:1"}}).outbox_dir)
for outbox in (False, True):
    KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox=outbox).shutdown()
    KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", outbox=outbox).shutdown()
    EntryPointKafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox=outbox).shutdown()
    LoggingEventPublisher("127.0.0.1:1", outbox=outbox).close()
os.environ["KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
assert asyncio.run(publish_audit_log("acme", "a", "b", "c", "success", wait=False)) is not None
sys.stdout.flush()
os._exit(0)  # without waiting for a broker that is not there
"""


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@as_root
@pytest.mark.parametrize("home", [None, "/"])
def test_without_a_home_directory_everything_can_be_made(home: str | None) -> None:
    """No constructor and no one-off function raises for want of a home, and the outbox has a place of its own."""
    ended = run(MAKE, **({} if home is None else {"HOME": home}))
    assert (ended.returncode, "Traceback" in ended.stderr, "no outbox" in ended.stderr) == (0, False, False)
    assert ended.stdout == f"/var/tmp/otel-kafka-exporter-{NOBODY_IN_PARTICULAR}\n"


def test_a_home_is_kept_to(tmp_path: Path) -> None:
    """With a home directory, or where XDG says so, the outbox is in the user's state directory."""
    show = "from otel_kafka_exporter.settings.values import default_outbox_dir; print(default_outbox_dir())"
    assert run(show, HOME=str(tmp_path)).stdout.startswith(f"{tmp_path}/")
    assert run(show, XDG_STATE_HOME=str(tmp_path)).stdout.startswith(f"{tmp_path}/")


def test_a_tilde_without_a_home_is_a_wrong_setting() -> None:
    """A place that was set and cannot be told is said by the setting's name."""
    with pytest.raises(SettingsError, match="outbox_dir: expected the path of a directory"):
        KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox_dir="~nobody-of-this-name/outbox")


def unusable(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "outbox"


def test_an_unusable_place_is_said_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line when the exporter is made, and not in the first outage, says that there is no outbox, and why."""
    place = unusable(tmp_path)
    KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox_dir=place).shutdown()
    (line,) = [line for line in caplog.messages if "there is no outbox" in line]
    assert str(tmp_path / "file") in line
    assert "set outbox_dir" in line
    caplog.clear()
    KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox_dir=place, outbox=False).shutdown()
    KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox_dir=tmp_path / "made" / "later").shutdown()
    assert caplog.messages == []
    assert not (tmp_path / "made").exists()


def test_a_read_only_disk_is_said_at_the_start(
    small_disk: Path,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So is a disk that cannot be written to, and one that is full."""
    (small_disk / "filler").write_bytes(bytes(1_000_000))
    with pytest.raises(SettingsError, match=r"outbox_dir: expected 65536 bytes that are free .* outbox_required"):
        KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox_dir=small_disk / "outbox", outbox_required=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    KafkaLogExporter(bootstrap_servers="127.0.0.1:1", outbox_dir=small_disk / "outbox").shutdown()
    assert "can write to, got one that it cannot" in caplog.text


def test_an_outbox_that_is_required(tmp_path: Path) -> None:
    """With `outbox_required` an unusable place is an error; OpenTelemetry's own set-up goes on all the same."""
    required = {"bootstrap_servers": "127.0.0.1:1", "outbox_required": True}
    with pytest.raises(SettingsError, match=r"outbox_dir: .*outbox_required"):
        KafkaLogExporter(**required, outbox_dir=unusable(tmp_path))  # type: ignore[arg-type]
    exporter = EntryPointKafkaLogExporter(**required, outbox_dir=str(tmp_path / "file" / "outbox"))
    exporter.shutdown()
    with pytest.raises(SettingsError, match="outbox_required: expected outbox=true beside it"):
        KafkaLogExporter(**required, outbox=False)  # type: ignore[arg-type]
    KafkaLogExporter(**required, outbox_dir=tmp_path / "outbox").shutdown()  # type: ignore[arg-type]
