"""What the exporter takes: bytes on the way to Kafka by encoding and compression; time and memory of a process.

Usage: python -m benchmarks.sizes

Bytes are what librdkafka writes to the brokers' connections for full batches of the records of `benchmarks.records`,
with its default batch size and our linger. Time and memory are those of new processes, medians; of imports, what they
take beyond OpenTelemetry's SDK.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from confluent_kafka import Producer

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.records import KafkaRecord
from otel_kafka_exporter.testing import EmbeddedKafka

from .records import sample_records

RECORDS = 50_000  # no two alike: a batch has more than a thousand
ROUNDS = 7
ENCODINGS = ("json", "protobuf")
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
_MEASURE = """
import time
began = time.perf_counter()
{before}
between = time.perf_counter()
rss = lambda: [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")][0]
before = rss()
{what}
print(time.perf_counter() - between, rss() - before)
"""
_SDK = """
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
"""
_IN_USE = """
from otel_kafka_exporter import KafkaLogRecordProcessor
provider = LoggerProvider(shutdown_on_exit=False)
processor = KafkaLogRecordProcessor(bootstrap_servers={servers!r})
provider.add_log_record_processor(processor)
for _ in range(1_000):
    provider.get_logger("shop").emit(body="placed")
provider.force_flush()
"""


def main() -> None:
    with EmbeddedKafka() as kafka:
        print("bytes for each record on the way to Kafka, and GB for a million\n")
        print(f"{'':10}" + "".join(f"{compression:>16}" for compression in COMPRESSIONS))
        for encoding in ENCODINGS:
            records = written(encoding)
            sizes = [sent(kafka, records, compression) / len(records) for compression in COMPRESSIONS]
            print(f"{encoding:10}" + "".join(f"{size:>8.0f} {size / 1_000:>5.2f} GB" for size in sizes))
        print("\nseconds and MB beyond OpenTelemetry's SDK")
        for name, what in (
            ("import", "import otel_kafka_exporter"),
            ("import, 1,000 records delivered", _IN_USE.format(servers=kafka.bootstrap_servers)),
        ):
            seconds, kilobytes = taken(_MEASURE.format(before=_SDK, what=what))
            print(f"{name:34}{seconds:8.3f} s {kilobytes / 1_024:8.1f} MB")
        seconds, kilobytes = taken(_MEASURE.format(before="", what=_SDK))
        print(f"{'(the SDK itself)':34}{seconds:8.3f} s {kilobytes / 1_024:8.1f} MB")


def written(encoding: str) -> list[KafkaRecord]:
    """The records as the exporter writes them."""
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:9", encoding=encoding)
    records = [exporter._builder.build(record) for record in sample_records(RECORDS)]
    exporter.shutdown()
    return records


def sent(kafka: EmbeddedKafka, records: list[KafkaRecord], compression: str) -> int:
    """Bytes that a producer writes to its connections for all of them."""
    seen: dict[str, int] = {}

    def note(text: str) -> None:
        seen["bytes"] = json.loads(text)["tx_bytes"]

    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "enable.idempotence": True,
            "linger.ms": 5,
            "compression.type": compression,
            "statistics.interval.ms": 50,
            "stats_cb": note,
        }
    )
    for record in records:
        while True:
            try:
                producer.produce(f"sizes.{compression}", record.value, record.key, headers=list(record.headers))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    seen.clear()
    while not seen:  # statistics from after the last acknowledgement
        producer.poll(0.2)
    return seen["bytes"]


def taken(program: str) -> tuple[float, float]:
    """Seconds and kilobytes that a new process says, medians."""
    runs = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        runs.append([float(number) for number in done.stdout.split()])
    seconds, kilobytes = (statistics.median(column) for column in zip(*runs, strict=True))
    return seconds, kilobytes


if __name__ == "__main__":
    main()
