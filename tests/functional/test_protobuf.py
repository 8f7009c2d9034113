"""Protobuf by every way in, against the embedded broker."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import (
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisherContext,
    decode,
    emit_audit_event,
)
from otel_kafka_exporter.records.envelope_pb2 import Envelope
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC, arrived, audit_records, exporting, records
from tests.unit.test_docs import ROOT, blocks
from tests.waiting import until
from tests.ways_in.running import run

AUDIT_TOPIC = "omninode.logging.audit.v1"


def test_an_exporter_writes_messages_of_the_proto(embedded_kafka: EmbeddedKafka) -> None:
    """The value is a bare Envelope, the header says so, and the topic is the same as for JSON."""
    with exporting(embedded_kafka, encoding="protobuf") as exporter:
        exporter.export([*records(["one"], n=3), *audit_records(["two"])])
        assert exporter.stats().delivered == 2
    [message] = embedded_kafka.messages(TOPIC)
    assert ("content-type", b"application/x-protobuf") in (message.headers() or [])
    value = message.value() or b""
    envelope = Envelope.FromString(value)
    assert envelope.application.message == "one"
    assert envelope.application.context["n"].int_value == 3
    assert decode(value, message.headers()).payload["context"] == {"n": 3}
    assert arrived(embedded_kafka, AUDIT_TOPIC) == ["two"]


def test_a_direct_processor_and_a_publisher_write_it_too(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The durable lane, and the publisher, by the environment variable."""
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_ENCODING", "protobuf")
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor())
    emit_audit_event("order.delete", "bob", "order/17", "success", logger=provider.get_logger("shop"), message="one")

    async def publish() -> bool:
        async with LoggingEventPublisherContext() as publisher:
            return await publisher.publish_audit_log("t-1", "order.delete", "bob", "order/17", "success")

    assert asyncio.run(publish())
    provider.shutdown()
    found = embedded_kafka.messages(AUDIT_TOPIC)
    assert {Envelope.FromString(message.value() or b"").audit.actor for message in found} == {"bob"}
    assert len(found) == 2


def test_what_waits_in_the_outbox_is_shown_as_json() -> None:
    """What a process could not deliver is readable by the command."""
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:9", encoding="protobuf", delivery_wait=0.2)
    exporter.export(records(["kept"]))
    exporter.shutdown()
    command = [str(Path(sys.executable).with_name("otel-kafka")), "outbox", "list", "--json"]
    shown = subprocess.run(command, check=True, timeout=30, capture_output=True, text=True)
    assert json.loads(shown.stdout)["envelope"]["payload"]["message"] == "kept"


def test_json_and_protobuf_may_be_in_one_topic(embedded_kafka: EmbeddedKafka) -> None:
    """A service that changes its encoding breaks no reader that uses decode."""
    for encoding in ("json", "protobuf", "json"):
        with exporting(embedded_kafka, encoding=encoding) as exporter:
            exporter.export(records([encoding]))
            until(lambda: exporter.stats().delivered == 1)
    assert arrived(embedded_kafka) == ["json", "protobuf", "json"]


def test_the_documents_examples(tmp_path: Path) -> None:
    """The Python of docs/protobuf.md prints what its envelopes have."""
    printed = []
    for script in blocks(ROOT / "docs" / "protobuf.md", "python"):
        (tmp_path / "app.py").write_text(script)
        done = run(sys.executable, str(tmp_path / "app.py"))
        assert (done.returncode, done.stderr) == (0, "")
        printed.append(done.stdout.strip())
    assert printed == ["bob", "13 stock is low 4bf92f3577b34da6a3ce929d0e0e4736"]


def test_the_command_shows_the_schema() -> None:
    """`otel-kafka schema show` prints the file that is in proto/."""
    done = run(str(Path(sys.executable).with_name("otel-kafka")), "schema", "show")
    proto = ROOT / "proto" / "onex" / "logging" / "v1" / "envelope.proto"
    assert (done.returncode, done.stdout) == (0, proto.read_text(encoding="utf-8"))


def test_a_registry_that_does_not_answer() -> None:
    """`otel-kafka schema register` says of each subject that it is not registered, and who knows more."""
    done = run(
        str(Path(sys.executable).with_name("otel-kafka")),
        "schema",
        "register",
        OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS="localhost:1",
        OTEL_EXPORTER_KAFKA_ENCODING="protobuf",
        OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL="http://127.0.0.1:1",
    )
    assert (done.returncode, done.stdout.count("Connection refused")) == (1, 3)
    # Before it, a library that the client's one imports may warn of another's age.
    assert done.stderr.splitlines()[-1] == "otel-kafka doctor --only registry says why"
    assert "Traceback" not in done.stderr
