"""Bursts of four threads, an outage's memory, and what `durability=power` lets through: counts and rates of one run.

Usage: python -m benchmarks.burst --rounds 3

The broker and a consumer run in processes of their own. The consumer counts what arrived of each burst: the batch
processor's queue drops what it has no room for, and says so nowhere else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from opentelemetry._logs import Logger
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor

from .direct import emit
from .export import TOPIC, broker

THREADS, RECORDS = 4, 10_000  # of each thread
HELD_UP = 100_000  # records of an outage
SYNCED = 400  # records of each run with `durability=power`
SYNCING_THREADS = (1, 4, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median of them is printed")
    rounds = parser.parse_args().rounds
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=broker, args=(theirs,), daemon=True).start()
    servers = ours.recv()
    asked, told = context.Pipe()
    context.Process(target=count, args=(servers, told), daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        direct = partial(KafkaLogRecordProcessor, bootstrap_servers=servers, outbox_dir=directory)
        variants: dict[str, Callable[[], LogRecordProcessor]] = {
            "direct": partial(direct, durable="none"),
            "direct, durable lane": partial(direct, durable="all"),
            "batch": lambda: BatchLogRecordProcessor(KafkaLogExporter(bootstrap_servers=servers, outbox_dir=directory)),
        }
        print(f"a burst of {THREADS} x {RECORDS:,} records, medians of {rounds} rounds")
        for name, make in variants.items():
            found = [burst(make(), THREADS, RECORDS, asked) for _ in range(rounds)]
            taken, done, arrived, _ = (statistics.median(each) for each in zip(*found, strict=True))
            print(f"  {name:24} {taken:9,.0f}/s taken, {done:9,.0f}/s acknowledged; {arrived:7,.0f} arrived")
        held_up, megabytes = outage(direct)
        print(f"an outage: {held_up:,} records in the outbox took {megabytes:.1f} MB of the process's own memory")
        for threads in SYNCING_THREADS:
            power = partial(direct, durable="all", durability="power")
            rates = [burst(power(), threads, SYNCED // threads, asked)[0] for _ in range(rounds)]
            print(f"  durability=power, {threads:2} threads {statistics.median(rates):9,.0f}/s on the disk")
    ours.send(None)


def count(servers: str, pipe: Connection) -> None:
    """Count what arrives; whoever asks gets the number of records since the last question."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench", "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    arrived = 0
    while True:
        found = sum(1 for message in consumer.consume(10_000, timeout=0.3) if message.error() is None)
        arrived += found
        if not found and pipe.poll():  # a question is answered when nothing more comes
            pipe.recv()
            pipe.send(arrived)
            arrived = 0


def burst(
    processor: LogRecordProcessor, threads: int, records: int, counter: Connection
) -> tuple[float, float, int, int]:
    """Records a second taken, and acknowledged; how many arrived, and were in flight at most, as far as is counted."""
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("shop")
    emit(logger)
    provider.force_flush()
    counter.send(None)
    counter.recv()

    def work(_thread: int) -> None:
        for _ in range(records):
            emit(logger)

    started = time.perf_counter()
    most = 0
    with ThreadPoolExecutor(threads) as pool:
        working = [pool.submit(work, thread) for thread in range(threads)]
        while wait(working, timeout=0.02).not_done:
            if isinstance(processor, KafkaLogRecordProcessor):
                most = max(most, processor.stats().in_flight)
    taken = time.perf_counter() - started
    provider.force_flush(60_000)
    done = time.perf_counter() - started
    counter.send(None)
    arrived: int = counter.recv()
    provider.shutdown()
    return threads * records / taken, threads * records / done, arrived, most


def outage(direct: Callable[..., KafkaLogRecordProcessor]) -> tuple[int, float]:
    """Records that an outage held up, and the megabytes of memory that it took beside the files."""
    processor = direct(bootstrap_servers="127.0.0.1:1", durable="none", delivery_wait=0.1)
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    logger: Logger = provider.get_logger("shop")
    emit(logger)
    while not processor.stats().spooled:
        time.sleep(0.01)  # between two looks, until the outage is known: nothing can be waited for
    before = own_bytes()
    for _ in range(HELD_UP):
        emit(logger)
    after = own_bytes()
    spooled = processor.stats().spooled
    provider.shutdown()
    return spooled, (after - before) / 1e6


def own_bytes() -> int:
    """Memory that is the process's alone, so that what is mapped from files does not count."""
    lines: dict[str, Any] = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


if __name__ == "__main__":
    main()
