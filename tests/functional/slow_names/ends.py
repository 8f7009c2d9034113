"""Says something, and ends with the shutdown that OpenTelemetry has registered; prints how long each call took."""

import sys
import time

from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import KafkaLogRecordProcessor

processor = KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", shutdown_timeout=0.5)
provider = LoggerProvider()
provider.add_log_record_processor(processor)
provider.get_logger("shop").emit(body="hello")
shut_down = processor.shutdown


def timed() -> None:
    started = time.monotonic()
    shut_down()
    sys.stdout.write(f"{time.monotonic() - started} {processor.stats().spooled}")
    sys.stdout.flush()


processor.shutdown = timed  # type: ignore[method-assign]  # called at exit
