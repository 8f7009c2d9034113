"""The outbox on disks that are full, read-only or tidied up, through the whole pipeline."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from otel_kafka_exporter import DeliveryStats, KafkaLogExporter
from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import refusal, storage
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.outboxes import APPLICATION, AUDIT, DEAD, QUARTER, Losses, make_outbox, segments, waiting
from tests.waiting import until

from .pipelines import TOPIC, arrived, audit_records, exporting, records, settled

AUDIT_TOPIC = "omninode.logging.audit.v1"
PAD = "x" * 2_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(path)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"needs the right to mount a tmpfs (run as root): {made.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def set_clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    for module in (refusal, storage):
        monkeypatch.setattr(module, "monotonic", lambda: now)


def adds_up(stats: DeliveryStats) -> bool:
    rest = stats.delivered + stats.spooled + stats.dead_lettered + stats.in_flight + sum(stats.dropped.values())
    return stats.accepted == rest


def overfill(exporter: KafkaLogExporter) -> None:
    """More application records than there is room for, and events in between."""
    for n in range(1_000):
        exporter.hand_over(records([f"{n} {PAD}"])[0])
        if n % 20 == 0:
            exporter.hand_over(audit_records([f"event {n}"])[0])


def on_a_full_disk(disk: Path) -> dict[str, object]:
    return {"outbox_dir": str(disk)}


def at_its_bound(_disk: Path) -> dict[str, object]:
    return {"outbox_max_bytes": 1 << 20}


@pytest.mark.parametrize("limited", [on_a_full_disk, at_its_bound])
def test_application_records_give_way_to_events(
    limited: Callable[[Path], dict[str, object]], small_disk: Path, embedded_kafka: EmbeddedKafka
) -> None:
    """In an outage that outgrows the disk, or the bound, each lost application record is counted, and no event is."""
    with exporting(embedded_kafka, delivery_wait=0.2, **limited(small_disk)) as exporter:
        exporter.export([*records(["before"]), *audit_records(["before"])])
        embedded_kafka.down()
        exporter.export(records(["away from here on"]))
        overfill(exporter)
        stats = exporter.stats()
        assert adds_up(stats)
        assert set(stats.dropped) == {"outbox_full"}
        assert stats.accepted == 3 + 1_000 + 50
        embedded_kafka.up()
        until(lambda: settled(exporter))
        assert exporter.stats().dropped == stats.dropped
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ["before", *(f"event {n}" for n in range(0, 1_000, 20))]
        exporter.export(records(["after"]))
        newest = [text.split()[0] for text in arrived(embedded_kafka)]
        assert newest[-2:] == ["999", "after"]
        assert len(newest) == stats.accepted + 1 - 51 - stats.dropped["outbox_full"]


def test_a_disk_that_gives_nothing_back(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what is deleted frees nothing, as of a snapshot, an event without room costs few others."""
    losses = Losses()
    outbox = make_outbox(small_disk, 1 << 20, losses, 1 << 19)
    for stream in (DEAD, APPLICATION):
        for n in range(20):
            outbox.append(stream, b"%d:".ljust(QUARTER, b".") % n)
    with ExitStack() as backup:
        for path in segments(small_disk):
            backup.enter_context(path.open("rb"))
        with suppress(OSError):
            (small_disk / "another's").write_bytes(b"." * (1 << 20))
        descriptor = os.open(small_disk / "another's", os.O_WRONLY | os.O_APPEND)
        backup.callback(os.close, descriptor)
        with suppress(OSError):
            while True:
                os.write(descriptor, b"." * 4096)
        for seconds in (0.0, 2.0, 4.0):
            set_clock(monkeypatch, 1e9 + seconds)
            with pytest.raises(OutboxError, match="expected room on the disk"):
                outbox.append(AUDIT, b"event")
            assert losses == {(DEAD, "dead_letters_full"): 16}
    set_clock(monkeypatch, 1e9 + 6.0)
    outbox.append(AUDIT, b"event")
    assert waiting(outbox, AUDIT) == [b"event"]
    assert losses == {(DEAD, "dead_letters_full"): 16}
    outbox.close()


def test_a_disk_that_becomes_read_only_costs_nothing_while_kafka_is_there(
    small_disk: Path, embedded_kafka: EmbeddedKafka
) -> None:
    """Records and events flow; what an outage holds up stays in memory, and is `outbox_unavailable` at the end."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with exporting(embedded_kafka, delivery_wait=0.2, outbox_dir=str(small_disk)) as exporter:
        exporter.export([*records(["flows"]), *audit_records(["flows"])])
        assert exporter.stats()[:5] == (2, 2, 0, 0, 0)
        embedded_kafka.down()
        exporter.export([*records(["held up"]), *audit_records(["held up"])])
        assert exporter.stats()[:5] == (4, 2, 0, 0, 2)
        embedded_kafka.up()
        until(lambda: exporter.stats().delivered == 4)
        embedded_kafka.down()
        exporter.export([*records(["lost"]), *audit_records(["lost"])])
    stats = exporter.stats()
    assert adds_up(stats)
    assert stats.dropped == {"outbox_unavailable": 2}
    embedded_kafka.up()
    assert (arrived(embedded_kafka), arrived(embedded_kafka, AUDIT_TOPIC)) == (["flows", "held up"],) * 2


@pytest.mark.parametrize("removed", ["*/*/*.segment", "*/*", "*"])
def test_files_that_are_removed_while_they_are_in_use_lose_nothing(
    removed: str, outbox_dir: Path, embedded_kafka: EmbeddedKafka
) -> None:
    """Somebody tidies up in an outage: what is in memory yet is written anew, and delivered by the next process."""
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        exporter.export([*records(["one", "two"]), *audit_records(["three"])])
        for path in outbox_dir.glob(removed):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        until(lambda: len(list(outbox_dir.rglob("*.segment"))) == 2)
        exporter.hand_over(records(["four"])[0])
        assert exporter.stats()[:5] == (5, 1, 4, 0, 0)
    embedded_kafka.up()
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["next"]))
        until(lambda: exporter.stats().delivered == 5)
    assert set(arrived(embedded_kafka, TOPIC)) == {"before", "one", "two", "four", "next"}
    assert arrived(embedded_kafka, AUDIT_TOPIC) == ["three"]
