"""Logs, forks as a C program does, of which Python's hooks know nothing, and logs in the child and in the parent.

argv: the bootstrap servers. Prints what the child's event came to, and each process's counts.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event
from otel_kafka_exporter.delivery import Delivery

processor = KafkaLogRecordProcessor(bootstrap_servers=sys.argv[1], application_key="correlation_id")
provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
provider.add_log_record_processor(processor)
logger = provider.get_logger("forks")


def say(text: str) -> None:
    logger.emit(LogRecord(timestamp=time.time_ns(), body=text))


for number in range(20):
    say(f"parent says {number}")
provider.force_flush()
# A fork in the middle of another thread's work is nothing that Python survives: its own locks stay held.
delivery = processor._exporter._delivery
assert isinstance(delivery, Delivery)
while not delivery._background._idle:
    time.sleep(0.001)  # between two looks: the thread says so in a variable only
child = ctypes.PyDLL(None).fork()
who = "parent" if child else "child"
for number in range(20):
    say(f"{who} goes on {number}")
emit_audit_event("fork", actor=who, resource="itself", outcome="success", logger=logger, wait=20)
provider.shutdown()
stats = processor.stats()
print(json.dumps({"who": who, "accepted": stats.accepted, "delivered": stats.delivered}), flush=True)  # noqa: T201 - what the test reads
if not child:
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
