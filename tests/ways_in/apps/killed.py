"""An audit event, and the end of the process at once after its call has returned."""

import os
import signal

from otel_kafka_exporter import emit_audit_event

emit_audit_event("order.delete", "bob", "order/17", "success")
os.kill(os.getpid(), signal.SIGKILL)
