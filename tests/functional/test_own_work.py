"""What libraries log of the exporter's own work: it is no record, and it has no password in it."""

from __future__ import annotations

import base64
import gc
import json
import logging
import signal
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor, decode, emit_audit_event
from otel_kafka_exporter.process import OWN_TRACE_ID, OsThread, own_work
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC, arrived, records, settled
from tests.waiting import until

PASSWORD = "hunter2-5e1d"


class Registry:
    """A Schema Registry that fails until it is well, and then knows every schema.

    Attributes:
        requests: the header `Authorization` of each request.
        is_well: whether it answers.
    """

    def __init__(self) -> None:
        self.requests: list[str | None] = []
        self.is_well = False

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                registry.requests.append(self.headers["Authorization"])
                known = {"subject": "s", "id": 7, "version": 1, "schema": "", "schemaType": "PROTOBUF"}
                answer = json.dumps(known if registry.is_well else {"error_code": 50001, "message": "no"})
                self.send_response(200 if registry.is_well else 500)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()


class Lines(logging.Handler):
    """All that is logged, as an application's console would have it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@contextmanager
def logging_to(exporter: KafkaLogExporter, *, direct: bool) -> Iterator[tuple[LoggerProvider, list[str]]]:
    """Everything that any library logs goes to the exporter; the provider, and the lines."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(
        KafkaLogRecordProcessor(exporter) if direct else BatchLogRecordProcessor(exporter, schedule_delay_millis=20)
    )
    root, console, handler = logging.getLogger(), Lines(), LoggingHandler(logger_provider=provider)
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(console)
    root.addHandler(handler)
    try:
        yield provider, console.lines
    finally:
        root.removeHandler(handler)
        root.removeHandler(console)
        root.setLevel(level)
        provider.shutdown()


@pytest.mark.parametrize("direct", [False, True], ids=["batch", "direct"])
def test_a_registry_that_fails_is_no_reason_for_records(
    direct: Any, embedded_kafka: EmbeddedKafka, outbox_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One application line stays one record however often a registry is asked, and its URL's password is nowhere."""
    registry = Registry()
    with registry.serving() as address:
        settings: dict[str, Any] = {
            "encoding": "protobuf",
            "schema_registry_url": f"http://svc:{PASSWORD}%2F@{address}",
            "delivery_wait": 0.1,
        }
        exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, **settings)
        with logging_to(exporter, direct=direct) as (provider, lines):
            logging.getLogger("shop").warning("one")
            until(lambda: len(registry.requests) >= 4)
            until(lambda: len([line for line in lines if "HTTP Request: POST" in line]) >= 3)  # the client's own lines
            provider.force_flush(100)
            assert exporter.stats().accepted == 1
            kept = b"".join(path.read_bytes() for path in outbox_dir.rglob("*") if path.is_file())
            assert b"one" in kept
            registry.is_well = True
            until(lambda: settled(exporter))
    assert arrived(embedded_kafka) == ["one"]
    [message] = embedded_kafka.messages(TOPIC)
    shown = "\n".join(lines).encode() + capfd.readouterr().err.encode() + kept + (message.value() or b"")
    assert PASSWORD.encode() not in shown
    assert set(registry.requests) == {"Basic " + base64.b64encode(f"svc:{PASSWORD}/".encode()).decode()}


def test_what_a_callback_of_the_configuration_logs_is_no_record(embedded_kafka: EmbeddedKafka) -> None:
    """A callback of librdkafka's works for the exporter: what it logs is heard, and makes no record."""

    def statistics(_json: str) -> None:
        logging.getLogger("statistics").warning("here they are")

    properties = {"statistics.interval.ms": 5, "stats_cb": statistics}
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, producer_config=properties)
    with logging_to(exporter, direct=False) as (provider, lines):
        logging.getLogger("shop").warning("one")
        until(lambda: any("here they are" in line for line in lines))
        provider.force_flush()
        assert exporter.stats().accepted == 1
    assert arrived(embedded_kafka) == ["one"]


def test_an_event_in_the_middle_of_our_work_is_none_of_ours(embedded_kafka: EmbeddedKafka) -> None:
    """A signal handler or a finalizer that audits is the application: its event arrives, with no trace of ours."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=embedded_kafka.bootstrap_servers))
    with own_work():
        emit_audit_event("order.delete", "bob", "order/17", "success", logger=provider.get_logger("shop"))
    provider.shutdown()
    [message] = embedded_kafka.messages("omninode.logging.audit.v1")
    envelope = decode(message.value())
    assert envelope.payload["actor"] == "bob"
    assert UUID(envelope.correlation_id).int != OWN_TRACE_ID


class Finalized:
    """Logs when it goes."""

    def __del__(self) -> None:
        _log("finalizer")


def _log(line: str) -> None:
    logging.getLogger("shop").warning(line)


def _told_by_the_collector(phase: str, _info: dict[str, int]) -> None:
    if phase == "stop":
        _log("collector")


def by_a_reference_that_is_gone() -> None:
    Finalized()


def by_the_garbage_collector() -> None:
    found: Any = Finalized()
    found.itself = found
    del found
    gc.collect()


def by_weakref_finalize() -> None:
    class Watched:
        """May be referred to weakly."""

    watched = Watched()
    weakref.finalize(watched, _log, "finalizer")
    del watched


def by_a_callback_of_the_collector() -> None:
    gc.callbacks.append(_told_by_the_collector)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(_told_by_the_collector)


def by_a_signal_handler() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: _log("handler"))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


INTERRUPTIONS = [
    by_a_reference_that_is_gone,
    by_the_garbage_collector,
    by_weakref_finalize,
    by_a_callback_of_the_collector,
    by_a_signal_handler,
]


@pytest.mark.parametrize("direct", [False, True], ids=["batch", "direct"])
@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_a_line_in_the_middle_of_our_work_is_the_applications(
    interrupt: Any, direct: Any, embedded_kafka: EmbeddedKafka
) -> None:
    """What the interpreter runs there is none of it: its line arrives, in the trace that the work has interrupted."""
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    trace = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False))
    with logging_to(exporter, direct=direct) as (provider, lines), use_span(trace):
        with own_work():
            _log("of our own")
            interrupt()
        provider.force_flush()
        assert len([line for line in lines if line.startswith("shop")]) == 2
    [message] = embedded_kafka.messages(TOPIC)
    assert UUID(decode(message.value()).correlation_id).int == 0xABC
    assert exporter.stats().accepted == exporter.stats().delivered == 1


def test_our_work_in_the_middle_of_a_finalizer(embedded_kafka: EmbeddedKafka) -> None:
    """A finalizer may have us work: what is logged of that is ours, for all that there is a finalizer around it."""

    class Working:
        def __del__(self) -> None:
            with own_work():
                _log("of our own")

    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    with logging_to(exporter, direct=True) as (_, lines):
        with own_work():
            Working()
        assert "shop: of our own" in lines
    assert exporter.stats().accepted == 0


def test_our_threads_work_for_us(embedded_kafka: EmbeddedKafka) -> None:
    """What is logged on a thread of ours is no record, but for what interrupts it there."""

    def work() -> None:
        _log("of our own")
        by_a_reference_that_is_gone()

    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    with logging_to(exporter, direct=True) as (provider, _):
        thread = OsThread(work)
        thread.start()
        thread.join()
        provider.force_flush()
    assert arrived(embedded_kafka) == ["finalizer"]
    assert exporter.stats().accepted == 1


def test_a_token_callback_is_our_work(embedded_kafka: EmbeddedKafka) -> None:
    """What it logs is heard, and makes no record; an event that it emits is the application's, and is sent."""
    provider = LoggerProvider(shutdown_on_exit=False)

    def token(_config: str) -> tuple[str, float]:
        logging.getLogger("tokens").warning("asking for one")
        emit_audit_event("token.issue", "shop", "token", "success", logger=provider.get_logger("tokens"))
        return "token", time.time() + 3600

    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": token,
    }
    asking = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, producer_config=properties)
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    provider.add_log_record_processor(KafkaLogRecordProcessor(exporter))
    with logging_to(exporter, direct=True) as (_, lines):
        logging.getLogger("shop").warning("one")
        asking.export(records(["asks for a token"]))
        assert "tokens: asking for one" in lines
        asking.shutdown()
    until(lambda: settled(exporter))
    assert arrived(embedded_kafka) == ["one"]
    audited = [decode(each.value()) for each in embedded_kafka.messages("omninode.logging.audit.v1")]
    assert {each.payload["action"] for each in audited} == {"token.issue"}
