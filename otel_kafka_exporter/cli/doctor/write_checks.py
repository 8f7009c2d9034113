"""Does a record arrive? Only where that is asked for, and one that readers can tell from an application's."""

from __future__ import annotations

import time
import uuid

from confluent_kafka import KafkaError, KafkaException, Message

from otel_kafka_exporter.kafka import KafkaProducer, NoSchemaIdError, librdkafka_config, verdict
from otel_kafka_exporter.otel import cleaner_of, record_builder_of, registry_of
from otel_kafka_exporter.process import monotonic
from otel_kafka_exporter.records import KafkaRecord, Publication, PublicationBuilder, uuid7

from .check import Check, Finding, fail, ok, skipped
from .subject import Subject

PROBE_CODE = "OTEL_KAFKA_PROBE"
PROBE_LOGGER = "otel_kafka_exporter.doctor"
_SERVICE = "otel-kafka-doctor"


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
        producer.await_frame(record, monotonic() + subject.patience / 2)
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
    settings = subject.settings
    records = record_builder_of(settings)
    builder = PublicationBuilder(
        *(records, cleaner_of(settings), uuid7, time.time_ns),
        namespace=settings.namespace,
        tenant_id=settings.tenant_id,
        source=_SERVICE,
    )
    fields = (_SERVICE, str(uuid.uuid4()), "INFO", PROBE_LOGGER, PROBE_CODE)
    message = "a probe of otel-kafka doctor --write; it may be ignored"
    publication = Publication("application", fields, message, None, None, None, None, None)
    return records.topic("application"), builder.build(publication)


CHECKS = (Check("write.record", _write, ("rights.cluster", "topics.replicas", "registry.schema")),)
