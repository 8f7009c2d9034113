"""OpenTelemetry logs, audit events and security events to Kafka, with every record accounted for."""

from ._version import __version__
from .encoding import decode
from .envelope import OnexEnvelopeV1
from .errors import ConversionError, DecodeError, OtelKafkaError, SettingsError
from .events import emit_audit_event, emit_security_event
from .exporter import KafkaLogExporter
from .outcome import DeliveryStats, Outcome

__all__ = [
    "ConversionError",
    "DecodeError",
    "DeliveryStats",
    "KafkaLogExporter",
    "OnexEnvelopeV1",
    "OtelKafkaError",
    "Outcome",
    "SettingsError",
    "__version__",
    "decode",
    "emit_audit_event",
    "emit_security_event",
]
