"""The direct processor: log records to Kafka without a second queue. It decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from otel_kafka_exporter.process import DeliveryStats, is_interruption, kind_of_fault, log
from otel_kafka_exporter.settings import SettingsArguments

from .exporter import KafkaLogExporter

if TYPE_CHECKING:
    from typing_extensions import Unpack


class KafkaLogRecordProcessor(LogRecordProcessor):
    """Hands each log record to Kafka's client on the thread that logs, which is a queue already, and the better one.

    A record has what its body held when its log call returns, whatever becomes of a dict or a list later.
    An audit or security event is in the outbox when its log call returns, and survives the death of the process.

        provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers="localhost:9092"))

    A log call waits for nothing but room in the local queue, `full_queue_wait` at most, and for the disk where
    `durability` asks for it.

    Args:
        exporter: delivers, by its own settings; made of the settings unless given.
        bootstrap_servers: as of `KafkaLogExporter`.
        **settings: as of `KafkaLogExporter`.

    Raises:
        SettingsError: as `KafkaLogExporter` does.
        ValueError: there is an exporter and settings beside it.
    """

    def __init__(
        self,
        exporter: KafkaLogExporter | None = None,
        *,
        bootstrap_servers: str | Sequence[str] | None = None,
        **settings: Unpack[SettingsArguments],
    ) -> None:
        if exporter is not None and (bootstrap_servers is not None or settings):
            raise ValueError("expected an exporter or settings, got both. Give the settings to the exporter.")
        self._exporter = exporter or KafkaLogExporter(bootstrap_servers=bootstrap_servers, **settings)
        self._exporter.comes_by("the direct processor")

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Take a record. Never raises."""
        try:
            self._exporter.hand_over(log_record)
        except Exception as error:  # the application's log call is no place for it
            if is_interruption(error):
                raise
            log.exception(
                "a log record was lost by a fault of the exporter's: %s", error, extra={"kind": kind_of_fault(error)}
            )

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until no record is in flight; whether that came about in time."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Take no more records, and stop within `shutdown_timeout`; what is not delivered is kept in the outbox."""
        self._exporter.shutdown()

    def stats(self) -> DeliveryStats:
        """How many records are in which state, in this process."""
        return self._exporter.stats()
