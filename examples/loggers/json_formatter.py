"""A JSON formatter on the handler that prints: it does not change what is sent to Kafka.

pip install "otel-kafka-exporter" opentelemetry-distro opentelemetry-instrumentation-logging python-json-logger
opentelemetry-instrument python json_formatter.py
"""

import logging

from pythonjsonlogger.json import JsonFormatter

handler = logging.StreamHandler()
handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
logging.basicConfig(level=logging.INFO, handlers=[handler])

log = logging.getLogger("shop")
log.info("order 17 was read", extra={"order": 17, "password": "hunter2"})
try:
    raise ConnectionError("no answer from the bank")
except ConnectionError:
    log.exception("payment failed", extra={"order": 17, "password": "hunter2"})
log.info(
    "bob deleted order 17",
    extra={
        "omni.category": "audit",
        "omni.audit.action": "order.delete",
        "omni.audit.actor": "bob",
        "omni.audit.resource": "order/17",
        "omni.audit.outcome": "success",
    },
)
