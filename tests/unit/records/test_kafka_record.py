"""From an envelope to a Kafka record: topic, key, headers, timestamp."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.encoding import encode_json
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.kafka_record import ApplicationKey, KafkaRecord, KafkaRecordBuilder
from otel_kafka_exporter.settings.settings import Settings
from tests.records import (
    AUDIT,
    SECURITY,
    SPAN_ID,
    TIME,
    TRACE_ID,
    TRACE_UUID,
    TRACEPARENT,
    cleaner,
    converted,
    hand_made,
    kafka_record,
    now,
    on_the_wire,
    size_of,
)

TENANT = {"omni.tenant_id": "acme"}


def test_a_whole_record() -> None:
    """An application record's topic, key, value, headers and timestamp are those of the contract."""
    conversion = converted(
        hand_made({**TENANT, "omni.causation_id": "c"}, trace_id=TRACE_ID, span_id=SPAN_ID, trace_flags=1)
    )
    record = KafkaRecordBuilder().build(conversion)
    assert record == KafkaRecord(
        topic="omninode.logging.application.v1",
        key=b"shop",
        value=encode_json(conversion.envelope),
        headers=record.headers,
        milliseconds=TIME // 10**6,
        category="application",
        event_id=conversion.envelope.event_id,
        cuts=0,
    )
    assert sorted(record.headers) == [
        ("content-type", b"application/json"),
        ("traceparent", TRACEPARENT.encode()),
        ("x-causation-id", b"c"),
        ("x-correlation-id", TRACE_UUID.encode()),
        ("x-event-type", b"omninode.logging.application.v1"),
        ("x-schema-hash", b"registry://omninode/logging/application/v1"),
        ("x-tenant", b"acme"),
        ("x-traceparent", TRACEPARENT.encode()),
    ]


@pytest.mark.parametrize(("trace_id", "span_id"), [(0, 0), (TRACE_ID, 0), (0, SPAN_ID), (TRACE_ID, None)])
def test_no_traceparent_without_both_ids(trace_id: Any, span_id: Any) -> None:
    """Only a record with both a trace and a span ID has a traceparent, under neither name."""
    headers = dict(kafka_record(hand_made(trace_id=trace_id, span_id=span_id)).headers)
    assert set(headers) == {
        *("x-correlation-id", "x-causation-id", "x-tenant", "x-schema-hash", "x-event-type", "content-type"),
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [("service_name", b"shop"), ("correlation_id", b"order-42"), ("instance_id", b"shop-1"), ("none", None)],
)
def test_application_key(key: Any, expected: bytes | None) -> None:
    """The setting chooses the key of application records."""
    record = kafka_record(hand_made({"omni.correlation_id": "order-42"}), application_key=key)
    assert record.key == expected
    assert key in get_args(ApplicationKey)


@pytest.mark.parametrize("key", get_args(ApplicationKey))
@pytest.mark.parametrize(("attributes", "event_name"), [(AUDIT, "omni.audit"), (SECURITY, "omni.security")])
def test_audit_and_security_have_their_tenant(key: Any, attributes: dict[str, str], event_name: str) -> None:
    """The key of audit and security events is their tenant, whatever the setting says for application records."""
    assert kafka_record(hand_made({**attributes, **TENANT}, event_name=event_name), application_key=key).key == b"acme"
    assert kafka_record(hand_made(attributes, event_name=event_name), application_key=key).key == b"default"


def test_no_instance_no_key() -> None:
    """Records without an instance ID are spread, and not put into one partition by an empty key."""
    record = hand_made(resource=Resource({"service.name": "shop"}))
    assert kafka_record(record, application_key="instance_id").key is None


@pytest.mark.parametrize(
    ("attributes", "event_name", "category"),
    [({}, None, "application"), (AUDIT, "omni.audit", "audit"), (SECURITY, "omni.security", "security")],
)
def test_topic_prefix(attributes: dict[str, str], event_name: str | None, category: str) -> None:
    """The prefix stands before the topic only: event type, headers and body do not have it."""
    conversion = converted(hand_made(attributes, event_name=event_name), namespace="mine")
    record = KafkaRecordBuilder(namespace="mine", topic_prefix="dev.").build(conversion)
    assert record.topic == f"dev.mine.logging.{category}.v1"
    assert dict(record.headers)["x-event-type"] == f"mine.logging.{category}.v1".encode()
    assert b"dev." not in record.value


def test_keys_and_headers_are_utf8() -> None:
    """Names of every script are carried as UTF-8."""
    record = hand_made(
        {"omni.tenant_id": "é", "omni.correlation_id": "\U0001f600"}, resource=Resource({"service.name": "ü"})
    )
    built = kafka_record(record)
    assert built.key == "ü".encode()
    assert dict(built.headers)["x-tenant"] == "é".encode()
    assert dict(built.headers)["x-correlation-id"] == "\U0001f600".encode()


def test_headers_follow_each_record() -> None:
    """A builder's headers are each record's own, whichever tenant and category came before; no list is shared."""
    builder = KafkaRecordBuilder()
    cases = [
        ("a", None, {}),
        ("b", None, {}),
        ("a", "omni.audit", AUDIT),
        ("a", None, {}),
        ("a", "omni.security", SECURITY),
    ]
    for tenant, event_name, attributes in cases * 2:
        conversion = converted(hand_made({**attributes, "omni.tenant_id": tenant}, event_name=event_name))
        record = builder.build(conversion)
        headers = dict(record.headers)
        assert headers["x-tenant"] == tenant.encode()
        assert headers["x-event-type"] == conversion.envelope.event_type.encode() == record.topic.encode()
        assert headers["x-schema-hash"] == conversion.envelope.schema_ref.encode()
        record.headers.append(("x-tenant", b"broken"))


def test_many_tenants() -> None:
    """Thousands of tenants in turns all get their own headers, and leave no more than a bounded cache behind."""
    builder, converter = KafkaRecordBuilder(), Converter(cleaner(), uuid7, now)
    for number in range(3000):
        record = builder.build(converter.convert(hand_made({"omni.tenant_id": f"t{number}"})))
        assert dict(record.headers)["x-tenant"] == f"t{number}".encode()
    assert len(builder._addresses) <= 1024


def test_size_counts_key_headers_and_value() -> None:
    """The limit is on key, headers and value together: one byte more than fits is cut, one less is not."""
    ids = {"omni.correlation_id": "c" * 255, "omni.causation_id": "d" * 255, "omni.tenant_id": "t" * 128}
    resource = Resource({"service.name": "s" * 256})
    room = 16_384 - size_of(kafka_record(hand_made(ids, resource=resource, body="")))
    at_limit = kafka_record(hand_made(ids, resource=resource, body="m" * room), max_record_bytes=16_384)
    assert (size_of(at_limit), at_limit.cuts) == (16_384, 0)
    above = kafka_record(hand_made(ids, resource=resource, body="m" * (room + 1)), max_record_bytes=16_384)
    assert size_of(above) <= 16_384
    assert above.cuts == 1


@pytest.mark.parametrize("tenant", ["\udcff", "a\ud800b", "é"])
def test_tenant_of_the_environment(tenant: str) -> None:
    """Whatever tenant the settings accept, bytes of the environment that are no UTF-8 among it, records can be made."""
    try:
        settings = Settings.load({"bootstrap_servers": "localhost:9092"}, {"TENANT_ID": tenant})
    except ValueError:
        return
    conversion = Converter(cleaner(), uuid7, now, tenant_id=settings.tenant_id).convert(
        hand_made(AUDIT, event_name="omni.audit")
    )
    assert KafkaRecordBuilder().build(conversion).key


def test_body_and_headers_agree() -> None:
    """Headers say what the body says, also for IDs with characters that JSON escapes."""
    strange = 'a"\\\n\x01é'
    record = hand_made({"omni.correlation_id": strange, "omni.causation_id": strange + "2", "omni.tenant_id": strange})
    wire = on_the_wire(record)
    headers = dict(kafka_record(record).headers)
    for header, key in (
        ("x-correlation-id", "correlation_id"),
        ("x-causation-id", "causation_id"),
        ("x-tenant", "tenant_id"),
    ):
        assert headers[header] == wire[key].encode()
