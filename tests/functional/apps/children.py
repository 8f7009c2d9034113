"""What children of multiprocessing's run: they log, and end without a flush or a shutdown of their own."""

from __future__ import annotations

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogRecordProcessor


def log(servers: str, child: int) -> None:
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=servers))
    for n in range(20):
        provider.get_logger("shop").emit(body=f"{child}-{n}")
