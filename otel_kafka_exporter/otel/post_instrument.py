"""OpenTelemetry's logging handler under `opentelemetry-instrument`: in Celery's workers, and for structlog's events.

A Celery worker takes away whatever handlers the root logger has when it sets logging up (`worker_hijack_root_logger`),
and has its tasks' logger not propagate: no line of any task's would arrive. OpenTelemetry puts its handler back after
`logging.config`, but knows nothing of Celery; its entry-point group `opentelemetry_post_instrument` calls this module's
function when the handler is there.
"""

from __future__ import annotations

import logging
from typing import Any

from otel_kafka_exporter.process import log

from .structured import EventFormatter


def set_handlers_up() -> None:
    """Have OpenTelemetry's handlers keep the fields of events, and stay in a Celery worker. Never raises."""
    try:
        handlers = [handler for handler in logging.getLogger().handlers if _is_opentelemetrys(handler)]
        for handler in handlers:
            if handler.formatter is None:
                handler.setFormatter(EventFormatter())
        if handlers:
            _when_celery_is_imported(handlers)
    except Exception as error:  # noqa: BLE001 - an exception would take all of the application's telemetry with it
        log.error("lines of Celery's workers or structlog's fields are missing: %s", error, extra={"kind": str(error)})


def _is_opentelemetrys(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("opentelemetry.")


def _when_celery_is_imported(handlers: list[logging.Handler]) -> None:
    # Of opentelemetry-instrumentation's dependencies, and it is what calls this module.
    from wrapt import register_post_import_hook  # noqa: PLC0415

    def put_back(logger: logging.Logger, **_arguments: object) -> None:
        if logger.parent is not None and logger.propagate:
            return  # its lines come to the root logger's
        for handler in handlers:
            logger.addHandler(handler)  # nothing where it is there already

    def connect(signals: Any) -> None:
        for signal in (signals.after_setup_logger, signals.after_setup_task_logger):
            signal.connect(put_back, weak=False)

    register_post_import_hook(connect, "celery.signals")
