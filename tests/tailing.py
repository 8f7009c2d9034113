"""Records for the tests of `otel-kafka tail`: of each category, at chosen times, in each encoding."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from otel_kafka_exporter import OnexEnvelopeV1
from otel_kafka_exporter.cli.tail.record import Record
from otel_kafka_exporter.records import JSON, Category, Encoding, Header, KafkaRecord, uuid7
from otel_kafka_exporter.records.protobuf_encoding import PROTOBUF

#: 2026-11-25T22:00:00Z, in seconds; where the times of these records begin.
START = 1_795_644_000
ENCODINGS = {"json": JSON, "protobuf": PROTOBUF}
TOPICS: dict[Category, str] = {
    "application": "omninode.logging.application.v1",
    "audit": "omninode.logging.audit.v1",
    "security": "omninode.logging.security.v1",
}
_PAYLOADS: dict[Category, dict[str, Any]] = {
    "application": {
        "service_name": "shop",
        "instance_id": "i-1",
        "level": "INFO",
        "logger": "shop.orders",
        "message": "stock is low",
        "code": "UNSPECIFIED",
    },
    "audit": {"action": "order.delete", "actor": "bob", "resource": "order/17", "outcome": "success"},
    "security": {"event_type": "permission_check", "user_id": "eve", "resource": "ledger", "decision": "deny"},
}


def envelope(
    category: Category = "application",
    *,
    at: float = 0.0,
    context: dict[str, Any] | None = None,
    event_id: str = "",
    tenant_id: str = "default",
    source: str = "shop",
    correlation_id: str = "",
    **payload: Any,
) -> OnexEnvelopeV1:
    """An envelope of so many seconds after `START`; the rest changes its payload."""
    event_id = event_id or uuid7(round((START + at) * 1000))
    moment = datetime.fromtimestamp(START + at, timezone.utc)
    timestamp = f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
    own = {} if category == "application" else {"tenant_id": tenant_id, "timestamp": timestamp}
    return OnexEnvelopeV1(
        event_type=TOPICS[category],
        event_id=event_id,
        timestamp=timestamp,
        tenant_id=tenant_id,
        namespace="omninode",
        source=source,
        correlation_id=correlation_id or event_id,
        causation_id=correlation_id or event_id,
        schema_ref=f"registry://omninode/logging/{category}/v1",
        payload={**_PAYLOADS[category], **own, **payload, "context": context or {}},
    )


def kafka_record(
    category: Category = "application", *, encoding: Encoding = JSON, prefix: str = "", at: float = 0.0, **changes: Any
) -> KafkaRecord:
    """The same as it goes to Kafka."""
    made = envelope(category, at=at, **changes)
    headers: list[Header] = [
        ("x-correlation-id", made.correlation_id.encode()),
        ("x-causation-id", made.causation_id.encode()),
        ("x-tenant", made.tenant_id.encode()),
        ("x-schema-hash", made.schema_ref.encode()),
        ("x-event-type", made.event_type.encode()),
        ("content-type", encoding.content_type),
    ]
    key = made.source if category == "application" else made.tenant_id
    milliseconds = round((START + at) * 1000)
    value = encoding.encode(made)
    return KafkaRecord(prefix + made.event_type, key.encode(), value, headers, milliseconds, category, made.event_id)


def record(
    category: Category = "application",
    *,
    partition: int = 0,
    offset: int = 0,
    headers: bool = True,
    decoded: bool = True,
    **changes: Any,
) -> Record:
    """The same as it is read, decoded unless told otherwise."""
    kept = kafka_record(category, **changes)
    found = Record(
        kept.topic,
        partition,
        offset,
        kept.milliseconds,
        kept.key,
        kept.headers if headers else [],
        kept.value,
    )
    assert not decoded or found.decode()
    return found
