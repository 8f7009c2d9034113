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
from tests.ways_in.running import INSTRUMENT, run


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


SHOP = """
import logging
logging.basicConfig(level=logging.INFO)
log = logging.getLogger("shop")
"""
AUDIT_FIELDS = (
    '"omni.audit.action": "a", "omni.audit.actor": "b", "omni.audit.resource": "c", "omni.audit.outcome": "success"'
)
TWICE = """
from opentelemetry._logs import get_logger_provider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
logging.getLogger().addHandler(LoggingHandler(logger_provider=get_logger_provider()))
"""


ANOTHER_PROVIDER = """
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
set_logger_provider(LoggerProvider())
"""
DISABLING = """
import logging.config
logging.config.dictConfig({"version": 1})
log.warning("silent")
logging.getLogger("made later").warning("here")
"""
LOGS = {"OTEL_LOGS_EXPORTER": "onex_kafka"}


def run_instrumented(program: str, kafka: EmbeddedKafka, **variables: str) -> subprocess.CompletedProcess[str]:
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, **LOGS}
    return run(INSTRUMENT, sys.executable, "-c", program, **servers, **variables)


@pytest.mark.parametrize(
    ("program", "variables", "messages"),
    [
        (f"{SHOP}log.info('here')", {}, ["here"]),
        (f"{SHOP}log.info('here')", {"OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "false"}, []),
        ("import logging; logging.getLogger('shop').info('below the level')", {}, []),
        (f"{SHOP}{DISABLING}", {}, ["here"]),
        (f"{SHOP}{TWICE}log.info('here')", {}, ["here", "here"]),
        (f"{SHOP}log.info('no category', extra={{{AUDIT_FIELDS}}})", {}, ["no category"]),
        (f"{SHOP}log.info('password=hunter2')", {}, ["password=hunter2"]),
        (
            f"{SHOP}log.info('password=hunter2')",
            {"OTEL_EXPORTER_KAFKA_REDACT_PATTERNS": "true"},
            ["password=[REDACTED]"],
        ),
    ],
)
def test_symptoms_are_as_described(
    program: str, variables: dict[str, str], messages: list[str], embedded_kafka: EmbeddedKafka
) -> None:
    """What the page says is the cause has that effect."""
    done = run_instrumented(program, embedded_kafka, **variables)
    assert done.returncode == 0, done.stderr
    assert arrived(embedded_kafka) == messages


@pytest.mark.parametrize(
    ("variables", "program", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "", "Requested component 'otlp_proto_grpc' not found"),
        ({"OTEL_LOGS_EXPORTER": "onex_kafak"}, "", "Requested component 'onex_kafak' not found"),
        (
            {"OTEL_SDK_DISABLED": "true"},
            "from otel_kafka_exporter import emit_audit_event\nemit_audit_event('a', 'b', 'c', 'success')",
            "audit and security events go nowhere: OpenTelemetry has no LoggerProvider, or it is disabled",
        ),
        (
            {},
            f"{SHOP}{ANOTHER_PROVIDER}",
            "Overriding of current LoggerProvider is not allowed",
        ),
        ({"OTEL_PYTHON_LOG_HANDLER_LEVEL": "loud"}, "", "Invalid log level 'LOUD' for OTEL_PYTHON_LOG_HANDLER_LEVEL"),
    ],
)
def test_messages_are_as_quoted(
    variables: dict[str, str], program: str, message: str, embedded_kafka: EmbeddedKafka
) -> None:
    """What the page quotes is what is said."""
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    done = run(INSTRUMENT, sys.executable, "-c", program, **{**LOGS, **servers, **variables})
    assert message.lower() in done.stderr.lower()
