"""Capturing what a process sends: in memory, or as it arrives in an embedded Kafka."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from otel_kafka_exporter.otel import KafkaLogRecordProcessor
from otel_kafka_exporter.process import pause
from otel_kafka_exporter.publisher import close_shared_publisher
from otel_kafka_exporter.records import CATEGORIES, OnexEnvelopeV1, decode
from otel_kafka_exporter.settings import ORIGINAL_VARIABLES, SettingsArguments, variable

from ._captured import CapturedEnvelopes
from ._embedded_kafka import EmbeddedKafka
from ._memory import Memory, in_place_of_delivery
from ._pipeline import logging_through

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SERVERS, _OUTBOX_DIR = variable("bootstrap_servers"), variable("outbox_dir")
#: A name that no resolver knows, should anything ask one.
_NOWHERE = "captured.invalid:9092"
_LOOK_AGAIN = 0.02


@contextmanager
def capture_envelopes(**settings: Unpack[SettingsArguments]) -> Iterator[CapturedEnvelopes]:
    """Meanwhile nothing goes to Kafka: what this process would send is captured, without a broker, a thread or a file.

        with capture_envelopes() as captured:
            delete_order(17)
        captured.one("audit", action="order.delete")

    That is whatever any exporter, direct processor, publisher or one-off function hands over, also one that was made
    before; it is converted, redacted and encoded as it would be, counts as delivered, and has its receipt. Where the
    process has no LoggerProvider with an exporter of this package, it gets one, and the root logger a handler: code
    that runs under `opentelemetry-instrument` in production needs no set-up in its tests. What other processes send is
    not captured: use `EmbeddedKafka` for those.

    Args:
        **settings: of the exporter that is set up then, as of `KafkaLogExporter`; else by the environment.

    Raises:
        SettingsError: one of them is wrong.
    """
    memory = Memory()
    with tempfile.TemporaryDirectory() as directory, mock.patch.dict(os.environ):
        if not any(os.environ.get(name) for name in (_SERVERS, ORIGINAL_VARIABLES["bootstrap_servers"])):
            os.environ[_SERVERS] = _NOWHERE
        os.environ[_OUTBOX_DIR] = directory  # production's may not be there, and is not written to
        with in_place_of_delivery(memory):
            processor = KafkaLogRecordProcessor(**settings)
            try:
                with logging_through(processor):
                    yield CapturedEnvelopes(memory)
            finally:
                processor.shutdown()
                close_shared_publisher()  # it was made by these settings


class _Arrived:
    """The envelopes in an embedded Kafka's topics, whatever their prefix and namespace.

    Attributes:
        patience: as of `Source`.
    """

    patience = 10.0

    def __init__(self, kafka: EmbeddedKafka, processor: KafkaLogRecordProcessor) -> None:
        self._kafka = kafka
        self._processor = processor

    def envelopes(self) -> list[OnexEnvelopeV1]:
        ends = tuple(f"logging.{category}.v1" for category in CATEGORIES)
        return [
            decode(message.value(), message.headers())
            for topic in self._kafka.topics()
            if topic.endswith(ends)
            for message in self._kafka.messages(topic)
        ]

    def wait(self, seconds: float) -> None:
        if self._processor.force_flush(int(seconds * 1000)):
            pause(min(seconds, _LOOK_AGAIN))  # what others send is not known to come

    def remarks(self) -> list[str]:
        return [f"of what this process handed over: {self._processor.stats()}"]


@contextmanager
def captured_from(kafka: EmbeddedKafka) -> Iterator[CapturedEnvelopes]:
    """As `capture_envelopes`, but everything goes to an embedded Kafka, and what arrived there is what is captured."""
    processor = KafkaLogRecordProcessor(bootstrap_servers=kafka.bootstrap_servers)
    try:
        with logging_through(processor):
            yield CapturedEnvelopes(_Arrived(kafka, processor))
    finally:
        processor.shutdown()
