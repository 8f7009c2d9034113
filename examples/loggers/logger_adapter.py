"""`logging.LoggerAdapter`: the fields of the adapter become context.

pip install "otel-kafka-exporter" opentelemetry-distro opentelemetry-instrumentation-logging
opentelemetry-instrument python logger_adapter.py
"""

import logging

logging.basicConfig(level=logging.INFO)

log = logging.LoggerAdapter(logging.getLogger("shop"), {"order": 17, "password": "hunter2"})
log.info("order 17 was read")
try:
    raise ConnectionError("no answer from the bank")
except ConnectionError:
    log.exception("payment failed")
audit = logging.LoggerAdapter(
    logging.getLogger("shop"),
    {
        "omni.category": "audit",
        "omni.audit.action": "order.delete",
        "omni.audit.actor": "bob",
        "omni.audit.resource": "order/17",
        "omni.audit.outcome": "success",
    },
)
audit.info("bob deleted order 17")
