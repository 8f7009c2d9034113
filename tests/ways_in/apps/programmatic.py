"""A pipeline in code. Arguments: `batch` or `simple`, the bootstrap servers, the topic prefix."""

import sys

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber, set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_kafka_exporter import KafkaLogExporter, emit_audit_event, emit_security_event

kind, bootstrap_servers, topic_prefix = sys.argv[1:]
exporter = KafkaLogExporter(bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix)
processor = BatchLogRecordProcessor(exporter) if kind == "batch" else SimpleLogRecordProcessor(exporter)
provider = LoggerProvider(resource=Resource.create({"service.name": "shop", "omni.tenant_id": "acme"}))
provider.add_log_record_processor(processor)
set_logger_provider(provider)

with TracerProvider().get_tracer("shop").start_as_current_span("checkout") as span:
    provider.get_logger("shop.code").emit(body="in a span", severity_number=SeverityNumber.FATAL)
    emit_audit_event("user.login", "bob", "portal", "failure", context={"api_key": "k-123", "attempt": 2})
emit_security_event("permission_check", "bob", "ledger", "deny", message="not an auditor", correlation_id="req-7")
print(f"{trace.format_trace_id(span.get_span_context().trace_id)}")
provider.shutdown()
print(exporter.stats())
