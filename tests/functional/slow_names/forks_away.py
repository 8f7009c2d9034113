"""Forks right behind the first record, and prints how long that took. The argument is where Kafka would be."""

import os
import sys
import time

from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import KafkaLogRecordProcessor

CHILDREN = 5

provider = LoggerProvider()
provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=sys.argv[1], shutdown_timeout=0))
provider.get_logger("shop").emit(body="parent")
started = time.monotonic()
for _ in range(CHILDREN):
    if not os.fork():
        os._exit(0)
sys.stdout.write(str(time.monotonic() - started))
