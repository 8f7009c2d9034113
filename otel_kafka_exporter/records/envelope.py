"""The envelope and what it carries: values only.

`OnexEnvelopeV1` is a named tuple and not a frozen dataclass because one is made for every log record, and a frozen
dataclass of ten fields costs four times as much to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypedDict

from otel_kafka_exporter.errors import DecodeError

Category = Literal["application", "audit", "security"]
CATEGORIES: tuple[Category, ...] = ("application", "audit", "security")

Level = Literal["DEBUG", "INFO", "WARN", "ERROR"]


class ApplicationPayload(TypedDict):
    """What a log line says."""

    service_name: str
    instance_id: str
    level: Level
    logger: str
    message: str
    code: str
    context: dict[str, Any]


class AuditPayload(TypedDict):
    """Who did what to which resource, and whether it worked."""

    tenant_id: str
    action: str
    actor: str
    resource: str
    outcome: Literal["success", "failure"]
    timestamp: str
    context: dict[str, Any]


class SecurityPayload(TypedDict):
    """Which security decision was taken, for whom and about what."""

    tenant_id: str
    event_type: str
    user_id: str
    resource: str
    decision: Literal["allow", "deny"]
    timestamp: str
    context: dict[str, Any]


Payload = ApplicationPayload | AuditPayload | SecurityPayload


class OnexEnvelopeV1(NamedTuple):
    """One log record, audit event or security event as it stands in Kafka; its ten keys, in their order.

    Attributes:
        event_type: `{namespace}.logging.{category}.v1`, which is also the topic without its prefix.
        event_id: a UUID; stable over retries and replays, so readers dedupe on it.
        timestamp: UTC, `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
        tenant_id: whose record it is.
        namespace: the first part of the event type.
        source: the service's name.
        correlation_id: what belongs together: the trace ID as a UUID unless the caller gave another.
        causation_id: what led to this record.
        schema_ref: `registry://{namespace}/logging/{category}/v1`.
        payload: by category: an `ApplicationPayload`, `AuditPayload` or `SecurityPayload`.
    """

    event_type: str
    event_id: str
    timestamp: str
    tenant_id: str
    namespace: str
    source: str
    correlation_id: str
    causation_id: str
    schema_ref: str
    payload: Mapping[str, Any]


#: The keys that each category's payload has, all of them always.
PAYLOAD_KEYS: Mapping[Category, tuple[str, ...]] = {
    "application": tuple(ApplicationPayload.__annotations__),
    "audit": tuple(AuditPayload.__annotations__),
    "security": tuple(SecurityPayload.__annotations__),
}


@lru_cache(maxsize=64)
def category_of(event_type: str) -> Category:
    """The category that an event type names.

    Raises:
        DecodeError: it names none.
    """
    for category in CATEGORIES:
        if event_type.endswith(f".logging.{category}.v1"):
            return category
    raise DecodeError(f"event_type: expected one that ends in .logging.<category>.v1, got {event_type!r}")
