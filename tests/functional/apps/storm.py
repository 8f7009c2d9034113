"""Logs through an outage and its end, while a signal handler audits every two milliseconds, and finalizers do.

Prints what became of it. argv: the bootstrap servers, the durability, and until when: "drained" or "shutdown",
which then comes at once. A line on stdin says that the cluster is away, the next that it is back.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event

processor = KafkaLogRecordProcessor(bootstrap_servers=sys.argv[1], durability=sys.argv[2], delivery_wait=0.3)
provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
provider.add_log_record_processor(processor)
logger = provider.get_logger("storm")
audited = within = 0


def audit(*_: object) -> None:
    global audited, within  # noqa: PLW0603 - a handler has nowhere else
    if within > 10:  # each takes longer than the time between two: Python would end with a RecursionError somewhere
        return
    within += 1
    audited += 1
    emit_audit_event("tick", actor="timer", resource=str(audited), outcome="success", logger=logger)
    within -= 1


class Finalized:
    """Is a cycle, so that it ends wherever the garbage collector happens to run; and audits then."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        audit()


def log(records: int) -> None:
    for number in range(records):
        if not number % 4:  # the broker keeps a few thousand of each topic
            Finalized()
        logger.emit(LogRecord(timestamp=time.time_ns(), body=f"line {number}"))


log(1)
print("ready", flush=True)  # noqa: T201 - what the test reads
sys.stdin.readline()
log(5_000)
print("logged", flush=True)  # noqa: T201 - as above
sys.stdin.readline()
signal.signal(signal.SIGALRM, audit)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
deadline = time.monotonic() + 40
if sys.argv[3] == "shutdown":
    log(50)
    provider.shutdown()
    signal.setitimer(signal.ITIMER_REAL, 0)
else:
    while processor.stats().spooled + processor.stats().in_flight > 50 or audited < 200:
        log(1)
        provider.force_flush(500)
        if time.monotonic() > deadline:
            break
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.collect()
    gc.disable()
    while processor.stats().spooled + processor.stats().in_flight and time.monotonic() < deadline:
        provider.force_flush(500)
    provider.shutdown()
gc.disable()  # what is finalized from here on is no part of it
stats = processor.stats()
said = {
    "audited": audited,
    "accepted": stats.accepted,
    "delivered": stats.delivered,
    "spooled": stats.spooled,
    "dropped": dict(stats.dropped),
}
print(json.dumps(said), flush=True)  # noqa: T201 - as above
os._exit(0)
