"""Where the client takes its time: confluent-kafka makes none before the application has given a token.

Each test decides when that is, so that what happens before it is seen, and not guessed by a clock.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter import (
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    LoggingEventPublisherContext,
)
from otel_kafka_exporter.kafka.client import Client
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.token_front import TokenFront
from tests.unit.test_docs import ROOT
from tests.waiting import exit_code, until

from .pipelines import arrived, delivery_of, records
from .publishers import log

AUDIT = "omninode.logging.audit.v1"


@pytest.fixture
def front() -> Iterator[tuple[EmbeddedKafka, TokenFront]]:
    """A broker, and a way to it with a login by tokens."""
    with EmbeddedKafka() as kafka, TokenFront(kafka.bootstrap_servers) as front:
        yield kafka, front


@pytest.fixture
def token(tmp_path: Path) -> Iterator[Token]:
    """Given when a test says so, and at its end at the latest, so that no thread of its stays."""
    token = Token(tmp_path / "token")
    yield token
    token.give()


class Token:
    """The application's callback for tokens, in this process and its children.

    Args:
        path: a file that is there once tokens are given.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.asked: list[int] = []  # in which processes

    def __call__(self, _config: str) -> tuple[str, float]:
        self.asked.append(os.getpid())
        logging.getLogger("tokens").warning("a token is asked for")
        until(self._path.exists, 60)
        return "token", time.time() + 3600

    def give(self) -> None:
        self._path.touch()


def exporting(front: TokenFront, token: Token, **settings: Any) -> KafkaLogExporter:
    properties = {**front.properties, "oauth_cb": token}
    return KafkaLogExporter(bootstrap_servers=front.bootstrap_servers, producer_config=properties, **settings)


def logging_by(exporter: KafkaLogExporter) -> Callable[[str], None]:
    """What hands one record over, on the thread that logs."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor(exporter))
    logger = provider.get_logger("shop.orders")
    return lambda body: logger.emit(body=body)


@pytest.mark.parametrize("outbox", [False, True])
def test_nobody_waits_for_the_client(front: tuple[EmbeddedKafka, TokenFront], token: Token, *, outbox: bool) -> None:
    """Neither a constructor nor a log call waits for a token; what was logged before it arrives, in its order."""
    kafka, way = front
    exporter = exporting(way, token, outbox=outbox)
    log = logging_by(exporter)
    bodies = [f"n{number}" for number in range(200)]
    for body in bodies[:100]:
        log(body)
    until(lambda: token.asked, what="the question for a token")
    for body in bodies[100:]:
        log(body)
    stats = exporter.stats()
    assert stats.accepted == 200
    assert stats.delivered == 0
    token.give()
    assert exporter.force_flush()
    until(lambda: exporter.stats().delivered == 200)
    assert arrived(kafka) == bodies
    exporter.shutdown()


def test_a_constructor_asks_for_no_token(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """To make an exporter or a publisher starts nothing of the application's."""
    _, way = front
    exporting(way, token).shutdown()
    LoggingEventPublisher(way.bootstrap_servers, producer_config={**way.properties, "oauth_cb": token})
    assert not token.asked


def test_a_token_that_comes_late_costs_nothing(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """Without an outbox, records wait for the client longer than for a broker, and so do those that come meanwhile."""
    kafka, way = front
    exporter = exporting(way, token, outbox=False, delivery_wait=0.2)
    log = logging_by(exporter)
    log("early")
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 1.0)  # in which time a broker that is silent would have been given up
    log("later")
    assert exporter.stats().in_flight == 2
    token.give()
    assert exporter.force_flush()
    assert arrived(kafka) == ["early", "later"]
    exporter.shutdown()


def test_what_waits_is_bounded(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """No more waits for a client than the queue's bound; what is too much is counted, and the rest arrives."""
    kafka, way = front
    exporter = exporting(way, token, outbox=False, queue_max_records=10, full_queue_wait=0.0)
    log = logging_by(exporter)
    for number in range(12):
        log(f"n{number}")
    assert exporter.stats().in_flight == 10
    assert exporter.stats().dropped == {"queue_full": 2}
    token.give()
    assert exporter.force_flush()
    assert arrived(kafka) == [f"n{number}" for number in range(10)]
    exporter.shutdown()


def test_what_waits_is_bounded_in_bytes(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """As many bytes wait for a client as the queue may have, and no more."""
    _, way = front
    exporter = exporting(way, token, outbox=False, queue_max_bytes=1_100_000, full_queue_wait=0.0)
    log = logging_by(exporter)
    for _ in range(12):
        log("x" * 200_000)
    assert exporter.stats().dropped == {"queue_full": 12 - 5}
    token.give()
    exporter.shutdown()


def test_a_callback_that_logs(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """A callback for tokens may log through the very exporter that waits for its token."""
    kafka, way = front
    exporter = exporting(way, token, outbox=False)
    log = logging_by(exporter)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log(record.getMessage())

    handler = Handler()
    logging.getLogger("tokens").addHandler(handler)
    try:
        log("early")
        token.give()
        assert exporter.force_flush()
    finally:
        logging.getLogger("tokens").removeHandler(handler)
    assert "early" in arrived(kafka)
    exporter.shutdown()


def test_a_client_is_renewed_in_the_background(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """When a client has failed, a log call does not wait for the next one either."""
    kafka, way = front
    exporter = exporting(way, token, outbox=False)
    log = logging_by(exporter)
    token.give()
    log("first")
    assert exporter.force_flush()
    token._path.unlink()
    producer = delivery_of(exporter)._producer
    producer.renew(producer.client_number)
    log("second")
    until(lambda: len(token.asked) == 2)
    log("third")
    assert exporter.stats().in_flight == 2
    token.give()
    assert exporter.force_flush()
    assert arrived(kafka) == ["first", "second", "third"]
    exporter.shutdown()


def test_a_client_that_is_given_up_before_it_is_made(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """What waited for it goes by the next one, once."""
    kafka, way = front
    exporter = exporting(way, token, outbox=False)
    log = logging_by(exporter)
    log("early")
    until(lambda: token.asked)
    producer = delivery_of(exporter)._producer
    producer.renew(producer.client_number)
    token.give()
    log("later")
    assert exporter.force_flush()
    assert arrived(kafka) == ["early", "later"]
    exporter.shutdown()


def test_a_forked_child_makes_its_own(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """A fork while the client is being made: the child's log call does not wait either, and nothing comes twice."""
    kafka, way = front
    exporter = exporting(way, token, outbox=False)
    log = logging_by(exporter)
    log("the parent's")
    until(lambda: token.asked)
    child = os.fork()
    if not child:
        try:
            log("the child's")
            was_in_flight = exporter.stats().in_flight
            token.give()
            os._exit(0 if exporter.force_flush() and was_in_flight == 1 else 1)
        finally:
            os._exit(2)
    assert exit_code(child) == 0
    assert exporter.force_flush()
    assert sorted(arrived(kafka)) == ["the child's", "the parent's"]
    exporter.shutdown()


def test_a_short_life(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """A shutdown straight after the first record waits for the client, and the record is delivered."""
    kafka, way = front
    token.give()
    exporter = exporting(way, token, outbox=False)
    logging_by(exporter)("the only one")
    exporter.shutdown()
    assert exporter.stats().delivered == 1
    assert arrived(kafka) == ["the only one"]


def test_a_token_that_never_comes(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """A shutdown keeps within its time, and what waited for the client is kept in the outbox."""
    _, way = front
    exporter = exporting(way, token, shutdown_timeout=0.3)
    logging_by(exporter)("early")
    until(lambda: token.asked)
    exporter.shutdown()
    stats = exporter.stats()
    assert (stats.accepted, stats.spooled, stats.in_flight) == (1, 1, 0)


def test_a_token_that_never_comes_and_no_outbox(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """Without an outbox what waited for the client is counted as dropped by the shutdown."""
    _, way = front
    exporter = exporting(way, token, outbox=False, shutdown_timeout=0.3)
    logging_by(exporter)("early")
    exporter.shutdown()
    assert exporter.stats().dropped == {"shutdown": 1}


def test_an_export_ends_in_time(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """The batch processor's export returns after `delivery_wait`, with its records in the outbox."""
    kafka, way = front
    exporter = exporting(way, token, delivery_wait=0.2)
    assert exporter.export(records(["early"])) is LogRecordExportResult.SUCCESS
    assert exporter.stats().spooled == 1
    token.give()
    until(lambda: exporter.stats().delivered == 1)
    assert arrived(kafka) == ["early"]
    exporter.shutdown()


def living_clients() -> set[Client]:
    """Those of this process that are made or being made, and not closed; other tests may have left some."""
    return {each for each in gc.get_objects() if type(each) is Client and each._thread.is_alive()}


@pytest.mark.parametrize("is_abandoned_by", ["stop", "close", "context"])
def test_a_start_that_timed_out_leaves_no_connection(
    front: tuple[EmbeddedKafka, TokenFront], token: Token, is_abandoned_by: str
) -> None:
    """A start that nobody waits for any more, and a stop: when the start comes about after all, it is closed."""
    _, way = front
    before = living_clients()
    settings: dict[str, Any] = {"producer_config": {**way.properties, "oauth_cb": token}, "start_timeout": 30.0}

    async def main() -> object:
        if is_abandoned_by == "context":
            context = LoggingEventPublisherContext(way.bootstrap_servers, **settings)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(context.__aenter__(), 0.1)
            return context
        publisher = LoggingEventPublisher(way.bootstrap_servers, **settings)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(publisher.start(), 0.1)
        if is_abandoned_by == "stop":
            await publisher.stop()
        else:
            publisher.close()
        return publisher

    kept = asyncio.run(main())
    assert kept
    until(lambda: token.asked)
    token.give()
    until(lambda: way.tokens, what="a connection")
    until(lambda: living_clients() <= before, what="its end")


def test_a_start_after_a_stop_that_came_too_early(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """A start that comes after a stop has its own connection, while the one before it is still being made."""
    kafka, way = front
    before = living_clients()

    async def main() -> None:
        properties = {**way.properties, "oauth_cb": token}
        publisher = LoggingEventPublisher(way.bootstrap_servers, producer_config=properties, start_timeout=30.0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(publisher.start(), 0.1)
        await publisher.stop()
        token.give()
        await publisher.start()
        assert await log(publisher, "one")
        await publisher.stop()

    asyncio.run(main())
    assert arrived(kafka) == ["one"]
    until(lambda: living_clients() <= before, what="the end of both")


CHILD = """
import os, sys
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event

def token(_config):
    sys.stdin.read()  # for ever

processor = KafkaLogRecordProcessor(
    bootstrap_servers=sys.argv[1],
    producer_config={"security.protocol": "sasl_plaintext", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": token},
)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(processor)
set_logger_provider(provider)
emit_audit_event("order.delete", "bob", "order/17", "success")
print("emitted", flush=True)
sys.stdin.read()
"""


def test_a_kill_before_there_is_a_client(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """An event whose emit returned survives a SIGKILL that comes while the client is being made."""
    kafka, way = front
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, way.bootstrap_servers],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "emitted\n"
        child.send_signal(signal.SIGKILL)
    token.give()
    exporter = exporting(way, token)
    logging_by(exporter)("another process")
    until(lambda: len(kafka.messages(AUDIT)) == 1)
    exporter.shutdown()


WITHOUT_THREADS = """
import sys, threading
from opentelemetry.sdk._logs import LoggerProvider
from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor

exporter = KafkaLogExporter(bootstrap_servers=sys.argv[1], outbox=False)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(KafkaLogRecordProcessor(exporter))
threading.stack_size(2**46)  # more than there is: no thread of Python's can be started, as at the interpreter's end
provider.get_logger("shop").emit(body="first")
provider.get_logger("shop").emit(body="second")
provider.shutdown()
sys.exit(0 if exporter.stats().delivered == 2 else repr(exporter.stats()))
"""


def test_where_no_thread_can_be_started() -> None:
    """Whoever waits makes the client then, and what waited for it arrives in its order."""
    with EmbeddedKafka() as kafka:
        command = [sys.executable, "-c", WITHOUT_THREADS, kafka.bootstrap_servers]
        subprocess.run(command, cwd=ROOT, check=True, timeout=60)
        assert arrived(kafka) == ["first", "second"]


AT_EXIT = """
import sys, time
from opentelemetry.sdk._logs import LoggerProvider
from otel_kafka_exporter import KafkaLogRecordProcessor

def token(_config):
    time.sleep(3600)  # the fault itself: no answer

processor = KafkaLogRecordProcessor(
    bootstrap_servers=sys.argv[1],
    producer_config={"security.protocol": "sasl_plaintext", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": token},
    shutdown_timeout=0.2,
)
provider = LoggerProvider()
provider.add_log_record_processor(processor)
provider.get_logger("shop").emit(body="the last words")
"""


def test_a_process_ends_although_no_token_comes(front: tuple[EmbeddedKafka, TokenFront], token: Token) -> None:
    """A callback that hangs does not hang the interpreter's end, and another process delivers what was kept."""
    kafka, way = front
    subprocess.run([sys.executable, "-c", AT_EXIT, way.bootstrap_servers], cwd=ROOT, check=True, timeout=30)
    token.give()
    exporter = exporting(way, token)
    logging_by(exporter)("another process")
    until(lambda: sorted(arrived(kafka)) == ["another process", "the last words"])
    exporter.shutdown()
