"""The publisher beside bare aiokafka, on one node of a real Kafka: the guide's table, with figures of one run.

Usage: python -m benchmarks.publisher --rounds 3

Each variant runs in a process of its own, one after the other, round by round; the medians of the rounds are printed.
The broker counts what arrived. The second table is the same through a proxy that holds everything up for 5 ms each way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, TopicPartition

from otel_kafka_exporter import LoggingEventPublisher, publish_application_log
from otel_kafka_exporter.publisher import one_off
from tests.rig.kafka import KafkaCluster
from tests.rig.process import HeldPort

TOPIC = "omninode.logging.application.v1"
SEQUENTIAL, RECORDS = 2_000, 20_000
IN_FLIGHT = (16, 256, 1_000)
MANY = 4_000
DELAY = 0.005
VALUE = json.dumps({"envelope": "x" * 600, "context": {"batch_id": 17, "items": 50}}).encode()
HEADERS = [(f"x-header-{n}", b"0123456789abcdef0123456789abcdef0123") for n in range(6)]
#: Of the guide, and of the original measured on another day and machine; not measured here.
PROMISED = {"p50": "3", "p95": "10", "p99": "25", "1000": ">1,000", "start": "~50", "stop": "~20", "memory": "<10"}
PROMISED_REMOTE = {"p50": "8", "p95": "20", "p99": "50", "1000": ">500"}
ORIGINAL = {
    "p50": "21.8",
    "p99": "22.3",
    "16": "668",
    "256": "3,700",
    "1000": "2,100",
    "cpu": "185",
    "start": "2-5",
    "first": "23",
    "stop": "0.5",
    "false": "79 %",
}
ROWS = {
    "start": "start, ms",
    "first": "first acknowledgement, ms",
    "p50": "one after the other, p50, ms",
    "p95": "p95",
    "p99": "p99",
    **{str(number): f"events/s, {number:,} in flight" for number in IN_FLIGHT},
    "cpu": "CPU per event, 256 in flight, us",
    "false": f"False with {MANY:,} in flight",
    "stop": "stop with nothing in flight, ms",
    "memory": "memory above the idle interpreter, MB",
    "arrived": "arrived",
}
Publish = Callable[[int], Awaitable[object]]


class Ours:
    """The publisher."""

    def __init__(self, servers: str) -> None:
        self._publisher = LoggingEventPublisher(servers)

    async def start(self) -> None:
        await self._publisher.start()

    async def stop(self) -> None:
        await self._publisher.stop()

    async def publish(self, number: int) -> bool:
        return await self._publisher.publish_application_log(
            "shop", "shop-1", "INFO", "shop.orders", "an order was placed", "ORDER", {"batch_id": number, "items": 50}
        )


class OneOff:
    """The module functions; start and stop are theirs."""

    def __init__(self, servers: str) -> None:
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = servers

    async def start(self) -> None: ...

    async def stop(self) -> None:
        one_off._publisher().close()

    async def publish(self, number: int) -> bool:
        return await publish_application_log(
            "shop", "shop-1", "INFO", "shop.orders", "an order was placed", "ORDER", {"batch_id": number, "items": 50}
        )


class Aiokafka:
    """Bare aiokafka with a value that is there already: no envelope, no redaction, no accounting."""

    def __init__(self, servers: str, batch_bytes: int = 16_384) -> None:
        self._servers = servers
        self._batch_bytes = batch_bytes

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, acks="all", linger_ms=0, max_batch_size=self._batch_bytes
        )
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def publish(self, number: int) -> bool:  # noqa: ARG002 - the same call as of the others
        await self._producer.send_and_wait(TOPIC, VALUE, key=b"shop", headers=HEADERS)
        return True


class AiokafkaLarge(Aiokafka):
    """The same with batches of 1 MiB."""

    def __init__(self, servers: str) -> None:
        super().__init__(servers, 1 << 20)


VARIANTS: dict[str, type] = {
    "ours": Ours,
    "one-off": OneOff,
    "aiokafka": Aiokafka,
    "aiokafka 1 MiB": AiokafkaLarge,
}


def memory() -> float:
    """The process's own memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


async def measure(variant: Any, quick: bool) -> dict[str, float]:  # noqa: FBT001 - one of two tables
    found: dict[str, float] = {}
    idle = memory()
    began = time.perf_counter()
    await variant.start()
    found["start"] = (time.perf_counter() - began) * 1e3
    began = time.perf_counter()
    assert await variant.publish(0)
    found["first"] = (time.perf_counter() - began) * 1e3
    times = []
    sequential = SEQUENTIAL // 10 if quick else SEQUENTIAL
    for number in range(sequential):
        began = time.perf_counter()
        assert await variant.publish(number)
        times.append((time.perf_counter() - began) * 1e3)
    times.sort()
    for percent in (50, 95, 99):
        found[f"p{percent}"] = times[len(times) * percent // 100]
    found["memory"] = memory() - idle
    published = 1 + sequential
    for in_flight in IN_FLIGHT:
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(0, RECORDS, in_flight):
            assert all(await asyncio.gather(*(variant.publish(number) for number in range(in_flight))))
            published += in_flight
        records = (RECORDS + in_flight - 1) // in_flight * in_flight
        found[str(in_flight)] = records / (time.perf_counter() - began)
        if in_flight == 256:
            found["cpu"] = (time.process_time() - cpu) / records * 1e6
    answers = await asyncio.gather(*(variant.publish(number) for number in range(MANY)), return_exceptions=True)
    published += MANY
    found["false"] = sum(answer is not True for answer in answers)
    began = time.perf_counter()
    await variant.stop()
    found["stop"] = (time.perf_counter() - began) * 1e3
    found["published"] = published
    return found


def run(name: str, servers: str, quick: bool, answer: Connection) -> None:  # noqa: FBT001 - one of two tables
    """One variant, in a process of its own."""
    answer.send(asyncio.run(measure(VARIANTS[name](servers), quick)))


def arrived(servers: str) -> int:
    """How many records are in the topic."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": str(uuid.uuid4())})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        marks = (consumer.get_watermark_offsets(TopicPartition(TOPIC, each), timeout=10) for each in partitions)
        return sum(high for _, high in marks)
    finally:
        consumer.close()


def rounds_of(names: list[str], servers: str, rounds: int, *, quick: bool = False) -> dict[str, dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            before = arrived(servers)
            ours, theirs = context.Pipe()
            process = context.Process(target=run, args=(name, servers, quick, theirs))
            process.start()
            figures = ours.recv()
            process.join()
            figures["arrived"] = (arrived(servers) - before) / figures["published"] * 100
            found[name].append(figures)
    return {
        name: {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        for name, figures in found.items()
    }


async def warm(servers: str) -> None:
    """Have the broker do once what it does slowly the first time: its coordinator, its own compiler."""
    publisher = Ours(servers)
    await publisher.start()
    for number in range(SEQUENTIAL // 4):
        await publisher.publish(number)
    await publisher.stop()


def show(title: str, found: dict[str, dict[str, float]], known: dict[str, dict[str, str]]) -> None:
    columns = {
        **known,
        **{name: {key: text(key, figure) for key, figure in each.items()} for name, each in found.items()},
    }
    print(f"\n{title}\n")
    print(f"{'':<36}" + "".join(f"{name:>19}" for name in columns))
    for key, label in ROWS.items():
        print(f"{label:<36}" + "".join(f"{column.get(key, '-'):>19}" for column in columns.values()))


def text(key: str, figure: float) -> str:
    if key == "arrived":
        return f"{figure:.1f} %"
    if key == "false":
        return f"{figure / MANY:.0%}"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


class Proxy:
    """Passes connections on to a broker, and holds every byte up for `DELAY` each way."""

    def __init__(self, listens: str, target: str) -> None:
        self._listens, self._target = listens.rsplit(":", 1), target.rsplit(":", 1)
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait(10)

    async def _serve(self) -> None:
        host, port = self._listens
        server = await asyncio.start_server(self._connected, host, int(port))
        self._ready.set()
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    waiting: deque[tuple[float, bytes]] = deque()
    arrived_ = asyncio.Event()

    async def write() -> None:
        while True:
            while not waiting:
                arrived_.clear()
                await arrived_.wait()
            due, data = waiting.popleft()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)

    writing = asyncio.ensure_future(write())
    data = b"-"
    while data:
        try:
            data = await reader.read(1 << 16)
        except OSError:
            data = b""
        waiting.append((loop.time() + DELAY, data))
        arrived_.set()
    await writing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median of them is printed")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory, KafkaCluster(Path(directory)) as cluster:
        cluster.create_topics(TOPIC, partitions=1)
        asyncio.run(warm(cluster.bootstrap_servers))
        found = rounds_of(list(VARIANTS), cluster.bootstrap_servers, rounds)
        show("on the same machine", found, {"guide": PROMISED, "original": ORIGINAL})
    with tempfile.TemporaryDirectory() as directory:
        port = HeldPort()
        address = port.address
        cluster = KafkaCluster(Path(directory))
        cluster.nodes[0].advertised = address
        port.close()
        Proxy(address, cluster.nodes[0].address)
        with cluster:
            cluster.create_topics(TOPIC, partitions=1)
            asyncio.run(warm(address))
            found = rounds_of(["ours", "aiokafka", "aiokafka 1 MiB"], address, 1, quick=True)
            show("through a proxy, 5 ms each way", found, {"guide, remote": PROMISED_REMOTE})
    print("\nguide, original: taken from the guide, and from a measurement of the original elsewhere; not of this run")


if __name__ == "__main__":
    main()
