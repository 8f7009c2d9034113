"""A worker under gevent or eventlet. One greenlet ticks, and others do as a line on stdin says; each is answered by a
line of JSON.

argv: the bootstrap servers, the way in, whether it patches before or after the package is imported, and which of the
two it is. More settings come by the environment. What an answer says: how many ticks there were meanwhile, how far
apart they were at most, how long it all took, and what came of it.
"""

# ruff: noqa: E402 - what is imported when is what this is about

from __future__ import annotations

import sys

SERVERS, WAY_IN, PATCHES, GREENLETS = sys.argv[1:]
if PATCHES == "after":
    import otel_kafka_exporter  # noqa: F401 - for its locks and threads
if GREENLETS == "gevent":
    import gevent.monkey

    gevent.monkey.patch_all()
    from gevent import sleep as give_way
    from gevent import spawn
else:
    import eventlet

    eventlet.monkey_patch()
    from eventlet import sleep as give_way
    from eventlet import spawn, tpool

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import greenlet
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from otel_kafka_exporter import (
    DeliveryTimeout,
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisherContext,
    emit_audit_event,
)
from otel_kafka_exporter.outbox import disk
from otel_kafka_exporter.process import sleep

exporter = KafkaLogExporter(bootstrap_servers=SERVERS)
processor = KafkaLogRecordProcessor(exporter) if WAY_IN == "direct" else BatchLogRecordProcessor(exporter)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(processor)
set_logger_provider(provider)
emitted = 0
ticks: list[float] = []
pauses_under_a_lock = 0


def together(function: Callable[[], object], number: int) -> None:
    """Call a function in so many greenlets, and wait for all of them."""
    for each in [spawn(function) for _ in range(number)]:
        each.get() if GREENLETS == "gevent" else each.wait()


def read_line() -> str:
    """The next line of stdin, while greenlets go on."""
    read = sys.stdin.readline
    return str(gevent.get_hub().threadpool.apply(read) if GREENLETS == "gevent" else tpool.execute(read))


def tick() -> None:
    while True:
        give_way(0.005)
        ticks.append(time.monotonic())


def watch(_event: str, _greenlets: object) -> None:
    global pauses_under_a_lock  # noqa: PLW0603 - called at each change of turns
    delivery: Any = exporter._delivery
    pauses_under_a_lock += delivery._state.lock._is_owned() or delivery._producer._lock._is_owned()


def emit(wait: float | None = None) -> bool:
    """Emit an event; whether it was acknowledged, if that was waited for."""
    global emitted  # noqa: PLW0603 - by several greenlets
    emitted += 1
    try:
        return emit_audit_event("order.delete", "bob", str(emitted), "success", wait=wait) is not None
    except DeliveryTimeout:
        return False


def load(seconds: float) -> int:
    """Two greenlets emit, with pauses."""

    def run() -> None:
        while time.monotonic() < end:
            emit()
            give_way(0.01)

    end = time.monotonic() + seconds
    together(run, 2)
    return emitted


def settle(seconds: float) -> bool:
    """Wait until nothing is on its way, and nothing waits."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stats = exporter.stats()
        if not stats.in_flight + stats.spooled:
            return True
        give_way(0.01)
    return False


def slow_disk(seconds: float) -> int:
    """Ten greenlets emit an event at the same time, and the disk takes so long; how many flushes that took."""
    flush, flushes = disk.flush, 0

    def slow(descriptor: int) -> None:
        nonlocal flushes
        flushes += 1
        sleep(seconds)  # really: a disk waits for no greenlet
        flush(descriptor)

    disk.flush = slow
    together(emit, 10)
    disk.flush = flush
    return flushes


def publish(seconds: float) -> list[bool]:
    """Publish for so long, on an event loop in a greenlet."""
    published = []

    async def run() -> None:
        async with LoggingEventPublisherContext(SERVERS, outbox=True, start_timeout=1) as publisher:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                published.append(await publisher.publish_audit_log("t-1", "order.delete", "bob", "order", "success"))
                await asyncio.sleep(0.01)

    asyncio.run(run())
    return [all(published), len(published) > 1]


COMMANDS: dict[str, Callable[[float], object]] = {
    "load": load,
    "receipt": lambda seconds: emit(wait=seconds),
    "flush": lambda seconds: provider.force_flush(int(seconds * 1000)),
    "settle": settle,
    "slow disk": slow_disk,
    "publish": publish,
    "shutdown": lambda _: provider.shutdown(),
}


def answer(command: str, seconds: float) -> dict[str, object]:
    began = time.monotonic()
    ticks[:] = [began]
    result = COMMANDS[command](seconds)
    ended = time.monotonic()
    apart = max(later - earlier for earlier, later in zip(ticks, [*ticks[1:], ended], strict=True))
    took = ended - began
    return {"ticks": len(ticks) - 1, "apart": apart, "took": took, "result": result, "held": pauses_under_a_lock}


greenlet.settrace(watch)
spawn(tick)
while line := read_line():
    command, _, seconds = line.strip().rpartition(" ")
    print(json.dumps(answer(command, float(seconds))), flush=True)  # noqa: T201 - what the test reads
