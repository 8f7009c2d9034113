"""Of the calls that are in flight at once each gets its own answer, on whichever loop, thread or process it is."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import anyio
import pytest
import uvloop

from otel_kafka_exporter import LoggingEventPublisher
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import arrived
from tests.waiting import exit_code

from .publishers import log, publishing


def test_thousands_of_awaits_in_flight_are_all_true(embedded_kafka: EmbeddedKafka) -> None:
    """With 4,000 calls in flight none is False, and all are there, in the order of the calls."""

    async def main() -> None:
        async with publishing(embedded_kafka) as publisher:
            assert all(await asyncio.gather(*(log(publisher, str(n)) for n in range(4_000))))

    asyncio.run(main())
    assert arrived(embedded_kafka) == [str(n) for n in range(4_000)]


def test_more_than_the_queue_holds_waits_for_its_turn(embedded_kafka: EmbeddedKafka) -> None:
    """Calls that find the local queue full wait for room, in their order, and the loop goes on meanwhile."""

    async def main() -> None:
        async with publishing(embedded_kafka, queue_max_records=50) as publisher:
            assert all(await asyncio.gather(*(log(publisher, str(n)) for n in range(1_000))))

    asyncio.run(main())
    assert arrived(embedded_kafka) == [str(n) for n in range(1_000)]


def test_a_cancelled_call_is_accounted_for(embedded_kafka: EmbeddedKafka) -> None:
    """Cancelling the task that awaits raises CancelledError in it at once, and the event counts all the same."""

    async def main() -> None:
        async with publishing(embedded_kafka) as publisher:
            task = asyncio.ensure_future(log(publisher, "one"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await log(publisher, "two")
            assert publisher.stats()[:5] == (2, 2, 0, 0, 0)

    asyncio.run(main())


def test_a_crowd_that_is_cancelled_or_stopped_is_accounted_for(embedded_kafka: EmbeddedKafka) -> None:
    """Calls that wait for room are answered when they are cancelled, time out, or the publisher stops."""

    async def main() -> None:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers, queue_max_records=10, publish_timeout=0.5)
        await publisher.start()
        embedded_kafka.down()
        tasks = [asyncio.ensure_future(log(publisher, str(n))) for n in range(200)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert not any(answer is True for answer in answers)
        await publisher.stop()
        stats = publisher.stats()
        assert stats.accepted == sum(stats.dropped.values())

    asyncio.run(main())


def test_a_round_of_reports_wakes_the_loop_once(embedded_kafka: EmbeddedKafka) -> None:
    """A thousand calls in flight cost few wake-ups of their event loop, not one for each."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        wake_ups = 0
        wake = loop.call_soon_threadsafe

        def counted(*arguments: Any, **more: Any) -> asyncio.Handle:
            nonlocal wake_ups
            wake_ups += 1
            return wake(*arguments, **more)

        async with publishing(embedded_kafka) as publisher:
            await log(publisher, "first")
            loop.call_soon_threadsafe = counted  # type: ignore[method-assign,assignment]  # counts, and passes on
            assert all(await asyncio.gather(*(log(publisher, str(n)) for n in range(1_000))))
            loop.call_soon_threadsafe = wake  # type: ignore[method-assign]
        return wake_ups

    assert asyncio.run(main()) <= 100


def test_loops_of_several_threads_share_a_publisher(embedded_kafka: EmbeddedKafka) -> None:
    """Four threads, each with an event loop of its own, publish by one publisher at the same time."""
    publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)
    answers: list[bool] = []

    async def burst() -> None:
        await publisher.start()
        answers.extend(await asyncio.gather(*(log(publisher, "x") for _ in range(500))))

    threads = [threading.Thread(target=lambda: asyncio.run(burst())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.close()
    assert answers == [True] * 2_000
    assert len(arrived(embedded_kafka)) == 2_000


def test_a_forked_child_publishes_by_itself(embedded_kafka: EmbeddedKafka) -> None:
    """A publisher that was started before a fork works on both sides of it."""
    publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)

    async def main(message: str) -> bool:
        await publisher.start()
        return await log(publisher, message)

    assert asyncio.run(main("before"))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if asyncio.run(main("child")) else 1)
    assert asyncio.run(main("parent"))
    assert exit_code(pid) == 0
    publisher.close()
    assert sorted(arrived(embedded_kafka)) == ["before", "child", "parent"]


def test_uvloop_and_anyio_are_as_good(embedded_kafka: EmbeddedKafka) -> None:
    """A publisher works on uvloop, and in tasks of anyio's."""

    async def main() -> None:
        async with publishing(embedded_kafka) as publisher, anyio.create_task_group() as tasks:
            for n in range(100):
                tasks.start_soon(log, publisher, str(n))

    asyncio.run(main())
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert len(arrived(embedded_kafka)) == 200
