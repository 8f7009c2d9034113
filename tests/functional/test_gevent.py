"""Workers under gevent: what waits for Kafka, the disk or the registry holds up no greenlet, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka

from .greenlets import needs_gevent, resources, working

pytestmark = needs_gevent

#: The thread that flushes collects garbage before it begins with that, and what is finalized there audits.
FINALIZED_WHERE_A_FLUSH_BEGINS = """
import gc, sys
import gevent.monkey
gevent.monkey.patch_all()
import gevent
from opentelemetry import context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.sdk._logs import LoggerProvider
from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event

get_ident = gevent.monkey.get_original("_thread", "get_ident")
main, began = get_ident(), []

class Finalized:
    def __init__(self):
        self.itself = self
    def __del__(self):
        began.append(get_ident())
        audit("finalized")

class Collects(ContextVarsRuntimeContext):
    def attach(self, *arguments):
        if get_ident() != main and garbage:
            garbage.clear()
            gc.collect()
        return super().attach(*arguments)

def audit(resource):
    emit_audit_event("a", "b", resource, "success", logger=logger)

processor = KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", durability="power", delivery_wait=0.1)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(processor)
logger = provider.get_logger("x")
gc.disable()
garbage = []
audit("first")
context._RUNTIME_CONTEXT = Collects()
garbage.append(Finalized())
with gevent.Timeout(20):
    audit("second")
assert began and main not in began, began
provider.shutdown()
print(processor.stats().spooled)
"""


@pytest.mark.parametrize(
    ("way_in", "patches", "durability"),
    [
        ("direct", "before", "process"),
        ("direct", "after", "process"),
        ("direct", "before", "power"),
        ("batch", "before", "process"),
        ("batch", "after", "process"),
    ],
)
def test_greenlets_go_on_while_kafka_is_away(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch, way_in: str, patches: str, durability: str
) -> None:
    """No greenlet stands still while Kafka is away for three seconds, and all events arrive once it is back."""
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DURABILITY", durability)
    with working(embedded_kafka, way_in, patches) as worker:
        worker.do("load", 0.5)
        embedded_kafka.down()
        emitted = worker.do("load", 3).result
        embedded_kafka.up()
        assert worker.do("flush", 30).result
        assert worker.do("settle", 30).result
        worker.do("shutdown")
        worker.end()
    assert resources(embedded_kafka) == list(range(1, emitted + 1))


def test_a_greenlet_that_waits_lets_the_others_go_on(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a receipt, a flush or a shutdown while nothing is acknowledged holds up nobody but itself."""
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DELIVERY_WAIT", "60")
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_SHUTDOWN_TIMEOUT", "1.5")
    with working(embedded_kafka) as worker:
        assert worker.do("receipt", 30).result
        embedded_kafka.down()
        for command, seconds in (("receipt", 1.5), ("flush", 1.5), ("shutdown", 0)):
            said = worker.do(command, seconds)
            assert not said.result
            assert said.took > 1
        worker.end()


def test_an_export_that_waits_lets_other_greenlets_go_on(embedded_kafka: EmbeddedKafka) -> None:
    """A batch of which nothing is acknowledged for `delivery_wait` holds up nobody but its own worker."""
    with working(embedded_kafka, "batch") as worker:
        assert worker.do("receipt", 30).result
        embedded_kafka.down()
        worker.do("load", 0.1)
        assert worker.do("flush", 30).took > 1
        worker.do("shutdown")
        worker.end()


def test_greenlets_share_a_slow_disk(embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a disk takes two seconds for a flush, other greenlets go on, and what they write shares the next one."""
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DURABILITY", "power")
    with working(embedded_kafka) as worker:
        assert worker.do("receipt", 30).result
        said = worker.do("slow disk", 2)
        assert said.took > 2
        # The first one's, that of the other nine, and what the background thread flushes each second.
        assert said.result <= 5
        worker.do("shutdown")
        worker.end()
    assert resources(embedded_kafka) == list(range(1, 12))


def test_what_is_finalized_where_a_flush_begins_waits_for_nobody() -> None:
    """The thread that is about to flush for a greenlet does so, though a finalizer in it waits for a flush first."""
    ended = subprocess.run(
        [sys.executable, "-c", FINALIZED_WHERE_A_FLUSH_BEGINS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "3\n"), ended.stderr


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "away"])
def test_a_publisher_in_a_greenlet(embedded_kafka: EmbeddedKafka, *, is_there: bool) -> None:
    """A publisher starts, publishes and stops on an event loop in a greenlet, and holds up no other one."""
    if not is_there:
        embedded_kafka.down()
    with working(embedded_kafka) as worker:
        assert worker.do("publish", 3).result == [True, True]
        worker.do("shutdown")
        worker.end()


def test_a_slow_registry_holds_up_no_greenlet(embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a Schema Registry takes two seconds for its answer, greenlets go on; then what waited is framed."""
    with slow_registry(2.0) as url:
        monkeypatch.setenv("OTEL_EXPORTER_KAFKA_ENCODING", "protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL", url)
        with working(embedded_kafka) as worker:
            emitted = worker.do("load", 1).result
            assert worker.do("settle", 30).result
            worker.do("shutdown")
            worker.end()
    assert resources(embedded_kafka) == list(range(1, emitted + 1))


@contextmanager
def slow_registry(seconds: float) -> Iterator[str]:
    """A Schema Registry that knows every schema; its URL."""

    class Registry(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            Event().wait(seconds)  # what this is about
            answer = json.dumps({"subject": "s", "id": 7, "version": 1, "schema": "", "schemaType": "PROTOBUF"})
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
