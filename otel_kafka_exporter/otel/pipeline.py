"""The parts of a way to Kafka, made by their settings: what the exporter and the publisher have in common."""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_kafka_exporter.delivery import Delivery
from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.kafka import KafkaProducer, partitioner
from otel_kafka_exporter.outbox import Fate, Judge, OnLoss, Outbox, Stream, decode_row, topic_of
from otel_kafka_exporter.process import Metrics, ProcessName, librdkafka_log, log, tell_of_start, warn
from otel_kafka_exporter.records import (
    ALL_INTEGERS,
    CATEGORIES,
    CONTENT_TYPE_FRAMED,
    EXACT_INTEGERS,
    JSON,
    Category,
    Cleaner,
    Encoding,
    KafkaRecordBuilder,
    KeyRedaction,
    lacks_frame,
    redact_patterns,
)
from otel_kafka_exporter.settings import Settings

if TYPE_CHECKING:
    from otel_kafka_exporter.kafka.schema_registry import SchemaRegistry


def cleaner_of(settings: Settings) -> Cleaner:
    """What makes values fit for JSON and redacts them."""
    keys = KeyRedaction(settings.redact_keys, settings.redact_except)
    integers = EXACT_INTEGERS if settings.large_integers == "text" else ALL_INTEGERS
    return Cleaner(keys.is_sensitive, redact_patterns if settings.redact_patterns else None, integers=integers)


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


def judge_of(settings: Settings) -> Judge:
    """What tells which records of dead processes are taken over: rows are files, which anybody may have written.

    One for a topic that this process does not write is sent by nobody, whatever its credentials may. One that needs a
    Schema Registry's frame waits for a process that has a registry: here it would block its topic for ever.
    """
    topics = topics_of(settings)
    frames = settings.schema_registry_url is not None

    def judge(stream: Stream, payload: bytes) -> Fate:
        topic = topic_of(payload)
        if topic is not None and topic != topics[stream.category]:
            return Fate.SET_ASIDE
        if not frames and not stream.dead and CONTENT_TYPE_FRAMED in payload:
            with suppress(ValueError):  # it is no record, which is found when it is to be sent
                if lacks_frame(decode_row(payload, stream.category).record):
                    return Fate.LEFT
        return Fate.TAKEN

    return judge


def owner_of(settings: Settings) -> dict[str, str]:
    """What a process says of itself in its outbox's directory: for whom its records are."""
    return {name: str(getattr(settings, name)) for name in ("bootstrap_servers", "topic_prefix", "namespace")}


def tell_way(settings: Settings, way: str) -> None:
    """Say at the start where records go, for who has asked for it.

    Args:
        settings: by which they go.
        way: how they come to us.
    """
    is_kept = settings.outbox and not _problem_of_outbox(settings)
    tell_of_start(
        "records go to Kafka at %s, to the topics %s.logging.*.v1, by %s; %s",
        settings.bootstrap_servers,
        settings.topic_prefix + settings.namespace,
        way,
        f"what it does not take waits in {settings.outbox_dir}" if is_kept else "there is no outbox",
    )


def topics_of(settings: Settings) -> dict[Category, str]:
    """The topic of each category."""
    builder = record_builder_of(settings)
    return {category: builder.topic(category) for category in CATEGORIES}


def _outbox_of(settings: Settings, on_loss: OnLoss) -> Outbox:
    """The outbox of a process."""
    ages = {Stream(category, dead=True): settings.outbox_dead_letters_max_age for category in CATEGORIES}
    if settings.outbox_max_age is not None:
        ages[Stream("application")] = settings.outbox_max_age
    owner = {"pid": os.getpid(), "command": ProcessName(), **owner_of(settings)}
    return Outbox(
        Path(settings.outbox_dir),
        settings.configuration,
        settings.outbox_max_bytes,
        owner,
        on_loss,
        judge_of(settings),
        dead_max_bytes=settings.outbox_dead_letters_max_bytes,
        ages=ages,
        directory_max_bytes=settings.directory_max_bytes,
        power=settings.durability == "power",
    )


def _problem_of_outbox(settings: Settings) -> str:
    """Why there cannot be the outbox that is asked for; empty where nothing is known."""
    return _outbox_of(settings, lambda *_: None).problem() if settings.outbox else ""


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

    Raises:
        SettingsError: there can be no outbox, and the setting `outbox_required` asks for one.
    """
    if not settings.outbox and "outbox" not in settings.given:
        line = "there is no outbox on this operating system, and records that cannot be delivered are dropped"
        warn("no_outbox_here", f"{line}; outbox=false says that this is meant")
    if "log_level" in settings.given:
        log.setLevel(settings.log_level.upper())
    if config.get("debug") and not librdkafka_log.level:  # who sets it asks for its lines
        librdkafka_log.setLevel(logging.DEBUG)
    problem = _problem_of_outbox(settings)
    if problem and settings.outbox_required:
        raise SettingsError(f"outbox_dir: {problem}. The setting outbox_required asks for an outbox.")
    if problem:
        line = "there is no outbox, and records that cannot be delivered are dropped: %s; set outbox_dir"
        warn(problem, line, problem)
    return Delivery(
        producer_of(config, registry),
        Metrics(settings.bootstrap_servers),
        delivery_wait=settings.delivery_wait,
        partition_of=partitioner(str(config["partitioner"])),
        full_queue_wait=settings.full_queue_wait,
        batch_queue_wait=settings.full_queue_wait if "full_queue_wait" in settings.given else math.inf,
        outbox=functools.partial(_outbox_of, settings) if settings.outbox else None,
        durable=settings.durable,
        on_round=on_round,
    )
