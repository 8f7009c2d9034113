"""A publisher starts or says why not, ends with what is on its way delivered, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
from pathlib import Path
from weakref import WeakMethod

import pytest

from otel_kafka_exporter import KafkaError, LoggingEventPublisher, LoggingEventPublisherContext, SettingsError
from otel_kafka_exporter.delivery.delivery import Delivery
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import arrived, exporting, records
from tests.waiting import until

from .publishers import audit, log, publishing

NOWHERE = "127.0.0.1:9"


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


def test_without_asyncio_it_says_so_and_starts_nothing(
    embedded_kafka: EmbeddedKafka, caplog: pytest.LogCaptureFixture
) -> None:
    """Under another kind of event loop start() and stop() raise, nothing is left open, and publishing is False."""
    publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers)
    with pytest.raises(RuntimeError, match="expected a running event loop of asyncio"):
        publisher.start().send(None)
    assert publisher._lifecycle._starting is None
    publisher.open()
    for wait in (True, False):
        with pytest.raises(StopIteration) as ended:
            log(publisher, "one", wait=wait).send(None)
        assert ended.value.value is False
    with pytest.raises(RuntimeError, match="expected a running event loop of asyncio"):
        publisher.stop().send(None)
    assert publisher._lifecycle.route is not None
    publisher.close()
    assert publisher.stats().accepted == 0
    assert "fault of ours" not in caplog.text


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


def test_a_context_whose_start_is_cancelled_leaves_nothing_behind(embedded_kafka: EmbeddedKafka) -> None:
    """Cancelling a context while it connects ends the connection as soon as it is there."""

    async def main() -> None:
        context = LoggingEventPublisherContext(embedded_kafka.bootstrap_servers)
        task = asyncio.ensure_future(context.__aenter__())
        await asyncio.sleep(0)
        life = context._publisher._lifecycle
        starting = life._starting
        assert starting is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wrap_future(starting)
        assert life.route is None

    asyncio.run(main())


def test_who_leaves_a_context_stops_it_for_no_other(embedded_kafka: EmbeddedKafka) -> None:
    """Tasks that are within one context at once, by turns or nested, publish until they leave it; the last stops it."""

    async def main() -> None:
        context = LoggingEventPublisherContext(embedded_kafka.bootstrap_servers)
        for _ in range(2):
            async with context as publisher:
                async with context as same:
                    assert await log(same, "within")
                cancelled = asyncio.ensure_future(context.__aenter__())
                cancelled.cancel()
                await asyncio.wait([cancelled])
                assert await log(publisher, "still within")
            assert publisher._lifecycle.route is None
            assert not await log(publisher, "outside")

    asyncio.run(main())
    assert arrived(embedded_kafka) == ["within", "still within"] * 2


def test_a_start_that_nobody_waits_for_fails_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """Where a start was given up before it failed, asyncio logs no exception that nobody has heard of."""

    async def main() -> None:
        publisher = LoggingEventPublisher("localhost:1", start_timeout=0.2)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(publisher.start(), 0.05)
        starting = publisher._lifecycle._starting
        assert starting is not None
        with pytest.raises(KafkaError):
            await asyncio.wrap_future(starting)

    asyncio.run(main())
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


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


def test_the_end_of_the_process_waits_for_a_stop_that_was_cancelled(
    embedded_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """As by a framework's time limit, or a second Ctrl-C: what was on its way is in the outbox."""
    program = """
        import asyncio, sys
        from otel_kafka_exporter import LoggingEventPublisher

        async def main():
            publisher = LoggingEventPublisher(
                sys.argv[1], outbox=True, outbox_dir=sys.argv[2], shutdown_timeout=2, delivery_wait=30
            )
            await publisher.start()
            await publisher.publish_application_log("s", "i", "INFO", "l", "first", "C")
            print("first", flush=True)
            sys.stdin.readline()
            for number in range(5):
                await publisher.publish_application_log("s", "i", "INFO", "l", str(number), "C", wait=False)
            try:
                await asyncio.wait_for(publisher.stop(), 0.1)
            except asyncio.TimeoutError:
                print("cancelled", flush=True)

        asyncio.run(main())
    """
    arguments = [sys.executable, "-c", textwrap.dedent(program), embedded_kafka.bootstrap_servers, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        embedded_kafka.down()
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.stdout.read() == "cancelled\n"
        assert process.wait(30) == 0
    embedded_kafka.up()
    with exporting(embedded_kafka, outbox_dir=tmp_path) as exporter:
        exporter.export(records(["the next process"]))
        until(lambda: exporter.stats().delivered == 6, 30)
