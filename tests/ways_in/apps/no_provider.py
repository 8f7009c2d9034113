"""Events in a process that never set OpenTelemetry up."""

from otel_kafka_exporter import emit_audit_event, emit_security_event

for _ in range(3):
    emit_audit_event("user.login", "bob", "portal", "success")
    emit_security_event("permission_check", "bob", "ledger", "allow")
print("still here")
