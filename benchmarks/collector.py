"""The exporter beside the way through a Collector, side by side in one run, on a real Kafka and a real Collector.

Usage: python -m benchmarks.collector

Each way is an application that logs, and a consumer that counts what arrived:
- exporter: the batch processor and our exporter;
- direct: our direct processor;
- Collector: the batch processor and OpenTelemetry's OTLP exporter, to a Collector with collector-config/to-kafka.yaml.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AnyValue

from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor
from tests.rig.kafka import KafkaCluster
from tests.rig.otelcol import Collector
from tests.rig.process import HeldPort

TOPIC = "omninode.logging.application.v1"
CONFIGURATION = Path(__file__).parents[1] / "collector-config" / "to-kafka.yaml"
HEADERS = {"x-onex-service": "shop", "x-onex-tenant": "acme", "x-tenant": "acme"}
ROUNDS, RECORDS, THREADS, BURST, STREAM = 3, 5_000, 4, 10_000, 2_500
AWAY_SECONDS = 20.0
WAYS = ("exporter", "direct", "Collector")


class Reader:
    """Reads the topic from its start, in a thread; when each message came, by its text."""

    def __init__(self, servers: str) -> None:
        group = f"bench-{time.time_ns()}"
        config = {"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest", "log_level": 0}
        self._consumer = Consumer(config)
        self._consumer.subscribe([TOPIC])
        self.came: dict[bytes, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(1_000, timeout=0.05):
                value = message.value()
                if message.error() is None and value is not None:
                    at = value.index(b"#") + 1
                    self.came.setdefault(bytes(value[at : value.index(b"#", at)]), time.time())

    def count(self, kind: str) -> int:
        return sum(1 for key in list(self.came) if key.startswith(f"{kind} ".encode()))

    def settle(self, kind: str, records: int, seconds: float) -> int:
        """How many of a kind have come, when all have, or none has for a while."""
        deadline, last, since = time.monotonic() + seconds, -1, time.monotonic()
        while (found := self.count(kind)) < records and time.monotonic() < deadline:
            if found != last:
                last, since = found, time.monotonic()
            elif found and time.monotonic() - since > AWAY_SECONDS + 10:
                break
            threading.Event().wait(0.05)
        return found

    def __enter__(self) -> Reader:  # noqa: PYI034 - Self needs Python 3.11 or a dependency
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self._consumer.close()


class Setting:
    """The systems, and a logger of each way."""

    def __init__(self, folder: Path, kafka: KafkaCluster, port: HeldPort) -> None:
        self.kafka = kafka
        self.collector = Collector(
            folder / "collector",
            [CONFIGURATION],
            {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "OTLP_HOST": "127.0.0.1",
                "OTLP_HTTP_PORT": port.address.split(":")[1],
                "OTLP_GRPC_PORT": "0",
            },
        )
        self._endpoint = f"http://{port.address}/v1/logs"

    @contextmanager
    def logging(self, way: str) -> Iterator[Callable[[str], None]]:
        provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        servers = self.kafka.bootstrap_servers
        if way == "direct":
            provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=servers))
        else:
            exporter = (
                KafkaLogExporter(bootstrap_servers=servers)
                if way == "exporter"
                else OTLPLogExporter(self._endpoint, headers=HEADERS)
            )
            provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        logger = provider.get_logger("shop")
        attributes: Mapping[str, AnyValue] = {"method": "POST", "route": "/orders", "ms": 12.5, "items": 3}

        def emit(body: str) -> None:
            logger.emit(
                LogRecord(
                    timestamp=time.time_ns(),
                    severity_number=SeverityNumber.INFO,
                    body=f"#{body}#",
                    attributes=attributes,
                )
            )

        yield emit
        provider.shutdown()


def cpu(setting: Setting, way: str, number: int) -> tuple[float, int]:
    """CPU of the application per record, in us, of records at a pace that the batch processor keeps up with."""
    with setting.logging(way) as emit:
        emit(f"cpu-warm-{way} {number}")
        threading.Event().wait(2)
        started = time.process_time()
        for n in range(RECORDS):
            emit(f"cpu-{way}-{number} {n}")
            if n % 250 == 249:
                threading.Event().wait(0.25)
        threading.Event().wait(1.5)
        spent = time.process_time() - started
    with Reader(setting.kafka.bootstrap_servers) as reader:
        return spent / RECORDS * 1e6, reader.settle(f"cpu-{way}-{number}", RECORDS, 30)


def delays(setting: Setting, way: str) -> tuple[float, float]:
    """From the log call to the consumer, in ms: median and 99th percentile."""
    sent: dict[bytes, float] = {}
    with setting.logging(way) as emit, Reader(setting.kafka.bootstrap_servers) as reader:
        emit(f"delay-warm-{way} 0")
        reader.settle(f"delay-warm-{way}", 1, 20)
        for n in range(200):
            sent[f"delay-{way} {n}".encode()] = time.time()
            emit(f"delay-{way} {n}")
            threading.Event().wait(0.023)
        reader.settle(f"delay-{way}", 200, 20)
        found = sorted((reader.came[key] - at) * 1e3 for key, at in sent.items() if key in reader.came)
    return statistics.median(found), found[int(0.99 * len(found))]


def burst(setting: Setting, way: str) -> int:
    """How many of a burst arrive: four threads that log as fast as they can, with default queues."""
    with setting.logging(way) as emit:

        def log(thread: int) -> None:
            for n in range(BURST):
                emit(f"burst-{way} {thread}-{n}")

        threads = [threading.Thread(target=log, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with Reader(setting.kafka.bootstrap_servers) as reader:
        return reader.settle(f"burst-{way}", THREADS * BURST, 60)


def killed(setting: Setting, way: str) -> int:
    """How many of a stream of 100/s arrive when the next hop is killed in its middle, and is back after a while."""
    hop = setting.collector if way == "Collector" else setting.kafka.nodes[0]
    with setting.logging(way) as emit:
        away_until = 0.0
        for n in range(STREAM):
            emit(f"killed-{way} {n}")
            if n == STREAM // 3:
                hop.kill()
                away_until = time.monotonic() + AWAY_SECONDS
            elif not hop.running and time.monotonic() > away_until:
                hop.start()
            threading.Event().wait(0.01)
        if not hop.running:
            hop.start()
        threading.Event().wait(5)  # what is tried again has its chance
    with Reader(setting.kafka.bootstrap_servers) as reader:
        return reader.settle(f"killed-{way}", STREAM, 40)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), HeldPort()
        os.environ["OTEL_EXPORTER_KAFKA_OUTBOX_DIR"] = str(folder / "outbox")
        with KafkaCluster(folder / "kafka") as kafka:
            kafka.create_topics(TOPIC)
            setting = Setting(folder, kafka, port)
            with setting.collector:
                rounds = [{way: cpu(setting, way, number) for way in WAYS} for number in range(ROUNDS)]
                for way in WAYS:
                    spent = statistics.median(each[way][0] for each in rounds)
                    found = sum(each[way][1] for each in rounds)
                    median, late = delays(setting, way)
                    print(
                        f"{way:10} CPU {spent:6.1f} us a record ({found} of {ROUNDS * RECORDS} arrived);"
                        f" delay {median:6.1f} / {late:6.1f} ms; burst {burst(setting, way)} of {THREADS * BURST}",
                        flush=True,
                    )
                for way in WAYS:
                    arrived = killed(setting, way)
                    print(f"{way:10} next hop killed for {AWAY_SECONDS:g} s: {arrived} of {STREAM}", flush=True)
        port.close()


if __name__ == "__main__":
    main()
