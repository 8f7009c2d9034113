"""The parts of a way to Kafka, made by their settings: what the exporter and the publisher have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .delivery import Delivery
from .encoding import JSON, Encoding
from .kafka_record import KafkaRecordBuilder
from .outbox import OnLoss, Outbox
from .producer import KafkaProducer
from .producer_config import message_timeout
from .redaction import KeyRedaction, redact_patterns
from .settings import Settings
from .telemetry import Metrics
from .values import Cleaner


def cleaner_of(settings: Settings) -> Cleaner:
    """What makes values fit for JSON and redacts them."""
    keys = KeyRedaction(settings.redact_keys, settings.redact_except)
    return Cleaner(keys.is_sensitive, redact_patterns if settings.redact_patterns else None)


def _encoding_of(settings: Settings) -> Encoding:
    if settings.encoding == "json":
        return JSON
    from .protobuf_encoding import PROTOBUF  # noqa: PLC0415 - who writes JSON need not load Protobuf

    return PROTOBUF


def record_builder_of(settings: Settings) -> KafkaRecordBuilder:
    """What makes Kafka records of envelopes."""
    return KafkaRecordBuilder(
        namespace=settings.namespace,
        topic_prefix=settings.topic_prefix,
        application_key=settings.application_key,
        max_record_bytes=settings.max_record_bytes,
        encoding=_encoding_of(settings),
    )


def delivery_of(settings: Settings, config: Mapping[str, Any], on_round: Callable[[], None] = lambda: None) -> Delivery:
    """A delivery.

    Args:
        settings: by which it is made.
        config: librdkafka's part of them.
        on_round: as of `Delivery`.
    """

    def outbox(on_loss: OnLoss) -> Outbox:
        owner = {"pid": os.getpid(), "command": sys.argv[0], "bootstrap_servers": settings.bootstrap_servers}
        return Outbox(Path(settings.outbox_dir), settings.configuration, settings.outbox_max_bytes, owner, on_loss)

    return Delivery(
        KafkaProducer(config),
        Metrics(settings.bootstrap_servers),
        delivery_wait=settings.delivery_wait,
        message_timeout=message_timeout(config),
        full_queue_wait=settings.full_queue_wait,
        outbox=outbox if settings.outbox else None,
        durable=settings.durable,
        sync=settings.durability == "power",
        on_round=on_round,
    )
