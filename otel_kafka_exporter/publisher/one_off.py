"""The original's module functions: one publisher per process, made with the first call, closed at exit."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypedDict

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.process import call_in_child, warn

from .publisher import LoggingEventPublisher

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CallArguments(TypedDict, total=False):
    """What the three methods of `LoggingEventPublisher` have by name."""

    causation_id: str | None
    event_id: str | None
    wait: bool


_lock = threading.RLock()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.RLock()


call_in_child(_after_fork)


@functools.cache
def _publisher() -> LoggingEventPublisher:
    publisher = LoggingEventPublisher()
    publisher.open()
    return publisher


def _shared() -> LoggingEventPublisher | None:
    """The process's publisher; None when its settings cannot be used."""
    try:
        with _lock:
            return _publisher()
    except SettingsError as error:
        warn("publisher_misconfigured", "events are not published: %s", error)
        return None


def close_shared_publisher() -> None:
    """Close the publisher that all calls share; the next one makes another, by the settings of then. For tests."""
    with _lock:
        publisher = _publisher() if _publisher.cache_info().currsize else None
        _publisher.cache_clear()
    if publisher is not None:
        publisher.close()  # without the lock, for which an event loop may wait


async def publish_application_log(
    service_name: str,
    instance_id: str,
    level: str | Enum,
    logger_name: str,
    message: str,
    code: str | Enum,
    context: Mapping[str, Any] | None = None,
    correlation_id: str | None = None,
    tenant_id: str | None = None,
    **more: Unpack[CallArguments],
) -> bool:
    """`LoggingEventPublisher.publish_application_log`, by a publisher that all calls of this process share."""
    publisher = _shared()
    return publisher is not None and await publisher.publish_application_log(
        service_name, instance_id, level, logger_name, message, code, context, correlation_id, tenant_id, **more
    )


async def publish_audit_log(
    tenant_id: str | None = None,
    action: str | Enum | None = None,
    actor: str | None = None,
    resource: str | None = None,
    outcome: str | Enum | None = None,
    correlation_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    **more: Unpack[CallArguments],
) -> bool:
    """`LoggingEventPublisher.publish_audit_log`, by a publisher that all calls of this process share."""
    publisher = _shared()
    return publisher is not None and await publisher.publish_audit_log(
        tenant_id, action, actor, resource, outcome, correlation_id, context, **more
    )


async def publish_security_log(
    tenant_id: str | None = None,
    event_type: str | Enum | None = None,
    user_id: str | None = None,
    resource: str | None = None,
    decision: str | Enum | None = None,
    correlation_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    **more: Unpack[CallArguments],
) -> bool:
    """`LoggingEventPublisher.publish_security_log`, by a publisher that all calls of this process share."""
    publisher = _shared()
    return publisher is not None and await publisher.publish_security_log(
        tenant_id, event_type, user_id, resource, decision, correlation_id, context, **more
    )
