"""How often a record was tried again is told to who looks into the outbox: so the one that never arrives is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event
from otel_kafka_exporter.outbox.files import StoredRow, stored_outboxes
from otel_kafka_exporter.outbox.segment_format import HEADER_BYTES, TRIES_AT, row_at
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import audit_records, exporting, records
from .test_outbox_commands import otel_kafka


def kept(directory: Path, text: str) -> Iterator[StoredRow]:
    return (row for stored in stored_outboxes(directory) for row in stored.rows() if text.encode() in row.payload)


def is_tried_more_than(tries: int, directory: Path) -> bool:
    return max((row.tries for row in kept(directory, "the poison")), default=0) > tries


@contextmanager
def draining(kafka: EmbeddedKafka) -> Iterator[None]:
    """A process that delivers what is left, until it is killed."""
    command = [str(Path(sys.executable).with_name("otel-kafka")), "outbox", "drain"]
    environment = {**os.environ, "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def test_a_record_that_no_process_survives_is_found(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """Each process that adopts it, sends it and is killed before an answer comes has counted that."""
    embedded_kafka.down()
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        exporter.export(audit_records(["the poison"]))
    assert [row.tries for row in kept(outbox_dir, "the poison")] == [0]
    embedded_kafka.up()
    embedded_kafka.fail_next(KafkaError.REQUEST_TIMED_OUT, 10_000)
    tries = 0
    for _ in range(3):
        with draining(embedded_kafka):
            until(partial(is_tried_more_than, tries, outbox_dir), 30)
        (row,) = kept(outbox_dir, "the poison")
        tries = row.tries
    shown = otel_kafka(embedded_kafka, "show", row.row.record.event_id).stdout
    assert f"tried again         {tries}\n" in shown
    document = json.loads(otel_kafka(embedded_kafka, "show", "--json", row.row.record.event_id).stdout)
    assert document["tries"] == tries
    listed = otel_kafka(embedded_kafka, "list", "--limit", "10000").stdout
    assert f"tried again: {tries}" in next(line for line in listed.splitlines() if "the poison" in line)
    lines = otel_kafka(embedded_kafka, "list", "--json", "--limit", "10000").stdout.splitlines()
    assert [json.loads(line)["outbox"]["tries"] for line in lines if "the poison" in line] == [tries]


def test_what_is_delivered_at_the_first_try_is_not_counted(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """A durable event that arrives at once is written down as before, and no byte more."""
    processor = KafkaLogRecordProcessor(bootstrap_servers=embedded_kafka.bootstrap_servers)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    for number in range(20):
        emit_audit_event(f"event {number}", "bob", "order", "success", logger=provider.get_logger("x"))
    assert provider.force_flush()
    (path,) = outbox_dir.rglob("audit.*.segment")
    content, offset, tries = path.read_bytes(), HEADER_BYTES, []
    while (row := row_at(content, offset, len(content))) is not None:
        tries.append(content[offset + TRIES_AT])
        offset = row.end
    assert tries == [0] * 20
    provider.shutdown()


def test_a_dead_letter_that_is_refused_again(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """`retry` counts for each dead letter that it has tried it, beside the process that has it."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)
        exporter.export(records(["the refused one"]))
        until(lambda: exporter.stats().dead_lettered == 1)
        (before,) = kept(outbox_dir, "the refused one")
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 1)
        assert otel_kafka(embedded_kafka, "retry").returncode == 1
        (after,) = kept(outbox_dir, "the refused one")
        assert after.tries == before.tries + 1
        listed = otel_kafka(embedded_kafka, "list", "--dead-letters").stdout
        assert f"tried again: {after.tries}" in listed
