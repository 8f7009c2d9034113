"""OpenTelemetry logs, audit events and security events to Kafka, with every record accounted for."""

from ._version import __version__
from .encoding import decode
from .envelope import OnexEnvelopeV1
from .errors import (
    ConversionError,
    DecodeError,
    DeliveryError,
    DeliveryTimeout,
    NoPipelineError,
    OtelKafkaError,
    OutboxError,
    SettingsError,
)
from .events import emit_audit_event, emit_security_event
from .exporter import KafkaLogExporter
from .outcome import DeliveryStats, Outcome
from .processor import KafkaLogRecordProcessor
from .receipts import Receipt

__all__ = [
    "ConversionError",
    "DecodeError",
    "DeliveryError",
    "DeliveryStats",
    "DeliveryTimeout",
    "KafkaLogExporter",
    "KafkaLogRecordProcessor",
    "NoPipelineError",
    "OnexEnvelopeV1",
    "OtelKafkaError",
    "OutboxError",
    "Outcome",
    "Receipt",
    "SettingsError",
    "__version__",
    "decode",
    "emit_audit_event",
    "emit_security_event",
]
