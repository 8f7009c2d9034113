"""The direct processor under `opentelemetry-instrument`: there it is what `OTEL_LOGS_EXPORTER=onex_kafka` gives.

The batch processor, which OpenTelemetry puts before every exporter, loses what it holds when the process ends by a
signal, as uvicorn does at every SIGTERM, and most of a burst.

Log processors have no entry point of their own; OpenTelemetry calls this module's function by the group
`opentelemetry_pre_instrument`, after its providers are set up by the environment or by the declarative file.
"""

from __future__ import annotations

import os

from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter.process import log, warn
from otel_kafka_exporter.settings import flag, variable

from .exporter import EntryPointKafkaLogExporter, by_entry_point
from .processor import KafkaLogRecordProcessor
from .reach import exporter_behind

#: Variables that set the batch processor's queue up: who sets one wants the queue.
_QUEUE_VARIABLES = "OTEL_BLRP_"
#: Names the declarative file, in which the processor is written down.
_FILE_VARIABLE = "OTEL_CONFIG_FILE"


def set_direct_processor_up() -> None:
    """Put a `KafkaLogRecordProcessor` in the batch processor's place, by the setting `direct`. Never raises.

    With an exporter of ours configured it takes that exporter's settings. Without one it is added, if the setting's
    environment variable asks for it.
    """
    try:
        _set_up()
    except Exception as error:  # noqa: BLE001 - an exception would take all of the application's telemetry with it
        log.error("no direct processor: %s", error, extra={"kind": str(error)})


def _set_up() -> None:
    provider = get_logger_provider()
    for exporter in tuple(by_entry_point):
        if exporter.direct or (exporter.direct is None and _is_direct_by_default()):
            _replace_processor(provider, exporter)
        exporter.comes_by("OpenTelemetry's own processor, in batches")  # unless the other one has said so
    if not by_entry_point and flag("direct"):
        if isinstance(provider, LoggerProvider):
            provider.add_log_record_processor(KafkaLogRecordProcessor(EntryPointKafkaLogExporter()))
        else:
            name = variable("direct")
            warn(name, "no direct processor: OpenTelemetry has no LoggerProvider of its SDK, or it is disabled")


def _is_direct_by_default() -> bool:
    return not os.environ.get(_FILE_VARIABLE, "").strip() and not any(
        name.startswith(_QUEUE_VARIABLES) and value.strip() for name, value in os.environ.items()
    )


def _replace_processor(provider: object, exporter: EntryPointKafkaLogExporter) -> None:
    """Give the place of the processor before an exporter to a direct one.

    Left where it is, it would go on to fill its queue, and say that it drops what the direct processor delivers. The
    SDK has no way to remove it: this is its own way to add one. Every record goes through one of the two.
    """
    processors = provider._multi_log_record_processor  # type: ignore[attr-defined]  # noqa: SLF001
    with processors._lock:  # noqa: SLF001
        before = processors._log_record_processors  # noqa: SLF001
        replaced = [processor for processor in before if exporter_behind(processor) is exporter]
        direct = KafkaLogRecordProcessor(exporter)
        processors._log_record_processors = tuple(  # noqa: SLF001
            direct if processor in replaced else processor for processor in before
        )
    if exporter.direct and not replaced:
        warn("place", "no direct processor: the exporter is not behind a processor of OpenTelemetry's")
    with exporter.kept_open():
        for processor in replaced:
            processor.shutdown()  # which also exports what it holds
