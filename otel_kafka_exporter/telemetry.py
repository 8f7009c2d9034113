"""What the exporter says of itself: log lines that cannot come back to it, and metrics by OpenTelemetry's conventions.

The logger `otel_kafka_exporter` does not propagate, so that no handler of the application (OpenTelemetry's least of
all) turns a line about a lost record into another record. It writes warnings to stderr; give it a handler or a level
of your own to change that.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from opentelemetry.metrics import MeterProvider, get_meter_provider

if TYPE_CHECKING:
    # Where the type lives in every version; the name is generic there and not everywhere at run time.
    StreamHandler = logging.StreamHandler[TextIO]
else:
    StreamHandler = logging.StreamHandler

QUIET_LOGGER = "otel_kafka_exporter"
LIBRDKAFKA_LOGGER = f"{QUIET_LOGGER}.librdkafka"
QUIET_SECONDS = 60.0

COMPONENT_TYPE = "onex_kafka_log_exporter"


class _StderrHandler(StreamHandler):
    """Writes to the process's own stderr: `sys.stderr` may be one that logs, as Celery's is in its workers."""

    def __init__(self) -> None:
        super().__init__()
        self.setLevel(logging.WARNING)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if sys.__stderr__ is not None:  # as in a process without a console
            self.stream = sys.__stderr__
            super().emit(record)


class OncePerMinute(logging.Filter):
    """Lets one line of a kind through in a minute; the next one says how many there were in between.

    A kind is the record's `kind` attribute where it has one, else its first argument: librdkafka's lines differ in
    their text each time, and have their facility (`FAIL`, `REQTMOUT`) there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[object, tuple[float, int]] = {}
        self._lock = threading.RLock()  # a signal handler may log while its own thread is in here
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def filter(self, record: logging.LogRecord) -> bool:
        first = record.args[0] if isinstance(record.args, tuple) and record.args else record.msg
        kind = (record.levelno, getattr(record, "kind", first if isinstance(first, str) else record.msg))
        now = time.monotonic()
        with self._lock:
            last, withheld = self._seen.get(kind, (-QUIET_SECONDS, 0))
            if now - last < QUIET_SECONDS:
                self._seen[kind] = (last, withheld + 1)
                return False
            self._seen[kind] = (now, 0)
        if withheld:
            record.msg = f"{record.msg} ({withheld} more like this in between)"
        return True


def _quiet_logger() -> logging.Logger:
    logger = logging.getLogger(QUIET_LOGGER)
    logger.propagate = False
    if not logger.handlers:  # the module may be imported anew, as tests do
        logger.addHandler(_StderrHandler())
    return logger


log = _quiet_logger()
librdkafka_log = logging.getLogger(LIBRDKAFKA_LOGGER)
_once_per_minute = OncePerMinute()
log.addFilter(_once_per_minute)
librdkafka_log.addFilter(_once_per_minute)


def warn(kind: str, message: str, *args: object) -> None:
    """Log a warning, once per kind and minute."""
    log.warning(message, *args, extra={"kind": kind})


_component_numbers = itertools.count()


class Metrics:
    """The exporter's metrics, by OpenTelemetry's semantic conventions for SDK components.

    Args:
        bootstrap_servers: the first of them gives `server.address` and `server.port`; empty when it is not known.
        meter_provider: where they go; the global one unless given.
    """

    def __init__(self, bootstrap_servers: str, meter_provider: MeterProvider | None = None) -> None:
        self._attributes: dict[str, str | int] = {
            "otel.component.type": COMPONENT_TYPE,
            "otel.component.name": f"{COMPONENT_TYPE}/{next(_component_numbers)}",
        }
        if bootstrap_servers:
            host, _, port = bootstrap_servers.split(",", maxsplit=1)[0].rpartition(":")
            self._attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
        meter = (meter_provider or get_meter_provider()).get_meter(QUIET_LOGGER)
        self._inflight = meter.create_up_down_counter(
            "otel.sdk.exporter.log.inflight", "{log_record}", "Records that are handed over and have no outcome yet."
        )
        self._exported = meter.create_counter(
            "otel.sdk.exporter.log.exported",
            "{log_record}",
            "Records that have their outcome; error.type says why one was not delivered.",
        )
        self._duration = meter.create_histogram(
            "otel.sdk.exporter.operation.duration", "s", "How long an export took, acknowledgements included."
        )
        self._truncated = meter.create_counter(
            "otel_kafka_exporter.values.truncated", "{value}", "Values that were too large and cut."
        )

    def accepted(self, records: int) -> None:
        """Records were handed over."""
        self._inflight.add(records, self._attributes)

    def settled(self, delivered: int, dropped: Mapping[str, int], truncated: int, seconds: float) -> None:
        """Records that were handed over together have their outcomes."""
        self._inflight.add(-delivered - sum(dropped.values()), self._attributes)
        if delivered:
            self._exported.add(delivered, self._attributes)
        for reason, records in dropped.items():
            self._exported.add(records, {**self._attributes, "error.type": reason})
        if truncated:
            self._truncated.add(truncated, self._attributes)
        self._duration.record(seconds, self._attributes)
