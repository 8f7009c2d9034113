"""Forks right behind the first record; each child has to deliver its own. The argument is where Kafka is."""

import os
import sys

from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import KafkaLogRecordProcessor
from tests.waiting import exit_code

CHILDREN = 5

processor = KafkaLogRecordProcessor(bootstrap_servers=sys.argv[1], delivery_wait=5)
provider = LoggerProvider()
provider.add_log_record_processor(processor)
provider.get_logger("shop").emit(body="parent")
children = []
for number in range(CHILDREN):
    children.append(os.fork())
    if not children[-1]:
        provider.get_logger("shop").emit(body=f"child {number}")
        provider.force_flush()
        os._exit(processor.stats().delivered != 1)
codes = [exit_code(child) for child in children]
if any(codes):
    sys.exit("a child did not deliver its record")
