"""`otel-kafka outbox` where what it finds is hostile, damaged, in use, or cannot be shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter.outbox import DONE, WAITING, Segment, encode_row
from otel_kafka_exporter.outbox.files import settle, stored_outboxes
from otel_kafka_exporter.records import KafkaRecord
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import exporting, records

CONFIGURATION = "0123456789abcdef"
NAME = "audit.500000000000000000.segment"


def otel_kafka(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("otel-kafka")), "outbox", *arguments]
    options = {"stdout": subprocess.PIPE, **options}
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=30, check=False, **options)


def left(directory: Path, *payloads: bytes, name: str = NAME, states: tuple[int, ...] = ()) -> Path:
    """The directory of a dead process with these rows."""
    box = directory / CONFIGURATION / "947c0d3d-43c5-43aa-93fa-aa1567f854cd"
    box.mkdir(0o700, parents=True, exist_ok=True)
    segment = Segment.create(box / name, 65_536, 1)
    for at, payload in enumerate(payloads):
        segment.append(payload, states[at] if states else WAITING)
    segment.close()
    (box / "owner").write_text("{}")
    return box


def row(event_id: str, **fields: Any) -> bytes:
    value = fields.pop("value", b'{"payload": {"context": {"otel.scope.name": "shop.orders"}}}')
    reason = fields.pop("reason", "")
    topic = fields.pop("topic", "omninode.logging.audit.v1")
    return encode_row(KafkaRecord(topic, b"acme", value, [("name", b"text")], 5, "audit", event_id), reason, 10**18)


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u009b31m\n2026-01-01T00:00:00Z  audit  forged\u202e\u2028\r"


@pytest.mark.parametrize("command", [["list"], ["status"], ["show", HOSTILE.replace("\0", "")]])
def test_no_text_of_a_record_moves_a_terminal(outbox_dir: Path, command: list[str]) -> None:
    """Escape sequences, newlines and other invisible characters are shown by their names, or not, and forge no line."""
    box = left(outbox_dir, row(HOSTILE, value=HOSTILE.encode(), reason=HOSTILE, topic=f"t{HOSTILE}"))
    (box / "owner").write_text(json.dumps({"pid": HOSTILE, "command": HOSTILE, "bootstrap_servers": HOSTILE}))
    shown = otel_kafka(*command).stdout
    assert "forged" in shown
    assert ("\\x1b" in shown) == (command != ["list"])
    assert all(each.isprintable() or each == "\n" for each in shown)
    assert not any(line.startswith("2026-01-01") for line in shown.splitlines())
    if command == ["list"]:
        assert shown.count("\n") == 1


def unreadable_row(box: Path) -> None:
    (box / NAME).unlink()
    left(box.parent.parent, b"not a row", row("another"))


def unreadable_segment(box: Path) -> None:
    (box / NAME.replace("5", "6", 1)).write_bytes(b"no segment")


def pipes(box: Path) -> None:
    (box / "owner").unlink()
    os.mkfifo(box / "owner")
    os.mkfifo(box / NAME.replace("5", "6", 1))


def deep_owner(box: Path) -> None:
    (box / "owner").write_text("[" * 100_000)


def directories(box: Path) -> None:
    (box / "owner").unlink()
    (box / "owner").mkdir()
    (box / NAME.replace("5", "6", 1)).mkdir()


@pytest.mark.parametrize("spoil", [unreadable_row, unreadable_segment, pipes, deep_owner, directories])
def test_what_cannot_be_read_is_said_and_costs_nothing_else(outbox_dir: Path, spoil: Any) -> None:
    """`status`, `list` and `purge` go on past it, and neither end in a traceback nor wait."""
    box = left(outbox_dir, row("readable"), row("another"))
    spoil(box)
    for command in (["status"], ["status", "--json"], ["list"], ["purge", "--records", "--yes"]):
        run = otel_kafka(*command)
        assert (run.returncode, "Traceback" in run.stderr) == (0, False), run.stderr
        if command == ["list"]:
            assert "another" in run.stdout
        if command == ["status"] and spoil in (unreadable_row, unreadable_segment):
            assert "unreadable" in run.stdout


def test_output_that_cannot_be_written(outbox_dir: Path) -> None:
    """On a full disk the command fails with one line, and a code that says nothing else."""
    left(outbox_dir, row("readable"))
    for command in (["status"], ["list", "--json"]):
        with Path("/dev/full").open("w") as full:
            run = otel_kafka(*command, stdout=full)
        assert (run.returncode, run.stderr.count("\n")) == (74, 1), run.stderr
        assert "No space left on device" in run.stderr


def test_another_directory(outbox_dir: Path, tmp_path: Path) -> None:
    """`--outbox-dir` goes before the environment."""
    left(tmp_path / "other", row("elsewhere"))
    assert otel_kafka("list").stdout == ""
    assert "elsewhere" in otel_kafka("list", "--outbox-dir", str(tmp_path / "other")).stdout
    run = otel_kafka("purge", "--records", "--yes", "--outbox-dir", str(tmp_path / "other"))
    assert run.stdout == "1 deleted\n"
    assert not outbox_dir.exists()


def test_one_record_in_full(outbox_dir: Path) -> None:
    """`show` has everything of the record of an event ID; of one that is not there it says so, with exit code 1."""
    left(outbox_dir, row("first"), row("two", reason="record_too_large"))
    shown = otel_kafka("show", "two")
    assert shown.returncode == 0
    for text in ("event_id            two", "record_too_large", "shop.orders", "name: text", NAME, "bytes"):
        assert text in shown.stdout
    assert "first" not in shown.stdout
    [document] = otel_kafka("show", "first", "--json").stdout.splitlines()
    assert json.loads(document)["headers"] == {"name": "text"}
    missing = otel_kafka("show", "three")
    assert (missing.returncode, missing.stdout, "no event three" in missing.stderr) == (1, "", True)


def test_what_a_broker_refused_is_told_apart(embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]) -> None:
    """The line and the list name a refused record's event ID, its logger and its size, and the line the limit."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE, 2)
        exporter.export(records(["refused"], scope="shop.refused"))
        until(lambda: exporter.stats().dead_lettered == 1)
        exporter.force_flush()
        [document] = otel_kafka("list", "--dead-letters", "--json").stdout.splitlines()
    listed = json.loads(document)["outbox"]
    assert listed["logger"] == "shop.refused"
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "refused for good" in line]
    for text in (listed["event_id"], "shop.refused", f"{listed['bytes']:,} bytes", "max.message.bytes"):
        assert text in line


def test_retry_beside_the_service_is_no_drop(embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]) -> None:
    """A service whose dead letters an operator delivers or deletes warns of no lost records."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["broken"], **{"omni.category": "audit"}))
        until(lambda: exporter.stats().dead_lettered == 1)
        assert otel_kafka("purge", "--yes").stdout == "1 deleted\n"
        until(lambda: exporter.stats().dead_lettered == 0)
        exporter.export(records(["after"]))
        assert exporter.stats().dropped == {"settled_by_operator": 1}
    assert "dropped" not in capfd.readouterr().err


# Beside others at the same moment


def test_a_row_that_has_gone_is_not_settled(tmp_path: Path) -> None:
    """Where a segment has gone, or another row is in its place, nothing is written, and nothing raised."""
    box = left(tmp_path, row("one"), row("two"))
    (stored,) = stored_outboxes(tmp_path)
    one, two = stored.rows()
    assert settle(one)
    (box / NAME).unlink()
    assert not settle(two)
    left(tmp_path, row("another"), row("three"))
    before = (box / NAME).read_bytes()
    assert not settle(two)
    assert (box / NAME).read_bytes() == before


def test_records_are_deleted_under_the_lock_that_adopters_take(outbox_dir: Path) -> None:
    """While `purge --records` is at an outbox nobody adopts it, and of one that somebody adopts it deletes nothing."""
    left(outbox_dir, row("one"))
    (stored,) = stored_outboxes(outbox_dir)
    with stored.held() as is_held:
        assert is_held
        run = otel_kafka("purge", "--records", "--yes")
        assert run.stdout == "0 deleted\n"
    assert otel_kafka("purge", "--records", "--yes").stdout == "1 deleted\n"


def test_an_adopter_does_not_undo_what_an_operator_settles(tmp_path: Path) -> None:
    """Whoever opens a segment writes to no row that waits: it may be settled at that moment, which has to stand."""
    box = left(tmp_path, row("letter"), row("sent"), name=f"audit.dead.{NAME[6:]}", states=(WAITING, DONE))
    path = box / f"audit.dead.{NAME[6:]}"
    offset = next(offset for offset, _ in Segment.copy(path).live_rows())
    stop = path.stat().st_mtime_ns
    segment = Segment.open(path, 1)
    segment.sync()
    segment.close()
    assert path.stat().st_mtime_ns == stop, "the kernel notes when a page of the map was written to"
    assert offset
