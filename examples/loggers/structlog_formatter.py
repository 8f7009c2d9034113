"""structlog through `logging`, rendered by a `ProcessorFormatter` on the handler that prints.

pip install "otel-kafka-exporter" opentelemetry-distro opentelemetry-instrumentation-logging structlog
opentelemetry-instrument python structlog_formatter.py
"""

import logging

import structlog

handler = logging.StreamHandler()
handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=structlog.dev.ConsoleRenderer()))
logging.basicConfig(level=logging.INFO, handlers=[handler])
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
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
log.info(
    "bob deleted order 17",
    **{
        "omni.category": "audit",
        "omni.audit.action": "order.delete",
        "omni.audit.actor": "bob",
        "omni.audit.resource": "order/17",
        "omni.audit.outcome": "success",
    },
)
