"""Symptoms of docs/troubleshooting.md that no other test shows."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from otel_kafka_exporter import LoggingEventPublisher, LoggingEventPublisherContext
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC, arrived
from tests.waiting import exit_code


async def publish(publisher: LoggingEventPublisher, message: str, *, wait: bool = True) -> bool:
    return await publisher.publish_application_log("shop", "shop-1", "INFO", "shop.orders", message, "ORDER", wait=wait)


def test_a_child_that_ends_by_os_exit_stops_its_publisher_before(embedded_kafka: EmbeddedKafka) -> None:
    """What a child has not waited for dies with its os._exit; with a stop before, it arrives."""

    def child(message: str, *, stops: bool) -> int:
        if pid := os.fork():
            return pid
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)
        publisher.open()
        taken = asyncio.run(publish(publisher, message, wait=False))
        if stops:
            publisher.close()
        os._exit(0 if taken else 1)

    assert exit_code(child("lost", stops=False)) == 0
    assert exit_code(child("kept", stops=True)) == 0
    assert arrived(embedded_kafka) == ["kept"]


def test_a_prefix_is_part_of_the_topic(embedded_kafka: EmbeddedKafka) -> None:
    """With a prefix nothing is in the topic without it."""

    async def main() -> bool:
        servers = embedded_kafka.bootstrap_servers
        async with LoggingEventPublisherContext(servers, topic_prefix="staging.") as publisher:
            return await publish(publisher, "here")

    assert asyncio.run(main())
    assert len(embedded_kafka.messages(f"staging.{TOPIC}")) == 1
    assert embedded_kafka.messages(TOPIC) == []


def test_beside_a_thread_that_computes_every_event_is_still_published(embedded_kafka: EmbeddedKafka) -> None:
    """A thread that never waits slows acknowledgements down; all come, and none is False."""
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(10_000))

    async def main() -> list[bool]:
        async with LoggingEventPublisherContext(embedded_kafka.bootstrap_servers) as publisher:
            return await asyncio.gather(*[publish(publisher, str(n)) for n in range(1_000)])

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        assert asyncio.run(main()) == [True] * 1_000
    finally:
        done.set()
        thread.join()
    assert len(arrived(embedded_kafka)) == 1_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process has taken")
def test_what_waits_in_the_outbox_is_not_held_in_memory() -> None:
    """While Kafka is away, 30 MB of events in the outbox take less than a tenth of that as memory of the process."""
    program = """
        import asyncio
        from pathlib import Path
        from otel_kafka_exporter import LoggingEventPublisher

        def kilobytes():
            [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line]
            return int(line.split()[1])

        async def main():
            publisher = LoggingEventPublisher("127.0.0.1:9", outbox=True, shutdown_timeout=0)
            publisher.open()
            async def publish(n):
                for _ in range(n):
                    await publisher.publish_application_log(
                        "shop", "shop-1", "INFO", "shop.orders", "x" * 10_000, "ORDER", wait=False
                    )
                    while publisher.stats().in_flight > 100:
                        await asyncio.sleep(0.001)
            await publish(1_000)
            before = kilobytes()
            await publish(3_000)
            print(kilobytes() - before, publisher.stats().dropped)
            publisher.close()

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    grown, dropped = done.stdout.split(maxsplit=1)
    assert (int(grown) < 3_000, dropped.strip()) == (True, "{}"), done
