"""A setting works wherever it can be given, or is refused there: none is taken and does nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult

import otel_kafka_exporter
from otel_kafka_exporter import (
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    LoggingEventPublisherContext,
    SettingsError,
    decode,
)
from otel_kafka_exporter.publisher import one_off
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import TOPIC, arrived, exporting, records, settled
from .publishers import audit, log, publishing

MAKERS: list[Any] = [KafkaLogExporter, KafkaLogRecordProcessor, LoggingEventPublisher, LoggingEventPublisherContext]


@pytest.mark.parametrize("value", [True, False, "true"])
@pytest.mark.parametrize("make", MAKERS)
def test_direct_is_no_argument_in_code(make: Any, value: Any) -> None:
    """It chooses a processor for OpenTelemetry's own set-up; in code that is done by choosing one."""
    with pytest.raises(SettingsError, match="direct: expected no such argument here"):
        make(bootstrap_servers="127.0.0.1:1", direct=value)


def test_direct_in_the_environment_is_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says to `opentelemetry-instrument` is no fault of what is made in code beside it."""
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DIRECT", "true")
    KafkaLogExporter(bootstrap_servers="127.0.0.1:1", direct=None).shutdown()  # type: ignore[call-arg]  # as from a mapping


@pytest.mark.parametrize("wait", [True, False])
def test_resource_context_of_a_publisher(
    wait: Any, embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It copies the process's resource into the context of each event, redacted, and behind what a call says."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1,region=eu,db.password=hunter2")

    async def use() -> None:
        names = "k8s.pod.name,region,db.password,missing"
        async with publishing(embedded_kafka, resource_context=names, service_name="shop") as publisher:
            assert await log(publisher, "one", context={"region": "us"}, wait=wait)
            assert await audit(publisher, wait=wait)

    asyncio.run(use())
    [message] = embedded_kafka.consume(TOPIC, 1)
    assert decode(message.value()).payload["context"] == {
        "k8s.pod.name": "pod-1",
        "region": "us",
        "db.password": "[REDACTED]",
    }
    [message] = embedded_kafka.consume("omninode.logging.audit.v1", 1)
    envelope = decode(message.value())
    assert envelope.source == "shop"
    assert envelope.payload["context"]["region"] == "eu"


def test_full_queue_wait_of_an_export(embedded_kafka: EmbeddedKafka) -> None:
    """Where it is set, a record of a batch waits no longer for room, and goes to the outbox before `delivery_wait`."""
    settings: dict[str, Any] = {"delivery_wait": 300, "full_queue_wait": 0, "queue_max_records": 1}
    with exporting(embedded_kafka, **settings) as exporter, ThreadPoolExecutor(1) as pool:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        export = pool.submit(exporter.export, records(["has room", "has none", "has none, either"]))
        try:
            until(lambda: exporter.stats().spooled == 2)
        finally:
            embedded_kafka.up()
        assert export.result(60) is LogRecordExportResult.SUCCESS
        until(lambda: settled(exporter))
    assert sorted(arrived(embedded_kafka)) == ["before", "has none", "has none, either", "has room"]


OUTBOX = "OTEL_EXPORTER_KAFKA_OUTBOX"


def test_an_outbox_by_the_environment(outbox_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that says nothing of an outbox has one where the environment says so: True is for spooled, too."""
    monkeypatch.setenv(OUTBOX, "true")

    async def use(**settings: Any) -> bool:
        publisher = LoggingEventPublisher("127.0.0.1:1", delivery_wait=0.1, **settings)
        publisher.open()
        published = await log(publisher, "one")
        await publisher.stop()
        return published

    assert asyncio.run(use())
    assert any(path.is_file() and b"one" in path.read_bytes() for path in outbox_dir.rglob("*"))
    assert not asyncio.run(use(outbox=False, publish_timeout=0.2, shutdown_timeout=0))
    monkeypatch.setenv(OUTBOX, "false")
    assert not asyncio.run(use(publish_timeout=0.2, shutdown_timeout=0))


def test_an_outbox_of_the_one_off_functions(outbox_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher that they share is made by the environment, this setting too."""
    monkeypatch.setenv(OUTBOX, "true")
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DELIVERY_WAIT", "0.1")
    one_off._publisher.cache_clear()
    try:
        publish = otel_kafka_exporter.publish_audit_log
        assert asyncio.run(publish("tenant-1", "user.login", "bob", "console", "success"))
        assert any(path.is_file() and b"user.login" in path.read_bytes() for path in outbox_dir.rglob("*"))
    finally:
        one_off._publisher().close()
        one_off._publisher.cache_clear()


def test_an_outbox_that_is_neither_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another word is named, with its variable."""
    monkeypatch.setenv(OUTBOX, "perhaps")
    with pytest.raises(SettingsError, match=f"{OUTBOX}: expected .*'perhaps'"):
        LoggingEventPublisher("127.0.0.1:1")


@pytest.mark.parametrize(
    "setting", [{"outbox_dir": "/tmp/x"}, {"durable": "all"}, {"durability": "power"}, {"outbox_max_bytes": 1 << 20}]
)
def test_what_belongs_to_an_outbox_asks_for_one(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that is told of an outbox it has not, and was not denied, is a slip that is named."""
    [name] = setting
    with pytest.raises(SettingsError, match=f"{name}: expected no such argument here, .* outbox=True"):
        LoggingEventPublisher("127.0.0.1:1", **setting)
    LoggingEventPublisher("127.0.0.1:1", **setting, outbox=True)
    LoggingEventPublisher("127.0.0.1:1", **setting, outbox=False)
    monkeypatch.setenv(OUTBOX, "false")
    LoggingEventPublisher("127.0.0.1:1", **setting)
