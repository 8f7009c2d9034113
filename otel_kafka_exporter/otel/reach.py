"""Whether what a provider is given can reach an exporter of ours, and through which processor: the SDK tells nobody."""

from __future__ import annotations

from .exporter import KafkaLogExporter
from .processor import KafkaLogRecordProcessor


def may_reach_kafka(source: object) -> bool:
    """Whether an exporter of ours may get what is emitted there; only where it surely gets nothing, not.

    Looks at what the SDK keeps to itself, since it tells nobody. Whatever looks different from the SDK's own, as a
    processor or an exporter of somebody's that passes records on, may lead to ours.

    Args:
        source: a provider, or a logger of one.
    """
    processors = getattr(getattr(source, "_multi_log_record_processor", None), "_log_record_processors", None)
    return processors is None or any(map(_may_lead_on, processors))


def _may_lead_on(processor: object) -> bool:
    if isinstance(processor, KafkaLogRecordProcessor):
        return True
    exporter = exporter_behind(processor)
    return isinstance(exporter, KafkaLogExporter) or not _is_opentelemetrys(exporter)


def exporter_behind(processor: object) -> object:
    """The exporter of a batch or simple processor of OpenTelemetry's; None where there is none to be seen."""
    return getattr(getattr(processor, "_batch_processor", processor), "_exporter", None)


def _is_opentelemetrys(exporter: object) -> bool:
    return type(exporter).__module__.startswith("opentelemetry.")
