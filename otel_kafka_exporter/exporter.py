"""The exporter: OpenTelemetry's face of the delivery. It decides nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from .conversion import Converter
from .delivery import Delivery, NoDelivery
from .errors import ConversionError, SettingsError
from .ids import uuid7
from .kafka_record import KafkaRecord, KafkaRecordBuilder
from .outcome import DeliveryStats
from .producer import KafkaProducer
from .producer_config import check_with_librdkafka, librdkafka_config
from .redaction import KeyRedaction, redact_patterns
from .settings import Settings, SettingsArguments, unknown_variables
from .telemetry import LIBRDKAFKA_LOGGER, QUIET_LOGGER, Metrics, log, warn
from .values import Cleaner

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
    _shutdown_timeout = 0.0

    def __init__(
        self, *, bootstrap_servers: str | Sequence[str] | None = None, **settings: Unpack[SettingsArguments]
    ) -> None:
        self._start(Settings.load({"bootstrap_servers": bootstrap_servers, **settings}))

    def _start(self, settings: Settings) -> None:
        config = librdkafka_config(settings)
        check_with_librdkafka(config)
        for line in unknown_variables(os.environ):
            warn(line, "%s", line)
        self._shutdown_timeout = settings.shutdown_timeout
        keys = KeyRedaction(settings.redact_keys, settings.redact_except)
        self._converter = Converter(
            Cleaner(keys.is_sensitive, redact_patterns if settings.redact_patterns else None),
            uuid7,
            namespace=settings.namespace,
            tenant_id=settings.tenant_id,
            resource_context=settings.resource_context,
        )
        self._builder = KafkaRecordBuilder(
            namespace=settings.namespace,
            topic_prefix=settings.topic_prefix,
            application_key=settings.application_key,
            max_record_bytes=settings.max_record_bytes,
        )
        self._delivery = Delivery(KafkaProducer(config), settings.delivery_wait, Metrics(settings.bootstrap_servers))

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Deliver records; returns when each has its outcome. Never raises.

        Returns:
            SUCCESS when every record was delivered, else FAILURE; `stats` and one warning per reason say why.
        """
        try:
            delivered = self._delivery.deliver(batch, self._build)
        except Exception as error:  # noqa: BLE001 - OpenTelemetry's worker and the application's log call are no place for it
            log.exception("an export failed by a fault of its own: %s", error, extra={"kind": type(error)})
            delivered = False
        return LogRecordExportResult.SUCCESS if delivered else LogRecordExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until no record is in flight; whether that came about in time."""
        return self._delivery.wait_until_settled(timeout_millis / 1000)

    # The batch processor passes what is left of its time only to an ordinary parameter of this name.
    def shutdown(self, timeout_millis: int = 30_000) -> None:
        """Take no more records, and stop within `timeout_millis` and the setting `shutdown_timeout`."""
        self._delivery.close(min(timeout_millis / 1000, self._shutdown_timeout))

    def stats(self) -> DeliveryStats:
        """How many records are in which state, in this process."""
        return self._delivery.stats()

    def _build(self, record: ReadableLogRecord) -> KafkaRecord:
        scope = record.instrumentation_scope
        if scope is not None and scope.name in _OWN_LOGGERS:
            # A handler of the application on our own logger: its lines would come back for ever.
            raise ConversionError("scope", "the exporter does not export its own log lines")
        return self._builder.build(self._converter.convert(record))


class EntryPointKafkaLogExporter(KafkaLogExporter):
    """The exporter as OpenTelemetry's own set-up makes it, where an exception would take all telemetry with it.

    With a setting that cannot be used it says so in one line, drops every record with the reason `misconfigured`, and
    leaves the application and its other telemetry alone.
    """

    def __init__(self, **settings: Any) -> None:
        try:
            self._start(Settings.load(settings))
        except SettingsError as error:
            self._delivery = NoDelivery("misconfigured", Metrics(""))
            log.error("no log records go to Kafka: %s", error, extra={"kind": str(error)})
