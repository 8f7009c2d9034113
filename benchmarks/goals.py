"""The goals of the hot path, and what was reached: one table of one run, as it stands in docs/performance.md.

Usage: python -m benchmarks.goals --rounds 5

Ratios are of pairs that were measured in turn; what is no ratio depends on the machine. Whatever is produced is counted
where it arrives. The other benchmarks print what these figures are made of.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import platform
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path

from otel_kafka_exporter import KafkaLogRecordProcessor
from tests.rig.kafka import KafkaCluster

from . import publisher
from .burst import RECORDS, THREADS, burst, count
from .direct import CALLS, calls, logging_to
from .export import broker, measure, ratio

#: Log calls whose thousandth part is looked at.
MANY_CALLS = 40_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the median of them is printed")
    rounds = parser.parse_args().rounds
    print(f"| Python {platform.python_version()} | reached | goal |\n|---|---|---|")
    for name, reached, goal in chain(exports(rounds), threads(rounds), publishing(rounds)):
        print(f"| {name} | {reached} | {goal} |", flush=True)


def exports(rounds: int) -> Iterator[tuple[str, str, str]]:
    """The batch exporter, by the CPU of its whole process."""
    costs, _ = measure(rounds)
    _, _, export, protobuf, raw, otlp = costs.values()
    yield "export of 512 / raw `produce()` and `flush()` of the same bytes", f"{ratio(export, raw):.1f}", "2.8"
    yield "OTLP's encoding alone / the whole export", f"{ratio(otlp, export):.1f}", "2.2"
    yield "export as Protobuf / as JSON", f"{ratio(protobuf, export):.2f}", "1.3"


def threads(rounds: int) -> Iterator[tuple[str, str, str]]:
    """The direct processor."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=broker, args=(theirs,), daemon=True).start()
    servers = ours.recv()
    asked, told = context.Pipe()
    counter = context.Process(target=count, args=(servers, told), daemon=True)
    counter.start()
    with tempfile.TemporaryDirectory() as directory:
        median, _ = _calls(servers, directory, "none", rounds * CALLS)
        yield "direct: a log call beyond a bare `Logger.emit`, p50", f"{median:.0f} µs", "7 µs"
        _, slowest = _calls(servers, directory, "all", MANY_CALLS)
        yield "durable: a log call, p99.9", f"{slowest / 1000:.2f} ms", "1 ms"
        for name, durable, number, goal in (
            ("direct, one thread without pause", "none", 1, "55,000/s; 1,500"),
            (f"direct, {THREADS} threads", "none", THREADS, "45,000/s"),
            ("durable, one thread", "all", 1, "38,000/s"),
            (f"durable, {THREADS} threads", "all", THREADS, "35,000/s"),
        ):
            make = partial(KafkaLogRecordProcessor, bootstrap_servers=servers, outbox_dir=directory, durable=durable)
            yield f"{name}: acknowledged; in flight at most", _burst(make, number, rounds, asked), goal
    counter.terminate()
    counter.join()
    ours.send(None)


def _calls(servers: str, directory: str, durable: str, number: int) -> tuple[float, float]:
    """What a log call costs beyond a bare one, p50; and how long it takes itself, p99.9; in µs."""
    with logging_to(servers, None) as (logger, _):
        calls(logger)
        bare = statistics.median(calls(logger, number))
    with logging_to(servers, {"outbox_dir": directory, "durable": durable}) as (logger, processor):
        calls(logger)
        found = sorted(calls(logger, number))
        if processor is None or not processor.force_flush():
            raise SystemExit("records did not arrive")
    return statistics.median(found) - bare, found[len(found) * 999 // 1000]


def _burst(make: partial[KafkaLogRecordProcessor], number: int, rounds: int, counter: Connection) -> str:
    records = RECORDS * THREADS // number
    found = [burst(make(), number, records, counter) for _ in range(rounds)]
    if any(arrived != number * records for _, _, arrived, _ in found):
        raise SystemExit(f"expected {number * records} records of each burst to arrive, got {found}")
    return f"{statistics.median(each[1] for each in found):,.0f}/s; {max(each[3] for each in found):,}"


def publishing(rounds: int) -> Iterator[tuple[str, str, str]]:
    """The publisher, beside bare aiokafka, on one node of a real Kafka."""
    with tempfile.TemporaryDirectory() as directory, KafkaCluster(Path(directory)) as cluster:
        cluster.create_topics(publisher.TOPIC, partitions=1)
        asyncio.run(publisher.warm(cluster.bootstrap_servers))
        found = publisher.rounds_of(["ours", "aiokafka"], cluster.bootstrap_servers, min(rounds, 3))
    ours, theirs = found["ours"], found["aiokafka"]
    reached = f"{ours['cpu']:.0f} µs; {ours['256']:,.0f}/s (aiokafka {theirs['cpu']:.0f}; {theirs['256']:,.0f})"
    yield "publisher, 256 in flight: CPU of an event; events", reached, "20 µs; 45,000/s"
    yield "publisher, one after the other, p50 / bare aiokafka's", f"{ours['p50'] / theirs['p50']:.2f}", "1.0"


if __name__ == "__main__":
    main()
