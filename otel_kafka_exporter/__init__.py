"""OpenTelemetry logs, audit events and security events to Kafka, with every record accounted for."""

from ._version import __version__
from .codes import AuditAction, LogCode, SecurityEventType
from .decoding import decode
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
from .one_off import publish_application_log, publish_audit_log, publish_security_log
from .otlp import to_otlp
from .outcome import DeliveryStats, Outcome
from .processor import KafkaLogRecordProcessor
from .publisher import LoggingEventPublisher, LoggingEventPublisherContext
from .receipts import Receipt
from .route import KafkaError

__all__ = [
    "AuditAction",
    "ConversionError",
    "DecodeError",
    "DeliveryError",
    "DeliveryStats",
    "DeliveryTimeout",
    "KafkaError",
    "KafkaLogExporter",
    "KafkaLogRecordProcessor",
    "LogCode",
    "LoggingEventPublisher",
    "LoggingEventPublisherContext",
    "NoPipelineError",
    "OnexEnvelopeV1",
    "OtelKafkaError",
    "OutboxError",
    "Outcome",
    "Receipt",
    "SecurityEventType",
    "SettingsError",
    "__version__",
    "decode",
    "emit_audit_event",
    "emit_security_event",
    "publish_application_log",
    "publish_audit_log",
    "publish_security_log",
    "to_otlp",
]
