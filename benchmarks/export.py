"""What a record costs: CPU per record of each step, side by side in one run, as ratios.

Usage: make bench (or python -m benchmarks.export --rounds 15)

The broker runs in a process of its own, so that its CPU is not counted; CPU is all of this process's threads,
librdkafka's included. Every variant that produces is followed by a consumer that counts what arrived.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.cimpl import Producer
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.kafka.producer_config import librdkafka_config
from otel_kafka_exporter.settings.settings import Settings
from otel_kafka_exporter.testing import EmbeddedKafka

from .records import sample_records

BATCH = 512
BATCHES_PER_ROUND = 8
TOPIC = "omninode.logging.application.v1"


def broker(connection: Connection) -> None:
    with EmbeddedKafka() as kafka:
        kafka.create_topic(TOPIC, partitions=1)
        connection.send(kafka.bootstrap_servers)
        connection.recv()


class Counter:
    """A consumer that reads on from where it stopped."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap_servers, "group.id": "bench", "fetch.wait.max.ms": 10}
        )
        self._consumer.assign([TopicPartition(TOPIC, 0, 0)])

    def expect(self, records: int) -> None:
        deadline = time.monotonic() + 30
        arrived = 0
        while arrived < records and time.monotonic() < deadline:
            arrived += sum(1 for m in self._consumer.consume(1000, timeout=0.2) if m.error() is None)
        if arrived != records:
            raise SystemExit(f"expected {records} records to arrive, got {arrived}")

    def close(self) -> None:
        self._consumer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15, help="rounds; the median of them is printed")
    rounds = parser.parse_args().rounds
    _print(*measure(rounds), rounds)


def measure(rounds: int) -> tuple[dict[str, list[float]], tuple[float, ...]]:
    """CPU in µs per record of each variant, round by round; and the bytes of an envelope in each encoding."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=broker, args=(theirs,), daemon=True)
    process.start()
    bootstrap_servers = ours.recv()

    exporter = KafkaLogExporter(bootstrap_servers=bootstrap_servers, outbox=False)
    protobuf = KafkaLogExporter(bootstrap_servers=bootstrap_servers, outbox=False, encoding="protobuf")
    batch = sample_records(BATCH)
    built = [record for record in map(exporter._builder.build, batch) if record is not None]
    built_protobuf = [record for record in map(protobuf._builder.build, batch) if record is not None]
    raw = Producer(librdkafka_config(Settings.load({"bootstrap_servers": bootstrap_servers}, {})))
    counter = Counter(bootstrap_servers)

    def convert_and_encode(exporter: KafkaLogExporter) -> None:
        for record in batch:
            exporter._builder.build(record)

    def export(exporter: KafkaLogExporter) -> None:
        if exporter.export(batch) is not LogRecordExportResult.SUCCESS:
            raise SystemExit(f"the export failed: {exporter.stats()}")

    def raw_produce() -> None:
        for topic, key, value, headers, milliseconds, *_ in built:
            raw.produce(topic, value, key, headers=headers, timestamp=milliseconds)
        raw.flush(10)

    def otlp_encode() -> None:
        encode_logs(batch).SerializeToString()

    variants: dict[str, tuple[Callable[[], None], bool]] = {
        "conversion + encoding": (lambda: convert_and_encode(exporter), False),
        "conversion + encoding=protobuf": (lambda: convert_and_encode(protobuf), False),
        "exporter, batches of 512": (lambda: export(exporter), True),
        "exporter, encoding=protobuf": (lambda: export(protobuf), True),
        "raw produce() of the same + flush": (raw_produce, True),
        "OTLP encoding + serialization": (otlp_encode, False),
    }
    costs: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, (run, produces) in variants.items():
            started = time.process_time()
            for _ in range(BATCHES_PER_ROUND):
                run()
            cpu = time.process_time() - started
            if produces:
                counter.expect(BATCH * BATCHES_PER_ROUND)
            if number:  # the first round warms up
                costs[name].append(cpu / (BATCH * BATCHES_PER_ROUND) * 1e6)
    counter.close()
    raw.close()  # else it says for ever that its broker has gone
    exporter.shutdown()
    protobuf.shutdown()
    ours.send(None)
    process.join(5)
    sizes = tuple(statistics.mean(len(record.value) for record in each) for each in (built, built_protobuf))
    return costs, sizes


def _print(costs: dict[str, list[float]], sizes: tuple[float, ...], rounds: int) -> None:
    json_bytes, protobuf_bytes = sizes
    print(
        f"CPU in µs per record; {BATCH} records a batch, envelopes of {json_bytes:.0f} B as JSON and"
        f" {protobuf_bytes:.0f} B as Protobuf; median of {rounds} rounds"
    )
    for name, values in costs.items():
        print(f"  {name:36} {statistics.median(values):6.2f}   ({min(values):.2f} to {max(values):.2f})")
    conversion, _, export, protobuf, raw, otlp = costs.values()
    # Round by round: a machine that is slow for a while is slow for both sides of a pair.
    print(f"  exporter / raw produce               {ratio(export, raw):6.2f}x  (goal: at most 2.8)")
    print(f"  OTLP encoding / exporter             {ratio(otlp, export):6.2f}x  (goal: at least 2.2)")
    print(f"  OTLP encoding / conversion + encoding{ratio(otlp, conversion):6.2f}x")
    print(f"  exporter, Protobuf / JSON            {ratio(protobuf, export):6.2f}x  (goal: at most 1.3)")
    print(f"  bytes, Protobuf / JSON               {protobuf_bytes / json_bytes:6.2f}x  (goal: at most 0.7)")


def ratio(numerators: list[float], denominators: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


if __name__ == "__main__":
    main()
