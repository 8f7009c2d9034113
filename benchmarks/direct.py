"""What a log call costs its caller through the direct processor: medians and ratios, side by side in one run.

Usage: make bench (or python -m benchmarks.direct --rounds 9)

The broker runs in a process of its own. Each round of each variant is followed by a consumer that counts what arrived,
except in the outage, where nothing can: there the accounting has to say that every record is in the outbox.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AnyValue

from otel_kafka_exporter import KafkaLogRecordProcessor

from .export import Counter, broker

ATTRIBUTES: dict[str, AnyValue] = {
    "order.id": 17,
    "customer": "c-42",
    "amount": 12.5,
    "currency": "EUR",
    "retry": False,
    "region": "north",
}
CALLS, THREADS = 2_000, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9, help="rounds; the median of them is printed")
    rounds = parser.parse_args().rounds
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=broker, args=(theirs,), daemon=True)
    process.start()
    servers = ours.recv()
    counter = Counter(servers)
    with tempfile.TemporaryDirectory() as directory:
        common = {"outbox_dir": directory}
        variants: dict[str, tuple[dict[str, object] | None, bool]] = {
            "Logger.emit, no processor": (None, False),
            "direct": ({"durable": "none"}, False),
            "direct, durable lane": ({"durable": "all"}, False),
            "direct, beside a busy thread": ({"durable": "none"}, True),
            "durable lane, beside a busy thread": ({"durable": "all"}, True),
        }
        medians: dict[str, list[float]] = {name: [] for name in variants}
        bursts: dict[str, list[float]] = {name: [] for name in variants}
        for name, (settings, is_busy) in variants.items():
            with logging_to(servers, settings if settings is None else {**common, **settings}) as (logger, processor):
                for number in range(rounds + 1):
                    with _busy_thread(is_busy):
                        p50 = _p50(logger)
                        rate = _burst(logger, processor)
                    if processor is not None:
                        counter.expect(CALLS + THREADS * (CALLS // THREADS))
                    if number:  # the first round warms up
                        medians[name].append(p50)
                        bursts[name].append(rate)
        outage = _outage(directory, rounds)
    counter.close()
    ours.send(None)
    process.join(5)
    bare = statistics.median(medians["Logger.emit, no processor"])
    print(f"one log call, p50 in µs; a burst of {THREADS} threads, records/s until acknowledged; {rounds} rounds")
    for name in variants:
        p50, rate = statistics.median(medians[name]), statistics.median(bursts[name])
        print(f"  {name:36} {p50:7.1f}  ({p50 - bare:+.1f})   {rate:9,.0f} records/s until acknowledged")
    ratio = outage / statistics.median(medians["direct"])
    print(f"  {'direct, the cluster away':36} {outage:7.1f}  = {ratio:.2f}x of the direct call (goal: at most 1.5)")


@contextmanager
def logging_to(
    servers: str, settings: dict[str, object] | None
) -> Iterator[tuple[Logger, KafkaLogRecordProcessor | None]]:
    """A logger, through a direct processor with these settings; with no processor at all without settings."""
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    processor = None
    if settings is not None:
        processor = KafkaLogRecordProcessor(bootstrap_servers=servers, **settings)  # type: ignore[arg-type]
        provider.add_log_record_processor(processor)
    try:
        yield provider.get_logger("shop"), processor
    finally:
        provider.shutdown()


def emit(logger: Logger) -> None:
    """One log call."""
    logger.emit(LogRecord(body="an order", severity_number=SeverityNumber.INFO, attributes=ATTRIBUTES))


def _emit_many(logger: Logger) -> None:
    for _ in range(CALLS // THREADS):
        emit(logger)


def calls(logger: Logger, number: int = CALLS) -> list[float]:
    """How long each of so many log calls took, in µs."""
    found = []
    for _ in range(number):
        started = time.perf_counter_ns()
        emit(logger)
        found.append((time.perf_counter_ns() - started) / 1000)
    return found


def _p50(logger: Logger) -> float:
    return statistics.median(calls(logger))


def _burst(logger: Logger, processor: KafkaLogRecordProcessor | None) -> float:
    if processor is not None and not processor.force_flush():
        raise SystemExit(f"records did not arrive: {processor.stats()}")
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_emit_many, [logger] * THREADS))
    if processor is not None and not processor.force_flush():
        raise SystemExit(f"records did not arrive: {processor.stats()}")
    return CALLS / (time.perf_counter() - started)


@contextmanager
def _busy_thread(is_wanted: bool) -> Iterator[None]:  # noqa: FBT001 - a row of the table
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=work)
    if is_wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if is_wanted:
            thread.join()


def _outage(directory: str, rounds: int) -> float:
    settings: dict[str, object] = {"outbox_dir": directory, "durable": "none", "delivery_wait": 0.1}
    with logging_to("127.0.0.1:1", settings) as (logger, processor):
        if processor is None:
            raise SystemExit("expected a processor")
        emit(logger)
        while not processor.stats().spooled:
            time.sleep(0.01)  # between two looks, until the outage is known: nothing can be waited for
        found = statistics.median(_p50(logger) for _ in range(rounds))
        if processor.stats().spooled != rounds * CALLS + 1:
            raise SystemExit(f"not every record is in the outbox: {processor.stats()}")
        return found


if __name__ == "__main__":
    main()
