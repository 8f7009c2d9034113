"""Of the calls that are in flight at once each gets its own answer, on whichever loop, thread or process it is."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from types import FrameType
from typing import Any

import anyio
import pytest
import uvloop

from otel_kafka_exporter import LoggingEventPublisher, decode
from otel_kafka_exporter.outbox.group_commit import GroupCommit
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC, arrived
from tests.waiting import exit_code, until

from .publishers import audit, log, publishing


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


def test_what_waits_for_room_and_is_cancelled_is_delivered(embedded_kafka: EmbeddedKafka) -> None:
    """Each call counts from its beginning; one whose task is cancelled while it waits for room arrives in its turn."""

    async def main() -> None:
        async with publishing(embedded_kafka, queue_max_records=10, publish_timeout=30.0) as publisher:
            embedded_kafka.down()
            tasks = [asyncio.ensure_future(log(publisher, str(n))) for n in range(200)]
            await asyncio.sleep(0)
            assert publisher.stats().accepted == 200
            for task in tasks[::3]:
                task.cancel()
            embedded_kafka.up()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(answer is True for answer in answers if not isinstance(answer, asyncio.CancelledError))
        assert publisher.stats().delivered == 200

    asyncio.run(main())
    assert arrived(embedded_kafka) == [str(n) for n in range(200)]


def test_what_waits_for_room_when_its_loop_ends_is_delivered(embedded_kafka: EmbeddedKafka) -> None:
    """It goes on with the next event loop that publishes, before what that publishes, and has its time again."""
    publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers, queue_max_records=10, publish_timeout=30.0)

    async def leave() -> None:
        await publisher.start()
        embedded_kafka.down()
        for n in range(600):
            asyncio.ensure_future(log(publisher, str(n)))  # noqa: RUF006 - nobody waits for them
        await asyncio.sleep(0)

    asyncio.run(leave())
    embedded_kafka.up()
    until(lambda: publisher.stats().delivered == 10)
    assert asyncio.run(log(publisher, "600"))
    publisher.close()
    assert arrived(embedded_kafka) == [str(n) for n in range(601)]


@pytest.mark.parametrize("wait", [True, False])
def test_nothing_overtakes_what_waits_for_room(embedded_kafka: EmbeddedKafka, *, wait: bool) -> None:
    """A call that comes just when there is room again goes behind those that have waited for it."""
    called: list[str] = []

    async def main() -> None:
        async with publishing(embedded_kafka, queue_max_records=10, publish_timeout=30.0) as publisher:

            async def publish(name: str, *, wait: bool = True) -> None:
                called.append(name)
                if not await log(publisher, name, wait=wait):
                    called.remove(name)  # for want of room

            async def publish_two(number: int) -> None:
                await publish(f"{number} a")
                await publish(f"{number} b", wait=wait)

            await asyncio.gather(*(publish_two(number) for number in range(200)))

    asyncio.run(main())
    assert arrived(embedded_kafka) == called
    assert len(called) == 400 if wait else len(called) > 200


def test_what_changes_after_the_call(embedded_kafka: EmbeddedKafka) -> None:
    """An event that waits for room has the context of its call, whatever others make of it meanwhile."""

    async def main() -> None:
        context = {"items": [0]}
        async with publishing(embedded_kafka, queue_max_records=1, publish_timeout=30.0) as publisher:
            embedded_kafka.down()
            tasks = [asyncio.ensure_future(log(publisher, str(n), context=context)) for n in range(5)]
            await asyncio.sleep(0)
            context["items"].append(1)
            embedded_kafka.up()
            assert all(await asyncio.gather(*tasks))

    asyncio.run(main())
    contexts = [decode(message.value()).payload["context"] for message in embedded_kafka.messages(TOPIC)]
    assert contexts == [{"items": [0]}] * 5


@pytest.mark.parametrize("outbox", [False, True])
def test_a_close_on_the_loops_own_thread_waits_for_room(embedded_kafka: EmbeddedKafka, *, outbox: bool) -> None:
    """What waits for room is delivered by a close, although the loop is at a standstill meanwhile."""

    async def main() -> None:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers, queue_max_records=10, outbox=outbox)
        await publisher.start()
        tasks = [asyncio.ensure_future(log(publisher, str(n))) for n in range(200)]
        await asyncio.sleep(0)
        publisher.close()
        assert publisher.stats()[:5] == (200, 200, 0, 0, 0)
        assert all(await asyncio.gather(*tasks))

    asyncio.run(main())
    assert arrived(embedded_kafka) == [str(n) for n in range(200)]


@pytest.mark.parametrize("outbox", [True, False])
def test_a_close_beside_a_busy_loop_leaves_nothing(embedded_kafka: EmbeddedKafka, *, outbox: bool) -> None:
    """What waits for room in another thread's loop, which is busy, is in the outbox or counted when close() is back."""
    settings: dict[str, Any] = {"outbox": True, "delivery_wait": 30.0} if outbox else {}
    publisher = LoggingEventPublisher(
        embedded_kafka.bootstrap_servers, queue_max_records=10, publish_timeout=30.0, shutdown_timeout=0.3, **settings
    )
    is_busy, is_closed = threading.Event(), threading.Event()

    async def main() -> None:
        await publisher.start()
        embedded_kafka.down()
        tasks = [asyncio.ensure_future(log(publisher, str(n))) for n in range(200)]
        await asyncio.sleep(0)
        is_busy.set()
        is_closed.wait(20)  # noqa: ASYNC251, RUF100 - that is what a busy loop does
        assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == [outbox] * 200

    answered: list[None] = []
    thread = threading.Thread(target=lambda: answered.append(asyncio.run(main())))
    thread.start()
    assert is_busy.wait(20)
    publisher.close()
    stats = publisher.stats()
    is_closed.set()
    thread.join()
    assert (stats.spooled, sum(stats.dropped.values())) == ((200, 0) if outbox else (0, 200))
    assert answered == [None]


def test_a_stop_waits_for_room(embedded_kafka: EmbeddedKafka) -> None:
    """What waits for room when a publisher is stopped is delivered within `shutdown_timeout`."""

    async def main() -> None:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers, queue_max_records=10)
        await publisher.start()
        tasks = [asyncio.ensure_future(log(publisher, str(n))) for n in range(200)]
        await asyncio.sleep(0)
        await publisher.stop()
        assert all(await asyncio.gather(*tasks))

    asyncio.run(main())
    assert arrived(embedded_kafka) == [str(n) for n in range(200)]


@pytest.mark.parametrize("on_its_own_thread", [False, True])
def test_a_close_without_a_broker_keeps_within_its_time(
    embedded_kafka: EmbeddedKafka, *, on_its_own_thread: bool
) -> None:
    """Where there is no room in time, what waits for it is counted, and its callers are answered."""

    async def main() -> None:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers, queue_max_records=10, shutdown_timeout=0.2)
        await publisher.start()
        embedded_kafka.down()
        tasks = [asyncio.ensure_future(log(publisher, str(n))) for n in range(200)]
        await asyncio.sleep(0)
        if on_its_own_thread:
            publisher.close()
        else:
            await publisher.stop()
        assert not any(await asyncio.wait_for(asyncio.gather(*tasks), 4))
        stats = publisher.stats()
        assert (stats.accepted, stats.in_flight, sum(stats.dropped.values())) == (200, 0, 200)

    asyncio.run(main())


@pytest.mark.parametrize("wait", [True, False])
def test_the_loop_does_not_wait_for_the_disk(embedded_kafka: EmbeddedKafka, *, wait: bool) -> None:
    """With durability=power what a call returned is on the disk, and another thread has waited for that."""
    flushes: list[str] = []

    def watch(_frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument in (os.fsync, os.fdatasync):
            flushes.append(argument.__name__)

    async def main() -> None:
        embedded_kafka.down()
        settings = {"outbox": True, "durability": "power", "delivery_wait": 0.2, "start_timeout": 0.1}
        async with publishing(embedded_kafka, **settings) as publisher:
            sys.setprofile(watch)
            try:
                assert await audit(publisher, wait=wait)
            finally:
                sys.setprofile(None)
            assert any(each._ended for each in gc.get_objects() if type(each) is GroupCommit)

    asyncio.run(main())
    assert not flushes


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
    assert answers == [True] * 2_000, (answers.count(False), publisher.stats())
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
