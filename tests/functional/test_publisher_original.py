"""Code that was written for the original publisher runs unchanged: its names, its positions, its optional arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import (
    Decision,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    LoggingEventPublisherContext,
    LogLevel,
    Outcome,
    decode,
    publish_application_log,
    publish_audit_log,
    publish_security_log,
)
from otel_kafka_exporter.process import log_lines
from otel_kafka_exporter.publisher import one_off
from otel_kafka_exporter.testing import EmbeddedKafka


@pytest.fixture(params=["its own", "the process's", "through OpenTelemetry"])
def publish(
    request: pytest.FixtureRequest, embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoggingEventPublisher]:
    """A publisher as each of the three ways to have one gives it; `TENANT_ID` is set."""
    monkeypatch.setenv("TENANT_ID", "acme")
    if request.param == "the process's":
        one_off._publisher.cache_clear()
        yield one_off._publisher()
        one_off._publisher().close()
        one_off._publisher.cache_clear()
        return
    provider = LoggerProvider(shutdown_on_exit=False)
    if request.param == "through OpenTelemetry":
        provider.add_log_record_processor(KafkaLogRecordProcessor())
        publisher = LoggingEventPublisher(logger_provider=provider)
    else:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)
    publisher.open()
    yield publisher
    publisher.close()
    provider.shutdown()


def test_calls_of_the_original(embedded_kafka: EmbeddedKafka, publish: LoggingEventPublisher) -> None:
    """Enums, a ninth positional tenant, and events without a tenant arrive as they did."""

    async def main() -> None:
        level = LogLevel.WARN
        assert await publish.publish_application_log(
            "shop", "shop-1", level, "shop.orders", "one", "ORDER", {"n": 1}, "c-1", "tenant-9"
        )
        assert await publish.publish_audit_log(
            action="user.login", actor="bob", resource="console", outcome=Outcome.FAILURE
        )
        assert await publish.publish_security_log(
            event_type="permission_check", user_id="bob", resource="console", decision=Decision.DENY
        )
        assert await publish.publish_audit_log("tenant-9", "user.login", "bob", "console", "success", "c-2", {"n": 1})

    asyncio.run(main())
    (message,) = embedded_kafka.consume(LoggingEventPublisher.TOPIC_APPLICATION_LOG, 1, 10)
    envelope = decode(message.value())
    assert (envelope.tenant_id, envelope.correlation_id, envelope.payload["level"]) == ("tenant-9", "c-1", "WARN")
    first, second = embedded_kafka.consume(LoggingEventPublisher.TOPIC_AUDIT_LOG, 2, 10)
    found = {decode(each.value()).tenant_id: decode(each.value()) for each in (first, second)}
    assert found["acme"].payload["outcome"] == "failure"
    assert found["tenant-9"].correlation_id == "c-2"
    (message,) = embedded_kafka.consume(LoggingEventPublisher.TOPIC_SECURITY_LOG, 1, 10)
    assert decode(message.value()).payload["decision"] == "deny"
    assert message.key() == b"acme"


@pytest.mark.usefixtures("embedded_kafka")
def test_a_required_field_that_is_missing(
    publish: LoggingEventPublisher, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a required field a call is False and its line names the field; it is no TypeError."""
    monkeypatch.setattr(log_lines, "QUIET_SECONDS", 0.0)

    async def main() -> None:
        assert not await publish.publish_audit_log(actor="bob", resource="console", outcome="success")
        assert not await publish.publish_audit_log("t-1", "user.login", "bob", outcome="success")
        assert not await publish.publish_security_log("t-1", "permission_check", resource="console", decision="deny")

    asyncio.run(main())
    said = capfd.readouterr().err
    assert "action: expected text, got nothing" in said
    assert "resource: expected text, got nothing" in said
    assert "user_id: expected text, got nothing" in said


def test_the_module_functions_have_the_same_arguments(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the methods take, the module's functions take."""
    monkeypatch.setenv("TENANT_ID", "acme")
    one_off._publisher.cache_clear()

    async def main() -> list[bool]:
        return [
            await publish_application_log("s", "i", LogLevel.INFO, "l", "one", "C", None, "c-1", "tenant-9", wait=True),
            await publish_audit_log(action="a", actor="b", resource="c", outcome=Outcome.SUCCESS, causation_id="d-1"),
            await publish_security_log(event_type="a", user_id="b", resource="c", decision=Decision.ALLOW),
            await publish_audit_log("t-1"),
        ]

    try:
        assert asyncio.run(main()) == [True, True, True, False]
    finally:
        one_off._publisher().close()
        one_off._publisher.cache_clear()
    (message,) = embedded_kafka.consume(LoggingEventPublisher.TOPIC_AUDIT_LOG, 1, 10)
    envelope = decode(message.value())
    assert (envelope.tenant_id, envelope.causation_id) == ("acme", "d-1")


def test_topics_are_where_events_arrive(embedded_kafka: EmbeddedKafka) -> None:
    """A publisher's attributes name the topics by its settings, the class's those of the original."""

    async def main() -> str:
        context = LoggingEventPublisherContext(
            embedded_kafka.bootstrap_servers, topic_prefix="dev.", namespace="shop", service_name="orders"
        )
        async with context as publisher:
            assert await publisher.publish_audit_log("t-1", "a", "b", "c", "success")
            return publisher.TOPIC_AUDIT_LOG

    topic = asyncio.run(main())
    assert topic == "dev.shop.logging.audit.v1"
    assert len(embedded_kafka.messages(topic)) == 1
    assert LoggingEventPublisher.TOPIC_AUDIT_LOG == "omninode.logging.audit.v1"
    assert LoggingEventPublisher(enable_events=False).TOPIC_SECURITY_LOG == "omninode.logging.security.v1"
