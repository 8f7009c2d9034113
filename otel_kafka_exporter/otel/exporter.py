"""The exporter: OpenTelemetry's face of the delivery. It decides nothing."""

from __future__ import annotations

import functools
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, ServiceInstanceIdResourceDetector

from otel_kafka_exporter.delivery import Delivery, NoDelivery, receipts
from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.kafka import check_with_librdkafka, librdkafka_config
from otel_kafka_exporter.process import (
    LIBRDKAFKA_LOGGER,
    QUIET_LOGGER,
    DeliveryStats,
    Metrics,
    is_interruption,
    kind_of_fault,
    log,
    note,
    warn,
)
from otel_kafka_exporter.records import COUNT_SETTING, LENGTH_SETTING, Converter, SdkLogRecord, uuid7
from otel_kafka_exporter.settings import Settings, SettingsArguments, refuse_argument, unknown_variables

from .disk import Disk, TaskLogRecord
from .pipeline import cleaner_of, delivery_of, record_builder_of, registry_of, tell_way
from .structured import StructuredRecordBuilder

if TYPE_CHECKING:
    from typing_extensions import Unpack

_OWN_LOGGERS = frozenset((QUIET_LOGGER, LIBRDKAFKA_LOGGER))


class KafkaLogExporter(LogRecordExporter):
    """Exports log records, audit events and security events to Kafka as `OnexEnvelopeV1`.

    Making one starts nothing and waits for nothing: the producer is made with the first record, in each process.

        provider.add_log_record_processor(BatchLogRecordProcessor(KafkaLogExporter(bootstrap_servers="localhost:9092")))

    Args:
        bootstrap_servers: `host:port,host:port`; `OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS` or `KAFKA_BOOTSTRAP_SERVERS`
            unless given.
        **settings: any other setting by its name, see `Settings`; each has an environment variable.

    Raises:
        SettingsError: a setting is unknown, wrong, missing, or contradicts another.
    """

    _delivery: Delivery | NoDelivery
    _builder: Any = None  # a delivery that drops everything builds nothing
    _shutdown_timeout = 0.0
    _disk: Disk | None = None  # where `durability` asks for it
    _tell_way: Callable[[str], None] | None = None  # until it is told

    def __init__(
        self, *, bootstrap_servers: str | Sequence[str] | None = None, **settings: Unpack[SettingsArguments]
    ) -> None:
        refuse_argument("direct", settings, "Add a KafkaLogRecordProcessor, which is the direct one, to the provider.")
        self._start(Settings.load({"bootstrap_servers": bootstrap_servers, **settings}))

    def _start(self, settings: Settings) -> None:
        config = librdkafka_config(settings)
        check_with_librdkafka(config)
        for line in unknown_variables(os.environ):
            warn(line, "%s", line)
        self._shutdown_timeout = settings.shutdown_timeout
        cleaner = cleaner_of(settings)
        self._builder = StructuredRecordBuilder(
            Converter(
                cleaner,
                uuid7,
                _now,
                namespace=settings.namespace,
                tenant_id=settings.tenant_id,
                instance_id=_instance_id(),
                resource_context=settings.resource_context,
                on_cut=_note_cut,
            ),
            record_builder_of(settings),
            cleaner,
            _OWN_LOGGERS,
        )
        self._tell_way = functools.partial(tell_way, settings)
        self._delivery = delivery = delivery_of(settings, config, registry_of(settings))
        self._disk = Disk(delivery.sync) if delivery.needs_disk else None
        receipts.pipeline_opened(self, delivery.trouble)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Deliver records; returns when each has its outcome. Never raises.

        Returns:
            SUCCESS when every record was delivered or is kept in the outbox, else FAILURE; `stats` and one warning per
            reason say why.
        """
        try:
            self.comes_by("OpenTelemetry's own processor, in batches")
            delivered = self._delivery.deliver(batch, self._builder)
        except Exception as error:  # OpenTelemetry's worker and the application's log call are no place for it
            if is_interruption(error):
                raise
            log.exception("an export failed by a fault of its own: %s", error, extra={"kind": kind_of_fault(error)})
            delivered = False
        return LogRecordExportResult.SUCCESS if delivered else LogRecordExportResult.FAILURE

    def comes_by(self, way: str) -> None:
        """Say once where records go, and by which way they come, for who has asked for it by level INFO."""
        if self._tell_way is not None:
            tell, self._tell_way = self._tell_way, None
            tell(way)

    def hand_over(self, record: SdkLogRecord) -> None:
        """Take one record without waiting for its outcome; for the direct processor."""
        if self._disk is None:  # there is nothing to wait for behind it
            self._delivery.put(record, self._builder)
            return
        source = record.log_record
        if isinstance(source, TaskLogRecord):
            self._delivery.put(record, self._builder)
            source.taken.append(self._disk.take())
        else:
            self._delivery.hand_over(record, self._builder)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until no record is in flight; whether that came about in time."""
        return self._delivery.flush(timeout_millis / 1000)

    # The batch processor passes what is left of its time only to an ordinary parameter of this name.
    def shutdown(self, timeout_millis: int = 30_000) -> None:
        """Take no more records, and stop within `timeout_millis` and the setting `shutdown_timeout`."""
        receipts.pipeline_closed(self)
        self._delivery.close(min(timeout_millis / 1000, self._shutdown_timeout))

    def stats(self) -> DeliveryStats:
        """How many records are in which state, in this process."""
        return self._delivery.stats()


def is_exporting() -> bool:
    """Whether this thread is in an export: who asks has interrupted it."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented, in spite of its name
    while frame is not None:
        if frame.f_code is KafkaLogExporter.export.__code__:
            return True
        frame = frame.f_back
    return False


def _now() -> int:
    return time.time_ns()  # looked up each time, so that tests which set the clock set this one


def _instance_id() -> str:
    """The process's `service.instance.id`, as the SDK makes it for `Resource.create`.

    A resource that the declarative file has made, or a constructor, has none.
    """
    return str(ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID])


def _note_cut(cuts: int) -> None:
    line = (
        "OpenTelemetry's SDK has cut or dropped %d values of a log record, whose context says so; its settings are"
        " %s and %s"
    )
    note("sdk_limits", line, cuts, COUNT_SETTING, LENGTH_SETTING)


class EntryPointKafkaLogExporter(KafkaLogExporter):
    """The exporter as OpenTelemetry's own set-up makes it, where an exception would take all telemetry with it.

    With a setting that cannot be used it says so in one line, drops every record with the reason `misconfigured`, and
    leaves the application and its other telemetry alone.

    Attributes:
        direct: the setting; None where nothing was said, and False where nothing is delivered.
    """

    def __init__(self, **settings: Any) -> None:
        self.direct: bool | None = False
        self._is_kept_open = False
        try:
            loaded = Settings.load(settings)
            self._start(loaded)
            self.direct = loaded.direct
            by_entry_point.add(self)
        except SettingsError as error:
            self._delivery = NoDelivery("misconfigured", Metrics(""))
            log.error("no log records go to Kafka: %s", error, extra={"kind": str(error)})

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Meanwhile `shutdown` does nothing: the processor that calls it gives its place to another."""
        self._is_kept_open = True
        try:
            yield
        finally:
            self._is_kept_open = False

    def shutdown(self, timeout_millis: int = 30_000) -> None:
        """As `KafkaLogExporter.shutdown`, unless it is kept open."""
        if not self._is_kept_open:
            super().shutdown(timeout_millis)


#: Those that OpenTelemetry's set-up has made in this process.
by_entry_point: weakref.WeakSet[EntryPointKafkaLogExporter] = weakref.WeakSet()
