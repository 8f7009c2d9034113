"""Log records for tests: made by the real SDK, or by hand for what the SDK would change or refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.envelope import OnexEnvelopeV1
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import KafkaRecord, KafkaRecordBuilder
from otel_kafka_exporter.records.redaction import KeyRedaction
from otel_kafka_exporter.records.statements import Converted
from otel_kafka_exporter.records.values import Cleaner

#: 2023-11-14T22:13:20.123456789Z
TIME = 1_700_000_000_123_456_789
TIME_TEXT = "2023-11-14T22:13:20.123456Z"
TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SPAN_ID = 0x00F067AA0BA902B7
TRACE_UUID = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def now() -> int:
    """The present by which times are judged: the year 2100, so that those of tests are past and always the same."""
    return 4_102_444_800 * 10**9


RESOURCE = Resource({"service.name": "shop", "service.instance.id": "shop-1"})
SCOPE = InstrumentationScope("shop.orders")

AUDIT = {
    "omni.audit.action": "order.cancel",
    "omni.audit.actor": "user-7",
    "omni.audit.resource": "order/42",
    "omni.audit.outcome": "success",
}
SECURITY = {
    "omni.security.event_type": "permission_check",
    "omni.security.user_id": "user-7",
    "omni.security.resource": "order/42",
    "omni.security.decision": "deny",
}


def sdk_records(emissions: Iterable[dict[str, Any]], resource: Resource = RESOURCE) -> list[ReadableLogRecord]:
    """What an exporter gets for each `Logger.emit(LogRecord(...))` with these arguments."""
    memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's own, without annotations
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("shop.orders")
    for arguments in emissions:
        logger.emit(LogRecord(**arguments))
    return list(memory.get_finished_logs())


def sdk_record(**arguments: Any) -> ReadableLogRecord:
    """What an exporter gets for one `Logger.emit(LogRecord(...))`."""
    (record,) = sdk_records([arguments])
    return record


def hand_made(attributes: Any = None, *, resource: Any = RESOURCE, scope: Any = SCOPE, **fields: Any) -> Any:
    """A record with just these fields, of whatever types."""
    log = LogRecord()
    log.timestamp, log.observed_timestamp, log.attributes = TIME, TIME, attributes
    for name, value in fields.items():
        setattr(log, name, value)
    return ReadableLogRecord(log, resource, scope)


def cleaner(*more: str, exceptions: Iterable[str] = (), text_filter: Callable[[str], str] | None = None) -> Cleaner:
    """A cleaner that redacts by key."""
    return Cleaner(KeyRedaction(more, exceptions).is_sensitive, text_filter)


def converted(record: Any, using: Cleaner | None = None, **options: Any) -> Converted:
    """A record through a converter of its own."""
    return converted_by(Converter(using or cleaner(), uuid7, now, **options), record)


def converted_by(converter: Converter, record: Any) -> Converted:
    """A record through this converter."""
    return converter.convert(record)


def envelope_of(record: Any, using: Cleaner | None = None, **options: Any) -> OnexEnvelopeV1:
    """A record's envelope."""
    return converted(record, using, **options).envelope


def payload_of(record: Any, using: Cleaner | None = None, **options: Any) -> dict[str, Any]:
    """A record's payload, as any mapping."""
    return dict(envelope_of(record, using, **options).payload)


def kafka_record(record: Any, using: Cleaner | None = None, **options: Any) -> KafkaRecord:
    """A record as it goes to Kafka."""
    return KafkaRecordBuilder(**options).build(converted(record, using))


def on_the_wire(record: Any, using: Cleaner | None = None, **options: Any) -> dict[str, Any]:
    """A record's value, as a strict reader of JSON gets it."""
    document: dict[str, Any] = strict_json(kafka_record(record, using, **options).value)
    return document


def size_of(record: KafkaRecord) -> int:
    """Bytes of key, headers and value."""
    headers = sum(len(name.encode()) + len(as_bytes(value)) for name, value in record.headers)
    return len(record.key or b"") + headers + len(record.value)


def as_bytes(value: str | bytes | None) -> bytes:
    """A header's value; ours are all bytes."""
    assert isinstance(value, bytes)
    return value


def strict_json(document: bytes) -> Any:
    """What the standard library reads; duplicate keys, NaN and Infinity are refused, NUL and lone surrogates too."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        assert len(found) == len(pairs), "a key twice"
        return found

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    value = json.loads(document.decode(), parse_constant=refuse, object_pairs_hook=unique)
    json.dumps(value, ensure_ascii=False).encode()  # fails for lone surrogates, which an escape could have brought in
    assert b"\\u0000" not in document.replace(b"\\\\", b"")
    return value


def compact_json(value: Any) -> bytes:
    """A JSON value in UTF-8, without spaces: how sizes are counted."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
