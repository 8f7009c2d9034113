"""OpenTelemetry logs, audit events and security events to Kafka, with every record accounted for."""

from ._version import __version__
from .delivery import Receipt
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
from .otel import (
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    aemit_audit_event,
    aemit_security_event,
    emit_audit_event,
    emit_security_event,
)
from .process import DeliveryOutcome, DeliveryStats, stats
from .publisher import (
    KafkaError,
    LoggingEventPublisher,
    LoggingEventPublisherContext,
    publish_application_log,
    publish_audit_log,
    publish_security_log,
)
from .records import (
    AuditAction,
    Decision,
    LogCode,
    LogLevel,
    OnexEnvelopeV1,
    Outcome,
    SecurityEventType,
    decode,
    to_otlp,
)

__all__ = [
    "AuditAction",
    "ConversionError",
    "Decision",
    "DecodeError",
    "DeliveryError",
    "DeliveryOutcome",
    "DeliveryStats",
    "DeliveryTimeout",
    "KafkaError",
    "KafkaLogExporter",
    "KafkaLogRecordProcessor",
    "LogCode",
    "LogLevel",
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
    "aemit_audit_event",
    "aemit_security_event",
    "decode",
    "emit_audit_event",
    "emit_security_event",
    "publish_application_log",
    "publish_audit_log",
    "publish_security_log",
    "stats",
    "to_otlp",
]
