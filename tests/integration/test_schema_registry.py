"""Protobuf framed for a Schema Registry: a real one, there, away, and not knowing the schema."""

from __future__ import annotations

import asyncio
import base64
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import (
    KafkaError,
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    SettingsError,
    decode,
    emit_audit_event,
)
from otel_kafka_exporter.kafka.schema_registry import schema_source
from otel_kafka_exporter.records.envelope_pb2 import DESCRIPTOR, Envelope
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import arrived, audit_records, delivery_of, records, settled
from tests.rig.kafka import KafkaCluster
from tests.rig.registry import SchemaRegistryServer
from tests.waiting import until
from tests.ways_in.running import read, run

from .conftest import require_kafka

pytestmark = pytest.mark.integration

APPLICATION, AUDIT = "omninode.logging.application.v1", "omninode.logging.audit.v1"


def exporter_to(servers: str, url: str, **settings: Any) -> KafkaLogExporter:
    return KafkaLogExporter(bootstrap_servers=servers, encoding="protobuf", schema_registry_url=url, **settings)


def new_prefix() -> str:
    """Topics, and so subjects, of the test's own."""
    return f"t{uuid.uuid4().hex[:12]}."


def subjects(url: str) -> set[str]:
    with SchemaRegistryClient({"url": url}) as client:
        return set(client.get_subjects())


def schema(form: str) -> Schema:
    text = schema_source() if form == "text" else base64.b64encode(DESCRIPTOR.serialized_pb).decode()
    return Schema(text, "PROTOBUF")


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[SchemaRegistryServer]:
    """A registry that is this test's alone; not started yet."""
    require_kafka()
    server = SchemaRegistryServer(tmp_path / "registry")
    yield server
    server.__exit__()


def test_confluents_deserializer_reads_each_field(kafka: KafkaCluster, registry: SchemaRegistryServer) -> None:
    """What is in the real Kafka is what Confluent's own client reads, by the schema's ID that stands in the frame."""
    prefix = new_prefix()
    kafka.create_topics(prefix + APPLICATION, prefix + AUDIT, partitions=1)
    exporter = exporter_to(
        kafka.bootstrap_servers, registry.url, topic_prefix=prefix, schema_registry_auto_register=True
    )
    exporter.export([*records(["hello"], n=2**60, f=1.5, l=["a", "b"]), *audit_records(["one"])])
    until(lambda: exporter.stats().delivered == 2)
    exporter.shutdown()
    with SchemaRegistryClient({"url": registry.url}) as client:
        deserialize = ProtobufDeserializer(Envelope, {"use.deprecated.format": False}, client)
        for topic in (prefix + APPLICATION, prefix + AUDIT):
            [message] = read(kafka.bootstrap_servers, topic, 1)
            value = message.value() or b""
            found = deserialize(value, SerializationContext(topic, MessageField.VALUE))
            assert found == Envelope.FromString(value[6:])
            assert found.event_id == decode(value, message.headers()).event_id
            assert int.from_bytes(value[1:5], "big") == client.get_latest_version(f"{topic}-value").schema_id
    [message] = read(kafka.bootstrap_servers, prefix + APPLICATION, 1)
    assert decode(message.value()).payload["context"] == {"n": 2**60, "f": 1.5, "l": ["a", "b"]}


@pytest.mark.parametrize(
    ("strategy", "subject"),
    [
        ("topic", "{}-value"),
        ("record", "onex.logging.v1.Envelope"),
        ("topic_record", "{}-onex.logging.v1.Envelope"),
    ],
)
def test_subjects_are_confluents(
    strategy: str, subject: str, embedded_kafka: EmbeddedKafka, registry: SchemaRegistryServer
) -> None:
    """The schema is registered under the subject that Confluent's strategy of that name gives."""
    prefix = new_prefix()
    exporter = exporter_to(
        embedded_kafka.bootstrap_servers,
        registry.url,
        topic_prefix=prefix,
        schema_registry_subject=strategy,
        schema_registry_auto_register=True,
    )
    exporter.export(records(["one"]))
    until(lambda: exporter.stats().delivered == 1)
    exporter.shutdown()
    assert subject.format(prefix + APPLICATION) in subjects(registry.url)


@pytest.mark.parametrize("form", ["text", "descriptor"])
def test_a_schema_that_is_not_registered_is_waited_for(
    form: str, embedded_kafka: EmbeddedKafka, registry: SchemaRegistryServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without it records wait in the outbox, with the reason; once it is there they follow, framed and in order."""
    prefix = new_prefix()
    exporter = exporter_to(embedded_kafka.bootstrap_servers, registry.url, topic_prefix=prefix)
    for n in range(20):
        exporter.export(records([str(n)]))
    until(lambda: f"under the subject {prefix}{APPLICATION}-value" in capfd.readouterr().err)
    assert exporter.stats()[:5] == (20, 0, 20, 0, 0)
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.register_schema(f"{prefix}{APPLICATION}-value", schema(form))
    until(lambda: settled(exporter), 30)
    exporter.shutdown()
    assert arrived(embedded_kafka, prefix + APPLICATION) == [str(n) for n in range(20)]
    assert {(message.value() or b"")[:1] for message in embedded_kafka.messages(prefix + APPLICATION)} == {b"\0"}


def test_a_registry_that_is_away_delays_records_and_nothing_else(
    embedded_kafka: EmbeddedKafka, own_registry: SchemaRegistryServer
) -> None:
    """Exports return at once, records wait; a later process frames what an earlier one has left; IDs are kept."""
    servers = embedded_kafka.bootstrap_servers
    early = exporter_to(servers, own_registry.url, schema_registry_auto_register=True)
    began = time.monotonic()
    for n in range(10):
        early.export([*records([f"early {n}"]), *audit_records([f"event {n}"])])
    assert time.monotonic() - began < 2
    assert early.stats()[:5] == (20, 0, 20, 0, 0)
    early.shutdown()
    own_registry.start()
    late = exporter_to(servers, own_registry.url, schema_registry_auto_register=True)
    late.export(records(["late"]))
    until(lambda: late.stats().delivered == 21, 30)
    own_registry.kill()
    late.export(records(["later"]))
    assert late.stats().delivered == 22
    late.shutdown()
    assert sorted(arrived(embedded_kafka)) == sorted([*(f"early {n}" for n in range(10)), "late", "later"])
    assert arrived(embedded_kafka, AUDIT) == [f"event {n}" for n in range(10)]
    for topic in (APPLICATION, AUDIT):
        assert {(message.value() or b"")[:1] for message in embedded_kafka.messages(topic)} == {b"\0"}


def test_who_has_no_registry_leaves_what_is_to_be_framed(
    embedded_kafka: EmbeddedKafka, own_registry: SchemaRegistryServer
) -> None:
    """A process without the setting takes no such records over, and sends none without its frame."""
    servers = embedded_kafka.bootstrap_servers
    early = exporter_to(servers, own_registry.url)
    early.export(records(["framed"]))
    early.shutdown()
    other = KafkaLogExporter(bootstrap_servers=servers, durable="none")
    other.export(audit_records(["plain"]))
    until(lambda: other.stats().delivered == 1)
    delivery_of(other)._maintenance.adopt()  # what the background does every 10 s
    assert arrived(embedded_kafka, AUDIT) == ["plain"]
    assert other.stats()[:5] == (1, 1, 0, 0, 0)
    other.shutdown()
    assert embedded_kafka.messages(APPLICATION) == []


@pytest.mark.parametrize("way", ["exporter", "direct", "publisher"])
def test_a_short_process_delivers_all_of_it(
    way: str, embedded_kafka: EmbeddedKafka, registry: SchemaRegistryServer
) -> None:
    """Who logs a few lines and ends leaves nothing behind, although the ID has to be asked for first."""
    programs = {
        "exporter": """
            exporter = KafkaLogExporter()
            for n in range(5): exporter.export(records([str(n)]))
            exporter.shutdown()
        """,
        "direct": """
            provider = LoggerProvider(shutdown_on_exit=False)
            provider.add_log_record_processor(KafkaLogRecordProcessor())
            for n in range(5): provider.get_logger("shop").emit(LogRecord(body=str(n)))
            provider.shutdown()
        """,
        "publisher": """
            async def main():
                async with LoggingEventPublisherContext(outbox=True) as publisher:
                    for n in range(5):
                        await publisher.publish_application_log("a", "b", "INFO", "c", str(n), "D", wait=False)
            asyncio.run(main())
        """,
    }
    imports = """
        import asyncio
        from otel_kafka_exporter import *
        from tests.functional.pipelines import LogRecord, LoggerProvider, records
    """
    prefix = new_prefix()
    done = run(
        *(sys.executable, "-c", textwrap.dedent(imports) + textwrap.dedent(programs[way])),
        OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=embedded_kafka.bootstrap_servers,
        OTEL_EXPORTER_KAFKA_TOPIC_PREFIX=prefix,
        OTEL_EXPORTER_KAFKA_ENCODING="protobuf",
        OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL=registry.url,
        OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_AUTO_REGISTER="true",
        PYTHONPATH=str(Path(__file__).parents[2]),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(embedded_kafka, prefix + APPLICATION) == ["0", "1", "2", "3", "4"]


def test_a_registry_that_hangs_holds_up_no_log_call(
    embedded_kafka: EmbeddedKafka, own_registry: SchemaRegistryServer
) -> None:
    """While it is frozen, events are in the outbox when their call returns; when it goes on, they arrive."""
    own_registry.start()
    own_registry.pause()
    provider = LoggerProvider(shutdown_on_exit=False)
    processor = KafkaLogRecordProcessor(
        bootstrap_servers=embedded_kafka.bootstrap_servers,
        encoding="protobuf",
        schema_registry_url=own_registry.url,
        schema_registry_auto_register=True,
    )
    provider.add_log_record_processor(processor)
    longest = 0.0
    for n in range(50):
        began = time.monotonic()
        emit_audit_event("a", "b", "c", "success", message=str(n), logger=provider.get_logger("shop"))
        longest = max(longest, time.monotonic() - began)
    assert longest < 1
    own_registry.resume()
    until(lambda: len(arrived(embedded_kafka, AUDIT)) == 50, 30)
    provider.shutdown()
    assert arrived(embedded_kafka, AUDIT) == [str(n) for n in range(50)]


def test_without_an_outbox_an_export_waits_for_the_id(
    embedded_kafka: EmbeddedKafka, registry: SchemaRegistryServer, own_registry: SchemaRegistryServer
) -> None:
    """The very first records are delivered; with the registry away they are dropped, in time and with the reason."""
    servers = embedded_kafka.bootstrap_servers
    settings = {"outbox": False, "schema_registry_auto_register": True}
    exporter = exporter_to(servers, registry.url, delivery_wait=10, **settings)
    exporter.export(records(["one", "two"]))
    assert exporter.stats().delivered == 2
    exporter.shutdown()
    away = exporter_to(servers, own_registry.url, delivery_wait=0.5, **settings)
    began = time.monotonic()
    away.export(records(["one", "two"]))
    assert time.monotonic() - began < 5
    assert away.stats().dropped == {"no_schema_id": 2}
    away.shutdown()


def test_a_publisher_waits_for_the_registry_at_its_start(
    embedded_kafka: EmbeddedKafka, registry: SchemaRegistryServer, own_registry: SchemaRegistryServer
) -> None:
    """Its start names a registry that does not answer; with an outbox it starts all the same; else it publishes."""

    async def publish(url: str, **more: Any) -> tuple[bool, Any]:
        publisher = LoggingEventPublisher(
            embedded_kafka.bootstrap_servers,
            encoding="protobuf",
            schema_registry_url=url,
            schema_registry_auto_register=True,
            **more,
        )
        await publisher.start()
        answer = await publisher.publish_audit_log("t-1", "order.delete", "bob", "order/17", "success")
        stats = publisher.stats()
        await publisher.stop()
        return answer, stats

    with pytest.raises(KafkaError, match=rf"expected the Schema Registry at {own_registry.url} to answer within 1 s"):
        asyncio.run(publish(own_registry.url, start_timeout=1.0))
    answer, stats = asyncio.run(publish(own_registry.url, outbox=True))
    assert (answer, stats.spooled) == (True, 1)
    answer, stats = asyncio.run(publish(registry.url))
    assert (answer, stats.delivered) == (True, 1)


def test_the_registrys_credentials_are_nowhere(
    own_registry: SchemaRegistryServer, embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in the address nor as a property do they get to a line, a representation or the outbox."""
    address = own_registry.url.removeprefix("http://")
    ways: list[dict[str, Any]] = [
        {"schema_registry_url": f"http://user:hunter2@{address}"},
        {
            "schema_registry_url": own_registry.url,
            "schema_registry_config": "basic.auth.user.info=user:hunter2,timeout=1",
        },
    ]
    for way in ways:
        exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, encoding="protobuf", **way)
        exporter.export(records(["one"]))
        said = capfd.readouterr()
        assert "hunter2" not in said.out + said.err + repr(exporter._delivery.__dict__)
        exporter.shutdown()
        assert exporter.stats().spooled >= 1  # the second one may have taken over what the first one has left
        with pytest.raises(SettingsError) as error:
            KafkaLogExporter(
                bootstrap_servers="localhost:1", encoding="protobuf", **{**way, "schema_registry_config": "x=hunter2"}
            )
        assert "hunter2" not in str(error.value)
    assert "hunter2" not in "".join(capfd.readouterr())


def test_the_command_registers_the_schema(registry: SchemaRegistryServer, embedded_kafka: EmbeddedKafka) -> None:
    """`otel-kafka schema register` prints each subject with its ID, the same one each time; the exporter finds it."""
    prefix = new_prefix()
    variables = {
        "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers,
        "OTEL_EXPORTER_KAFKA_TOPIC_PREFIX": prefix,
        "OTEL_EXPORTER_KAFKA_ENCODING": "protobuf",
        "OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL": registry.url,
    }
    command = [str(Path(sys.executable).with_name("otel-kafka")), "schema", "register"]
    first, again = run(*command, **variables), run(*command, **variables)
    assert (first.returncode, first.stderr, again.stdout) == (0, "", first.stdout)
    assert [line.split(": ID ")[0] for line in first.stdout.splitlines()] == [
        f"{prefix}omninode.logging.{category}.v1-value" for category in ("application", "audit", "security")
    ]
    exporter = exporter_to(embedded_kafka.bootstrap_servers, registry.url, topic_prefix=prefix)
    exporter.export(records(["one"]))
    until(lambda: exporter.stats().delivered == 1)
    exporter.shutdown()
    refused = run(*command, OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS="localhost:1")
    assert (refused.returncode, "Set OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL" in refused.stderr) == (2, True)
