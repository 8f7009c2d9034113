"""The publisher against the embedded broker: what True and False mean, loops, threads, forks, and its end."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakMethod

import anyio
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_kafka_exporter import (
    KafkaError,
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    LoggingEventPublisherContext,
    SettingsError,
    decode,
    publish_application_log,
    publish_audit_log,
    publish_security_log,
)
from otel_kafka_exporter.delivery.delivery import Delivery
from otel_kafka_exporter.publisher import one_off
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC, arrived
from tests.strategies import hostile_value
from tests.waiting import exit_code, until

AUDIT_TOPIC = "omninode.logging.audit.v1"
EVENT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NOWHERE = "127.0.0.1:9"


@asynccontextmanager
async def publishing(kafka: EmbeddedKafka, **settings: Any) -> AsyncIterator[LoggingEventPublisher]:
    async with LoggingEventPublisherContext(kafka.bootstrap_servers, **settings) as publisher:
        yield publisher


def log(publisher: LoggingEventPublisher, message: str, **more: Any) -> Coroutine[Any, Any, bool]:
    return publisher.publish_application_log("shop", "shop-1", "INFO", "shop.orders", message, "ORDER", **more)


def audit(publisher: LoggingEventPublisher, outcome: str = "success", **more: Any) -> Coroutine[Any, Any, bool]:
    return publisher.publish_audit_log("t-1", "order.delete", "bob", "order/17", outcome, **more)


@pytest.fixture
def shared(embedded_kafka: EmbeddedKafka) -> Iterator[EmbeddedKafka]:
    """The module functions' publisher, for this test alone."""
    one_off._publisher.cache_clear()
    yield embedded_kafka
    one_off._publisher().close()
    one_off._publisher.cache_clear()


def test_true_means_that_the_broker_has_it(embedded_kafka: EmbeddedKafka) -> None:
    """Each of the three methods says True, and its event is in its topic when it does."""

    async def main() -> None:
        async with publishing(embedded_kafka) as publisher:
            assert await log(publisher, "one", context={"items": 3})
            assert await audit(publisher)
            assert await publisher.publish_security_log("t-1", "permission_check", "bob", "console", "deny")
            for category in ("application", "audit", "security"):
                assert len(embedded_kafka.messages(f"omninode.logging.{category}.v1")) == 1
            assert publisher.stats()[:5] == (3, 3, 0, 0, 0)

    asyncio.run(main())


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


def test_a_wrong_argument_is_false_and_one_line(
    embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument gives False, a line that names it, and a count; the next call is none the worse."""

    async def main() -> None:
        async with publishing(embedded_kafka) as publisher:
            for _ in range(3):
                assert not await audit(publisher, "peut-être")
            assert await audit(publisher)
            assert publisher.stats().dropped == {"conversion:outcome": 3}

    asyncio.run(main())
    assert capfd.readouterr().err.count("outcome: expected success or failure") == 1


def test_disabled_is_false_at_once_and_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disabled publisher needs no settings, starts nothing, and says False; by argument or by environment."""
    monkeypatch.setenv("KAFKA_ENABLE_LOGGING_EVENTS", "false")

    async def main() -> None:
        for publisher in (LoggingEventPublisher(), LoggingEventPublisher(enable_events=False)):
            await publisher.start()
            assert not await log(publisher, "one")
            await publisher.stop()
            assert publisher.stats().accepted == 0

    asyncio.run(main())
    monkeypatch.setenv("KAFKA_ENABLE_LOGGING_EVENTS", "perhaps")
    with pytest.raises(SettingsError, match=r"KAFKA_ENABLE_LOGGING_EVENTS: expected true or false, got 'perhaps'"):
        LoggingEventPublisher()


def test_before_its_start_it_is_false_and_says_so(
    embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """Publishing before start() starts nothing, and says what is missing, once."""
    publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)

    async def main() -> None:
        assert not await log(publisher, "one")
        assert not await log(publisher, "two")

    asyncio.run(main())
    assert publisher.stats().accepted == 0
    assert capfd.readouterr().err.count("expected start() before publishing") <= 1


def test_a_start_without_a_broker_says_which_and_why() -> None:
    """start() raises an error that can be caught, with the address, the cause and what to do."""

    async def main() -> None:
        publisher = LoggingEventPublisher(NOWHERE, start_timeout=0.5)
        with pytest.raises(KafkaError, match=r"127\.0\.0\.1:9 .*within 0.5 s.*refused.*Check bootstrap_servers"):
            await publisher.start()
        assert not await log(publisher, "one")
        await publisher.stop()

    asyncio.run(main())


def test_with_an_outbox_it_starts_without_a_broker_and_keeps_what_it_is_given() -> None:
    """outbox=True: start() does not raise, True also means kept, and nothing is lost."""

    async def main() -> None:
        publisher = LoggingEventPublisher(NOWHERE, outbox=True, start_timeout=0.2, delivery_wait=0.2)
        await publisher.start()
        assert await log(publisher, "one")
        assert await audit(publisher)
        assert publisher.stats()[:5] == (2, 0, 2, 0, 0)
        await publisher.stop()

    asyncio.run(main())


def test_without_an_outbox_it_is_false_within_the_timeout(embedded_kafka: EmbeddedKafka) -> None:
    """A broker that goes away: False within the timeout, counted; True again when it is back."""

    async def main() -> None:
        async with publishing(embedded_kafka, publish_timeout=0.5) as publisher:
            assert await log(publisher, "one")
            embedded_kafka.down()
            before = time.monotonic()
            assert not await log(publisher, "two")
            assert time.monotonic() - before < 5
            assert not await log(publisher, "three")
            embedded_kafka.up()
            deadline = time.monotonic() + 15
            while not await log(publisher, "four"):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            stats = publisher.stats()
            assert stats.in_flight == 0
            assert stats.accepted == stats.delivered + sum(stats.dropped.values())

    asyncio.run(main())


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


def test_without_waiting_it_is_taken_and_counted(embedded_kafka: EmbeddedKafka) -> None:
    """wait=False returns at once, and stop() delivers what is on its way."""

    async def main() -> LoggingEventPublisher:
        async with publishing(embedded_kafka) as publisher:
            for n in range(100):
                assert await log(publisher, str(n), wait=False)
            assert not await audit(publisher, "perhaps", wait=False)
        return publisher

    publisher = asyncio.run(main())
    assert publisher.stats()[:5] == (101, 100, 0, 0, 0)
    assert arrived(embedded_kafka) == [str(n) for n in range(100)]


def test_the_current_span_is_the_correlation(embedded_kafka: EmbeddedKafka) -> None:
    """Without a correlation ID the current trace is one, and the traceparent goes along; a given one goes before it."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    async def main() -> None:
        async with publishing(embedded_kafka) as publisher:
            with tracer.start_as_current_span("request") as span:
                await log(publisher, "one")
                await log(publisher, "two", correlation_id="abc")
            trace_id = f"{span.get_span_context().trace_id:032x}"
            first, second = embedded_kafka.messages(TOPIC)
            assert decode(first.value()).correlation_id == str(uuid.UUID(trace_id))
            assert trace_id in dict(first.headers() or ())["traceparent"].decode()  # type: ignore[union-attr]
            assert decode(second.value()).correlation_id == "abc"

    asyncio.run(main())


def test_start_and_stop_may_come_twice_at_once_and_again(embedded_kafka: EmbeddedKafka) -> None:
    """start() is idempotent, may be called by many at the same time, and works after a stop()."""

    async def main() -> None:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)
        await asyncio.gather(*(publisher.start() for _ in range(10)))
        await publisher.start()
        assert await log(publisher, "one")
        await asyncio.gather(publisher.stop(), publisher.stop())
        assert not await log(publisher, "two")
        await publisher.start()
        assert await log(publisher, "three")
        await publisher.stop()

    asyncio.run(main())
    assert arrived(embedded_kafka) == ["one", "three"]


def test_stop_delivers_what_is_on_its_way(embedded_kafka: EmbeddedKafka) -> None:
    """Calls that wait while another task stops the publisher are answered, with the truth."""

    async def main() -> list[bool]:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)
        await publisher.start()
        tasks = [asyncio.ensure_future(log(publisher, str(n))) for n in range(500)]
        await asyncio.sleep(0)
        await publisher.stop()
        return await asyncio.wait_for(asyncio.gather(*tasks), 5)

    answers = asyncio.run(main())
    assert arrived(embedded_kafka) == [str(n) for n, answer in enumerate(answers) if answer]


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


def test_the_module_functions_share_one_publisher_over_many_loops(shared: EmbeddedKafka) -> None:
    """One-off calls of many asyncio.run() go through one connection, and each is True."""

    async def main() -> list[bool]:
        answers = await asyncio.gather(
            publish_application_log("shop", "shop-1", "INFO", "shop.orders", "one", "ORDER"),
            publish_audit_log("t-1", "order.delete", "bob", "order/17", "success"),
            publish_security_log(
                tenant_id="t-1", event_type="permission_check", user_id="bob", resource="console", decision="allow"
            ),
        )
        return list(answers)

    for _ in range(5):
        assert asyncio.run(main()) == [True] * 3
    assert one_off._publisher().stats()[:5] == (15, 15, 0, 0, 0)
    assert len(shared.messages(AUDIT_TOPIC)) == 5


def test_the_module_functions_without_settings_are_false(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a bootstrap server a one-off call is False, says what to set, and raises nothing."""
    one_off._publisher.cache_clear()
    assert not asyncio.run(publish_audit_log("t-1", "order.delete", "bob", "order/17", "success"))
    assert "Set OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS" in capfd.readouterr().err


def test_a_process_that_never_stops_its_publisher_ends_quietly(embedded_kafka: EmbeddedKafka) -> None:
    """At the interpreter's exit what is on its way is delivered, without a hang and without a warning."""
    program = """
        import asyncio
        from otel_kafka_exporter import LoggingEventPublisher, publish_application_log

        async def main():
            await publish_application_log("shop", "1", "INFO", "l", "one-off", "C", wait=False)
            publisher = LoggingEventPublisher()
            await publisher.start()
            await publisher.publish_application_log("shop", "1", "INFO", "l", "kept", "C", wait=False)
            globals()["publisher"] = publisher

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    until(lambda: len(arrived(embedded_kafka)) == 2)


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


@pytest.mark.parametrize("processor", ["direct", "batch"])
def test_events_go_through_opentelemetry_for_all_its_exporters(embedded_kafka: EmbeddedKafka, processor: str) -> None:
    """With a logger_provider, other exporters see the events too, and True still means that the broker has them."""
    memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's omission
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    provider.add_log_record_processor(
        KafkaLogRecordProcessor()
        if processor == "direct"
        else BatchLogRecordProcessor(KafkaLogExporter(), schedule_delay_millis=20)
    )

    async def main() -> None:
        async with LoggingEventPublisherContext(logger_provider=provider) as publisher:
            assert await log(publisher, "one", context={"items": 3, "password": "p"}, correlation_id="abc")
            assert await audit(publisher, event_id=EVENT_ID)
            assert await publisher.publish_security_log("t-1", "permission_check", "bob", "console", "deny")
            assert not await audit(publisher, "perhaps")
            assert await log(publisher, "two", wait=False)

    asyncio.run(main())
    provider.shutdown()
    assert len(memory.get_finished_logs()) == 4
    first, _ = (decode(message.value()) for message in embedded_kafka.consume(TOPIC, 2, 10))
    assert first.correlation_id == "abc"
    assert first.payload["context"] == {
        "items": 3,
        "password": "[REDACTED]",
        "service.instance.id": "shop-1",
    }
    assert (first.payload["message"], first.payload["code"], first.payload["logger"]) == ("one", "ORDER", "shop.orders")
    [message] = embedded_kafka.consume(AUDIT_TOPIC, 1, 10)
    event = decode(message.value())
    assert (event.event_id, event.tenant_id, event.payload["action"]) == (EVENT_ID, "t-1", "order.delete")


def test_opentelemetry_and_settings_of_delivery_contradict() -> None:
    """With a logger_provider, delivery is its exporter's affair: settings beside it are an error that says so."""
    with pytest.raises(SettingsError, match="logger_provider: expected no settings"):
        LoggingEventPublisher("localhost:9092", logger_provider=LoggerProvider(shutdown_on_exit=False))


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


def test_publishing_never_raises(embedded_kafka: EmbeddedKafka) -> None:
    """Whatever the arguments are, a call returns True or False, and each is accounted for."""
    calls = 0

    async def main() -> None:
        async with publishing(embedded_kafka, publish_timeout=20) as publisher:
            methods = {
                publisher.publish_application_log: 6,
                publisher.publish_audit_log: 5,
                publisher.publish_security_log: 5,
            }

            @settings(max_examples=100, deadline=None, database=None)
            @given(st.sampled_from(list(methods)), st.lists(hostile_value, min_size=6, max_size=6), st.data())
            def publish(method: Any, values: list[Any], data: Any) -> None:
                nonlocal calls
                names = ("context", "correlation_id", "causation_id", "event_id")
                more = {name: data.draw(hostile_value) for name in names}
                call = method(*values[: methods[method]], **more, wait=False)
                with pytest.raises(StopIteration) as returned:  # it awaits nothing
                    call.send(None)
                assert isinstance(returned.value.value, bool)
                calls += 1

            publish()
            stats = publisher.stats()
            assert stats.accepted == calls
            assert calls == stats.delivered + stats.in_flight + sum(stats.dropped.values())

    asyncio.run(main())


def test_a_context_whose_start_is_cancelled_leaves_nothing_behind(embedded_kafka: EmbeddedKafka) -> None:
    """Cancelling a context while it connects ends the connection as soon as it is there."""

    async def main() -> None:
        context = LoggingEventPublisherContext(embedded_kafka.bootstrap_servers)
        task = asyncio.ensure_future(context.__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        life = context._publisher._lifecycle
        starting = life._starting
        assert starting is not None
        await asyncio.wrap_future(starting)
        until(lambda: life._latest is not None and life.route is None)

    asyncio.run(main())


def test_a_context_per_request_leaves_nothing_behind(embedded_kafka: EmbeddedKafka) -> None:
    """A service that makes a context for each request, as the guide's examples do, grows by nothing that stays."""

    async def requests(number: int) -> None:
        for _ in range(number):
            async with publishing(embedded_kafka) as publisher:
                assert await log(publisher, "one")

    asyncio.run(requests(5))
    gc.collect()
    before = {kind: len([each for each in gc.get_objects() if type(each) is kind]) for kind in (Delivery, WeakMethod)}
    asyncio.run(requests(20))
    gc.collect()
    after = {kind: len([each for each in gc.get_objects() if type(each) is kind]) for kind in (Delivery, WeakMethod)}
    assert after[Delivery] <= before[Delivery] + 2
    assert after[WeakMethod] <= before[WeakMethod] + 20
