"""Does a record arrive? Only where that is asked for, and one that readers can tell from an application's."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone

from confluent_kafka import KafkaError, KafkaException, Message

from otel_kafka_exporter import OnexEnvelopeV1
from otel_kafka_exporter.kafka import KafkaProducer, NoSchemaIdError, librdkafka_config, verdict
from otel_kafka_exporter.otel import record_builder_of, registry_of
from otel_kafka_exporter.records import KafkaRecord, event_type, uuid7

from .check import Check, Finding, fail, ok, skipped
from .subject import Subject

PROBE_CODE = "OTEL_KAFKA_PROBE"
PROBE_LOGGER = "otel_kafka_exporter.doctor"


def _write(subject: Subject) -> Finding:
    if not subject.writes:
        return skipped("nothing is written without --write")
    settings = subject.settings
    # An application record: an audit event that nobody caused would be a lie.
    topic, record = _probe(subject)
    reports: list[tuple[KafkaError | None, Message | None]] = []

    def on_report(error: KafkaError | None, message: Message) -> None:
        reports.append((error, message))

    config = librdkafka_config(settings) | {"message.timeout.ms": max(1, int(1000 * subject.patience))}
    producer = KafkaProducer(config, registry_of(settings))
    try:
        producer.await_frame(record, subject.patience / 2)
        producer.produce(record, on_report)
        producer.flush(subject.patience)
    except KafkaException as refused:
        reports.append((refused.args[0], None))
    except NoSchemaIdError as missing:
        return fail(str(missing), "Records wait in the outbox (no_schema_id).", "See the check registry.schema.")
    finally:
        producer.close()
    error, message = reports[0] if reports else (None, None)
    if message is None or error is not None:
        error = error or KafkaError(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - public, in spite of its spelling
        return fail(
            f"{topic}: {error.str()}",
            f"Records do not arrive: {verdict(error.code()).reason}.",
            "docs/delivery.md has each reason, and what to do about it.",
            code=error.name(),
        )
    return ok(
        f"a record with the code {PROBE_CODE} is at {topic}/{message.partition()}/{message.offset()}",
        milliseconds=round(1000 * (message.latency() or 0.0)),
    )


def _probe(subject: Subject) -> tuple[str, KafkaRecord]:
    """A record that readers can leave out by its code, its logger or its service."""
    builder = record_builder_of(subject.settings)
    now = datetime.now(timezone.utc)
    milliseconds = int(now.timestamp() * 1000)
    event_id = uuid7(milliseconds)
    kind = event_type(subject.settings.namespace, "application")
    envelope = OnexEnvelopeV1(
        event_type=kind,
        event_id=event_id,
        timestamp=f"{now:%Y-%m-%dT%H:%M:%S.%f}Z",
        tenant_id=subject.settings.tenant_id,
        namespace=subject.settings.namespace,
        source="otel-kafka-doctor",
        correlation_id=event_id,
        causation_id=event_id,
        schema_ref=f"registry://{subject.settings.namespace}/logging/application/v1",
        payload={
            "service_name": "otel-kafka-doctor",
            "instance_id": str(uuid.uuid4()),
            "level": "INFO",
            "logger": PROBE_LOGGER,
            "message": "a probe of otel-kafka doctor --write; it may be ignored",
            "code": PROBE_CODE,
            "context": {},
        },
    )
    return builder.topic("application"), builder.build(("application", envelope, milliseconds, None))


CHECKS = (Check("write.record", _write, ("rights.cluster", "topics.replicas", "registry.schema")),)
