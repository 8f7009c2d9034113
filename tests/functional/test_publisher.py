"""A call says True when the broker has its event, says False otherwise, counts either way, and never raises."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from otel_kafka_exporter import LoggingEventPublisher, decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC, arrived
from tests.strategies import hostile_value

from .publishers import audit, log, publishing


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
