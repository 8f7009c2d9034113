"""The direct processor under `opentelemetry-instrument`, where it is asked for.

Log processors have no entry point of their own; OpenTelemetry calls this module's function by the group
`opentelemetry_pre_instrument`, after its providers are set up by the environment or by the declarative file.
"""

from __future__ import annotations

import os

from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.process import log, warn
from otel_kafka_exporter.settings import boolean, variable

from .exporter import EntryPointKafkaLogExporter, by_entry_point
from .processor import KafkaLogRecordProcessor


def add_direct_processor() -> None:
    """Add a `KafkaLogRecordProcessor` to the global LoggerProvider if the setting `direct` asks for it. Never raises.

    It takes the settings of the exporter that is configured, if one is; that one then stays idle, so that no record
    is sent twice.
    """
    try:
        _add()
    except Exception as error:  # noqa: BLE001 - an exception would take all of the application's telemetry with it
        log.error("no direct processor: %s", error, extra={"kind": str(error)})


def _add() -> None:
    name = variable("direct")
    given = os.environ.get(name, "").strip()
    try:
        asked_by_environment = bool(given) and boolean(given)
    except ValueError as error:
        raise SettingsError(f"{name}: expected {error}, got {given!r}.") from None
    configured = list(by_entry_point)
    if not asked_by_environment and not any(exporter.wants_direct for exporter in configured):
        return
    provider = get_logger_provider()
    if not isinstance(provider, LoggerProvider):
        warn(name, "no direct processor: OpenTelemetry has no LoggerProvider of its SDK, or it is disabled")
        return
    if configured and asked_by_environment:
        warn(
            name,
            "the exporter onex_kafka is configured beside the direct processor, and stays idle."
            " Set OTEL_LOGS_EXPORTER to another exporter or to none.",
        )
    for exporter in configured or [EntryPointKafkaLogExporter()]:
        exporter.is_idle = True
        provider.add_log_record_processor(KafkaLogRecordProcessor(exporter))
