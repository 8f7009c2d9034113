"""A service under load that logs one way, until it is told to end: `python load.py SERVERS WAY PREFIX OUTBOX RATE`.

It logs application records of many keys and audit events of many tenants, in turn. Commands come by stdin, a word each:
`stats` and `stop`, after which it logs no more, are answered by the counts of this moment; `end` shuts down and is
answered by all that was logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor
from otel_kafka_exporter.publisher import LoggingEventPublisher

KEYS = 40
TOPICS = {"application": "omninode.logging.application.v1", "audit": "omninode.logging.audit.v1"}
#: Who measures itself against librdkafka has its partitioner.
_LIBRDKAFKA = {
    "enable.idempotence": True,
    "linger.ms": 5,
    "message.timeout.ms": 600_000,
    "partitioner": "murmur2_random",
}


class Opentelemetry:
    """Emits by the SDK, through a processor."""

    def __init__(self, processor: Any, stats: Any) -> None:
        self._provider = LoggerProvider(shutdown_on_exit=False)
        self._provider.add_log_record_processor(processor)
        self._logger = self._provider.get_logger("load")
        self.stats = stats

    def log(self, category: str, key: str, text: str) -> None:
        if category == "application":
            self._logger.emit(LogRecord(body=text, attributes={"omni.correlation_id": key}))
            return
        attributes = {
            "omni.category": "audit", "omni.tenant_id": key, "omni.audit.action": "log", "omni.audit.actor": "load",
            "omni.audit.resource": text, "omni.audit.outcome": "success",
        }  # fmt: skip
        self._logger.emit(LogRecord(event_name="load", attributes=attributes))

    def end(self) -> None:
        self._provider.shutdown()


class Publisher:
    """Publishes by tasks of an event loop, which wait for their outcomes."""

    def __init__(self, servers: str, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._publisher = LoggingEventPublisher(servers, enable_events=True, **settings)
        asyncio.run_coroutine_threadsafe(self._publisher.start(), self._loop).result(30)
        self._tasks: set[asyncio.Task[bool]] = set()

    def stats(self) -> Any:
        return self._publisher.stats()

    def log(self, category: str, key: str, text: str) -> None:
        asyncio.run_coroutine_threadsafe(self._begin(category, key, text), self._loop).result()

    async def _begin(self, category: str, key: str, text: str) -> None:
        if category == "application":
            call = self._publisher.publish_application_log("load", "1", "INFO", "load", text, "X", correlation_id=key)
        else:
            call = self._publisher.publish_audit_log(key, "load", "load", text, "success")
        task = asyncio.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(0)  # one turn: as far as the call goes without waiting

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._publisher.stop(), self._loop).result(60)


class Plain:
    """librdkafka alone, idempotent, which keeps all that it cannot deliver in memory."""

    def __init__(self, servers: str, prefix: str) -> None:
        self._producer = Producer({"bootstrap.servers": servers, "log_level": 0, **_LIBRDKAFKA})
        self._prefix = prefix
        self._counts: Counter[str] = Counter()

    def stats(self) -> Any:
        counts = self._counts
        return (counts["accepted"], counts["delivered"], 0, 0, len(self._producer), {"failed": counts["failed"]}, 0)

    def _reported(self, error: KafkaError | None, _: Message) -> None:
        self._counts["failed" if error else "delivered"] += 1

    def log(self, category: str, key: str, text: str) -> None:
        self._counts["accepted"] += 1
        value = json.dumps({"payload": {"message" if category == "application" else "resource": text}})
        try:
            self._producer.produce(self._prefix + TOPICS[category], value, key, on_delivery=self._reported)
        except KafkaException:  # it knows already that it may not
            self._counts["failed"] += 1
        self._producer.poll(0)

    def end(self) -> None:
        self._producer.flush(5)


def way(name: str, servers: str, prefix: str, outbox: str) -> Any:
    """One way of logging."""
    if name == "plain":
        return Plain(servers, prefix)
    kind, _, without = name.partition(" ")
    settings: dict[str, Any] = {"topic_prefix": prefix, "outbox": not without, "application_key": "correlation_id"}
    if not without:
        settings["outbox_dir"] = outbox
    if kind == "publisher":
        return Publisher(servers, **settings)
    exporter = KafkaLogExporter(bootstrap_servers=servers, **settings)
    if kind == "batch":
        return Opentelemetry(BatchLogRecordProcessor(exporter, schedule_delay_millis=200), exporter.stats)
    return Opentelemetry(KafkaLogRecordProcessor(exporter), exporter.stats)


class Load:
    """Logs at a steady rate, from a thread of its own.

    Attributes:
        logged: category, key, text, when it was logged by the wall clock, and for how many seconds the call lasted.
    """

    def __init__(self, name: str, logs: Any, rate: float) -> None:
        self._name = name
        self._logs = logs
        self._pause = 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.logged: list[tuple[str, str, str, float, float]] = []

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            number = len(self.logged)
            category = ("application", "audit")[number % 2]
            key = f"{category[:2]}{number // 2 % KEYS:02}"
            text = f"{self._name}/{key}/{number}"
            at, started = time.time(), time.monotonic()
            self._logs.log(category, key, text)
            self.logged.append((category, key, text, at, time.monotonic() - started))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def main(servers: str, name: str, prefix: str, outbox: str, rate: str) -> None:
    logs = way(name, servers, prefix, outbox)
    load = Load(name, logs, float(rate))
    load.start()
    answer({"pid": os.getpid()})
    for line in sys.stdin:
        if line == "stop\n":
            load.stop()
        if line == "end\n":
            break
        answer(stats_of(logs))
    load.stop()
    logs.end()
    answer({"logged": load.logged, **stats_of(logs)})


def stats_of(logs: Any) -> dict[str, Any]:
    names = ("accepted", "delivered", "spooled", "dead_lettered", "in_flight", "dropped", "truncated")
    return {**dict(zip(names, logs.stats(), strict=False)), "dropped": dict(logs.stats()[5])}


def answer(said: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
