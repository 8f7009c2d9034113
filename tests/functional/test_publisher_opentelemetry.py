"""With a logger_provider, a publisher's events go through OpenTelemetry, and its answers stay true."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from types import FrameType
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import (
    DeliveryTimeout,
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    LoggingEventPublisherContext,
    SettingsError,
    aemit_audit_event,
    decode,
)
from otel_kafka_exporter.delivery import receipts
from otel_kafka_exporter.outbox.group_commit import GroupCommit
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC

from .publishers import AUDIT_TOPIC, audit, log

EVENT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize("processor", ["direct", "batch"])
def test_events_go_through_opentelemetry_for_all_its_exporters(embedded_kafka: EmbeddedKafka, processor: str) -> None:
    """With a logger_provider, other exporters see the events too, and True still means that the broker has them."""
    memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's omission
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    provider.add_log_record_processor(
        KafkaLogRecordProcessor()
        if processor == "direct"
        else BatchLogRecordProcessor(KafkaLogExporter(), schedule_delay_millis=20)
    )

    async def main() -> None:
        async with LoggingEventPublisherContext(logger_provider=provider) as publisher:
            assert await log(publisher, "one", context={"items": 3, "password": "p"}, correlation_id="abc")
            assert await audit(publisher, event_id=EVENT_ID)
            assert await publisher.publish_security_log("t-1", "permission_check", "bob", "console", "deny")
            assert not await audit(publisher, "perhaps")
            assert await log(publisher, "two", wait=False)

    asyncio.run(main())
    provider.shutdown()
    assert len(memory.get_finished_logs()) == 4
    first, _ = (decode(message.value()) for message in embedded_kafka.consume(TOPIC, 2, 10))
    assert first.correlation_id == "abc"
    assert first.payload["context"] == {
        "items": 3,
        "password": "[REDACTED]",
        "service.instance.id": "shop-1",
    }
    assert (first.payload["message"], first.payload["code"], first.payload["logger"]) == ("one", "ORDER", "shop.orders")
    [message] = embedded_kafka.consume(AUDIT_TOPIC, 1, 10)
    event = decode(message.value())
    assert (event.event_id, event.tenant_id, event.payload["action"]) == (EVENT_ID, "t-1", "order.delete")


def test_an_event_that_is_tried_again_before_its_answer(embedded_kafka: EmbeddedKafka) -> None:
    """Of calls with the same event_id that are in flight at once, each is answered; a cancelled one ends no other."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor())

    async def main() -> None:
        async with LoggingEventPublisherContext(logger_provider=provider, publish_timeout=20.0) as publisher:
            embedded_kafka.down()
            tasks = [asyncio.ensure_future(audit(publisher, event_id=EVENT_ID)) for _ in range(4)]
            await asyncio.sleep(0)
            tasks.pop().cancel()
            await asyncio.sleep(0)
            embedded_kafka.up()
            assert await asyncio.wait_for(asyncio.gather(*tasks), 15) == [True] * 3
        assert not receipts.waiting

    asyncio.run(main())
    provider.shutdown()


def test_opentelemetry_and_settings_of_delivery_contradict() -> None:
    """With a logger_provider, delivery is its exporter's affair: settings beside it are an error that says so."""
    with pytest.raises(SettingsError, match="logger_provider: expected no settings"):
        LoggingEventPublisher("localhost:9092", logger_provider=LoggerProvider(shutdown_on_exit=False))


@pytest.mark.parametrize("way_in", ["wait", "no wait", "aemit"])
def test_the_loop_does_not_wait_for_the_disk(embedded_kafka: EmbeddedKafka, way_in: str) -> None:
    """With durability=power what a coroutine's call returned of is on the disk, and another thread waited for that."""
    on_the_loop: list[str] = []

    def watch(_frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument in (os.fsync, os.fdatasync):
            on_the_loop.append(argument.__name__)

    async def emit(provider: LoggerProvider) -> None:
        if way_in == "aemit":
            logger = provider.get_logger("shop")
            with pytest.raises(DeliveryTimeout) as raised:
                await aemit_audit_event("order.delete", "bob", "order/17", "success", logger=logger, wait=0.5)
            assert raised.value.spooled
        else:
            publisher = LoggingEventPublisher(logger_provider=provider, publish_timeout=0.5)
            await publisher.start()
            assert await audit(publisher, wait=way_in == "wait") == (way_in == "no wait")

    async def main() -> None:
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(KafkaLogRecordProcessor(durability="power", shutdown_timeout=0.2))
        sys.setprofile(watch)
        try:
            await emit(provider)
        finally:
            sys.setprofile(None)
        assert any(each._ended for each in gc.get_objects() if type(each) is GroupCommit)
        provider.shutdown()

    embedded_kafka.down()
    asyncio.run(main())
    assert not on_the_loop
