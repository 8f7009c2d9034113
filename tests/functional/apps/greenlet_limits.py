"""A greenlet that audits is ended, or runs into a limit of time, meanwhile. argv: gevent or eventlet, how, and how.

Prints what came out of the call, and how many events are in the outbox in the end.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import suppress
from typing import Any

greenlets, how, waits = sys.argv[1], sys.argv[2], sys.argv[3] == "waits"
library: Any = importlib.import_module(greenlets)
if greenlets == "gevent":
    importlib.import_module("gevent.monkey").patch_all()
else:
    library.monkey_patch()

from opentelemetry.sdk._logs import LoggerProvider  # noqa: E402 - what it imports has to be patched

from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event  # noqa: E402 - as above

SOON = 0.0001
processor = KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", durability="power", delivery_wait=0.1)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(processor)
logger = provider.get_logger("x")
became: list[str] = []


class TooLate(Exception):  # noqa: N818 - an application's own
    """What a limit of time raises."""


def audit(resource: str, wait: float | None) -> None:
    emit_audit_event("a", "b", resource, "success", logger=logger, wait=wait)


def work() -> None:
    try:
        audit("work", 5 if waits else None)
    except BaseException as error:
        became.append(type(error).__name__)
        raise
    became.append("went on")


audit("before", None)
if how == "limit":
    with suppress(library.Timeout), library.Timeout(SOON):
        work()
elif how == "own limit":
    with suppress(TooLate), library.Timeout(SOON, TooLate):
        work()
else:
    greenlet = library.spawn(work)
    library.sleep(0)
    greenlet.kill()
    library.sleep(0.1)
provider.shutdown()
print(json.dumps([*became, processor.stats().spooled]), flush=True)  # noqa: T201 - what the test reads
os._exit(0)
