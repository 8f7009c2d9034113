"""What lies in the outbox and is not the service's own, through the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from otel_kafka_exporter.outbox import Segment, encode_row
from otel_kafka_exporter.records import KafkaRecord
from otel_kafka_exporter.settings import Settings
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, audit_records, exporting
from .test_outbox_commands import otel_kafka

AUDIT_TOPIC = "omninode.logging.audit.v1"


def leave(kafka: EmbeddedKafka, outbox_dir: Path, records: list[KafkaRecord], stream: str = "audit") -> Path:
    """What a dead process has left, made by hand; its segment."""
    configuration = Settings.load({"bootstrap_servers": kafka.bootstrap_servers}).configuration
    box = outbox_dir / configuration / str(uuid4())
    for directory in (outbox_dir, box.parent, box):
        directory.mkdir(0o700, exist_ok=True)
    (box / "owner").touch(0o600)
    path = box / f"{stream}.500000000000000000.segment"
    segment = Segment.create(path, 65_536, 1)
    for record in records:
        segment.append(encode_row(record, "invalid_record" if "dead" in stream else "", 1))
    segment.close()
    return path


def audit(topic: str, value: bytes, headers: list[Any]) -> KafkaRecord:
    return KafkaRecord(topic, b"key", value, headers, 0, "audit", str(uuid4()))


def test_a_forged_row_is_not_sent(
    embedded_kafka: EmbeddedKafka, outbox_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A row for a topic of another application's is not produced with the service's credentials, and is said."""
    leave(embedded_kafka, outbox_dir, [audit("payments.instructions.v1", b"{}", [])])
    with exporting(embedded_kafka) as exporter:
        exporter.export(audit_records(["own"]))
        until(lambda: list(outbox_dir.rglob("set-aside/*")))
        exporter.export(audit_records(["another"]))
        assert exporter.stats()[:5] == (2, 2, 0, 0, 0)
    assert arrived(embedded_kafka, AUDIT_TOPIC) == ["own", "another"]
    assert embedded_kafka.messages("payments.instructions.v1") == []
    assert "1 records of the outbox were set aside" in capfd.readouterr().err


def test_a_forged_dead_letter_is_not_sent_again(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """`retry` sends dead letters for the service's own topics only, and of no directory that others may write to."""
    path = leave(embedded_kafka, outbox_dir, [audit("payments.instructions.v1", b"{}", [])], "audit.dead")
    run = otel_kafka(embedded_kafka, "retry")
    assert (run.returncode, run.stdout) == (0, "0 delivered, 0 refused again, 1 cannot be sent as they are\n")
    path.parent.chmod(0o777)
    run = otel_kafka(embedded_kafka, "retry")
    assert (run.returncode, run.stdout) == (0, "0 delivered, 0 refused again, 0 cannot be sent as they are\n")
    assert "nobody else may write to" in run.stderr
    assert "not trusted" in otel_kafka(embedded_kafka, "status").stdout
    assert embedded_kafka.messages("payments.instructions.v1") == []


def test_a_row_that_needs_a_registry_blocks_nothing(
    embedded_kafka: EmbeddedKafka, outbox_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A process without a Schema Registry leaves a framed row to one that has one, says so, and delivers its own."""
    headers = [("content-type", b"application/x-protobuf; framing=confluent")]
    path = leave(embedded_kafka, outbox_dir, [audit(AUDIT_TOPIC, b"\nframed", headers)])
    with exporting(embedded_kafka) as exporter:
        exporter.export(audit_records(["own"]))
        until(lambda: "cannot be sent by this one" in capfd.readouterr().err)
        exporter.export(audit_records(["another"]))
        assert exporter.stats()[:5] == (2, 2, 0, 0, 0)
    assert arrived(embedded_kafka, AUDIT_TOPIC) == ["own", "another"]
    assert path.is_file()


def test_a_directory_of_somebody_elses_is_said_once(
    embedded_kafka: EmbeddedKafka, outbox_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Records flow without an outbox that others may write to; one line says why there is none."""
    outbox_dir.mkdir()
    outbox_dir.chmod(0o777)
    with exporting(embedded_kafka) as exporter:
        for n in range(3):
            exporter.export(audit_records([f"{n}"]))
        assert exporter.stats()[:5] == (3, 3, 0, 0, 0)
    first, *others = [line for line in capfd.readouterr().err.splitlines() if "nobody else may write to" in line]
    assert "there is no outbox" in first
    assert not any("there is no outbox" in line for line in others)
    assert list(outbox_dir.iterdir()) == []
