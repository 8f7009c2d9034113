"""loguru: bound fields become context, and `omni.*` fields make events.

pip install "otel-kafka-exporter" opentelemetry-distro opentelemetry-instrumentation-logging loguru
opentelemetry-instrument python with_loguru.py
"""

import logging

from loguru import logger


class ToLogging(logging.Handler):
    """Hands loguru's records on to `logging`, where OpenTelemetry's handler is."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


logging.getLogger().setLevel(logging.INFO)
# A function, because loguru adds the traceback to a text's format, and it is in the record already.
logger.add(ToLogging(), format=lambda _: "{message}")

log = logger.bind(order=17, password="hunter2")
log.info("order {} was read", 17)
try:
    raise ConnectionError("no answer from the bank")
except ConnectionError:
    log.exception("payment failed")
log.bind(
    **{
        "omni.category": "audit",
        "omni.audit.action": "order.delete",
        "omni.audit.actor": "bob",
        "omni.audit.resource": "order/17",
        "omni.audit.outcome": "success",
    }
).info("bob deleted order 17")
