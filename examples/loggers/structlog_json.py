"""structlog through `logging`, rendered as JSON beforehand: its fields become context, but cannot make an event.

Anyone who can get a text logged could forge one, so emit audit events or use attributes.

pip install "otel-kafka-exporter" opentelemetry-distro opentelemetry-instrumentation-logging structlog
opentelemetry-instrument python structlog_json.py
"""

import logging

import structlog

from otel_kafka_exporter import emit_audit_event

logging.basicConfig(level=logging.INFO, format="%(message)s")
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,  # dict_tracebacks would write local variables, secrets too
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)

log = structlog.get_logger("shop").bind(order=17, password="hunter2")
log.info("order 17 was read")
try:
    raise ConnectionError("no answer from the bank")
except ConnectionError:
    log.exception("payment failed")
emit_audit_event("order.delete", actor="bob", resource="order/17", outcome="success", message="bob deleted order 17")
