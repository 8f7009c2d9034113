"""The parts of a way to Kafka, made by their settings: what the exporter and the publisher have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_kafka_exporter.delivery import Delivery
from otel_kafka_exporter.kafka import KafkaProducer, partitioner
from otel_kafka_exporter.outbox import OnLoss, Outbox
from otel_kafka_exporter.process import Metrics
from otel_kafka_exporter.records import JSON, Cleaner, Encoding, KafkaRecordBuilder, KeyRedaction, redact_patterns
from otel_kafka_exporter.settings import Settings

if TYPE_CHECKING:
    from otel_kafka_exporter.kafka.schema_registry import SchemaRegistry


def cleaner_of(settings: Settings) -> Cleaner:
    """What makes values fit for JSON and redacts them."""
    keys = KeyRedaction(settings.redact_keys, settings.redact_except)
    return Cleaner(keys.is_sensitive, redact_patterns if settings.redact_patterns else None)


def _encoding_of(settings: Settings) -> Encoding:
    if settings.encoding == "json":
        return JSON
    from otel_kafka_exporter.records.protobuf_encoding import FRAMED_PROTOBUF, PROTOBUF  # noqa: PLC0415 - who writes JSON need not load Protobuf

    return PROTOBUF if settings.schema_registry_url is None else FRAMED_PROTOBUF


def record_builder_of(settings: Settings) -> KafkaRecordBuilder:
    """What makes Kafka records of envelopes."""
    return KafkaRecordBuilder(
        namespace=settings.namespace,
        topic_prefix=settings.topic_prefix,
        application_key=settings.application_key,
        max_record_bytes=settings.max_record_bytes,
        encoding=_encoding_of(settings),
    )


def registry_of(settings: Settings) -> SchemaRegistry | None:
    """The Schema Registry, where values are framed for one.

    Raises:
        SettingsError: its client is not installed, or refuses its properties.
    """
    if settings.schema_registry_url is None:
        return None
    from otel_kafka_exporter.kafka.schema_registry import SchemaRegistry  # noqa: PLC0415 - as above

    return SchemaRegistry(
        settings.schema_registry_url,
        settings.schema_registry_config,
        settings.schema_registry_subject,
        auto_register=settings.schema_registry_auto_register,
    )


def producer_of(config: Mapping[str, Any], registry: SchemaRegistry | None) -> KafkaProducer:
    """A producer of librdkafka's configuration, whose records are framed where they have to be."""
    return KafkaProducer(config, registry)


def delivery_of(
    settings: Settings,
    config: Mapping[str, Any],
    registry: SchemaRegistry | None,
    on_round: Callable[[], None] = lambda: None,
) -> Delivery:
    """A delivery.

    Args:
        settings: by which it is made.
        config: librdkafka's part of them.
        registry: as of `registry_of`.
        on_round: as of `Delivery`.
    """

    def outbox(on_loss: OnLoss) -> Outbox:
        owner = {"pid": os.getpid(), "command": sys.argv[0], "bootstrap_servers": settings.bootstrap_servers}
        return Outbox(Path(settings.outbox_dir), settings.configuration, settings.outbox_max_bytes, owner, on_loss)

    return Delivery(
        producer_of(config, registry),
        Metrics(settings.bootstrap_servers),
        delivery_wait=settings.delivery_wait,
        partition_of=partitioner(str(config["partitioner"])),
        full_queue_wait=settings.full_queue_wait,
        outbox=outbox if settings.outbox else None,
        durable=settings.durable,
        sync=settings.durability == "power",
        on_round=on_round,
    )
