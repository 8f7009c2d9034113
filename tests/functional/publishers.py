"""Publishers for tests, and the events that they publish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from otel_kafka_exporter import LoggingEventPublisher, LoggingEventPublisherContext
from otel_kafka_exporter.testing import EmbeddedKafka

AUDIT_TOPIC = "omninode.logging.audit.v1"


@asynccontextmanager
async def publishing(kafka: EmbeddedKafka, **settings: Any) -> AsyncIterator[LoggingEventPublisher]:
    async with LoggingEventPublisherContext(kafka.bootstrap_servers, **settings) as publisher:
        yield publisher


def log(publisher: LoggingEventPublisher, message: str, **more: Any) -> Coroutine[Any, Any, bool]:
    return publisher.publish_application_log("shop", "shop-1", "INFO", "shop.orders", message, "ORDER", **more)


def audit(publisher: LoggingEventPublisher, outcome: str = "success", **more: Any) -> Coroutine[Any, Any, bool]:
    return publisher.publish_audit_log("t-1", "order.delete", "bob", "order/17", outcome, **more)
