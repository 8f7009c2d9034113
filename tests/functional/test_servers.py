"""The servers of docs/frameworks.md: each row's command, real requests, and SIGTERM at once after the last answer."""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from otel_kafka_exporter import OnexEnvelopeV1, decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT
from tests.waiting import until
from tests.ways_in.running import INSTRUMENT, app, environment, run

from .pasting import blocks_in_order, section
from .pipelines import TOPIC

AUDIT = "omninode.logging.audit.v1"
PAGE = ROOT / "docs" / "frameworks.md"
ROW = re.compile(
    r"^\| (?P<name>[^|]+) \| (?P<kind>ASGI|WSGI) \| `(?P<command>[^`]+)` \| (`(?P<logger>[^`]+)`|none of Python's) \|",
    re.MULTILINE,
)
ROWS = {match["name"]: match for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
REQUESTS = 20
LIMIT = 60  # seconds; far more than anything here takes
#: What a command needs besides its own name's module.
NEEDS = {
    "uvicorn_worker.UvicornWorker": "uvicorn_worker",
    "gevent": "gevent",
    "fastapi": "fastapi_cli",
    "uwsgi": "pyuwsgi",
}

ASGI, WSGI, HYPERCORN = (block.text for block in blocks_in_order(section(PAGE, "Servers")))
[LIFESPAN] = (block.text for block in blocks_in_order(section(PAGE, "Set-up in code, behind the batch processor")))
[HANDLER] = (block.text for block in blocks_in_order(section(PAGE, "Programs without a server")))


class Server:
    """A server in a process of its own, in a directory of its own."""

    def __init__(self, directory: Path, service: str, variables: Mapping[str, str]) -> None:
        self._directory = directory
        self._output = directory / "output.txt"
        self._environment = environment(**variables, PYTHONFAULTHANDLER="1")
        (directory / "shop.py").write_text(service)
        (directory / "hypercorn_settings.py").write_text(HYPERCORN)
        # Newer versions have a socket for their own control, in the user's home directory unless told otherwise.
        (directory / "gunicorn.conf.py").write_text("control_socket_disable = True\n")

    @contextmanager
    def running(self, command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """It, and its port, once it answers; nothing that it started outlives the block."""
        port = free_port()
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                shlex.split(command.replace("8000", str(port))),
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            until(lambda: process.poll() is not None or answers(port), LIMIT, what=f"the start of {command}")
            assert process.poll() is None, self.output()
            if "granian" in command:  # by itself, it does not hear of SIGTERM for a worker that is starting
                workers = 2 if "--workers 2" in command else 1
                until(lambda: self.output().count("Started worker-") == workers, LIMIT, what="the start of all workers")
            yield process, port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def output(self) -> str:
        return self._output.read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with suppress(OSError):
        get(port, 0)
        return True
    return False


def get(port: int, number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request("GET", f"/{number}")
        assert connection.getresponse().read() == str(number).encode()
    finally:
        connection.close()


def ask_and_end(server: Server, command: str) -> None:
    """Ask for each number, and end the server at once after the last answer."""
    with server.running(command) as (process, port):
        for number in range(1, REQUESTS + 1):
            get(port, number)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) in (0, -signal.SIGTERM), server.output()
    assert "otel_kafka_exporter" not in server.output()  # nor in a traceback


def found(kafka: EmbeddedKafka, topic: str) -> list[OnexEnvelopeV1]:
    return [decode(message.value()) for message in kafka.messages(topic)]


def check(kafka: EmbeddedKafka, server: Server) -> None:
    """What the service said of each request is in Kafka once, as a line and as an event."""
    lines = [line.payload["message"] for line in found(kafka, TOPIC) if line.payload["logger"] == "shop"]
    assert sorted(lines) == sorted(f"order {number} was read" for number in range(REQUESTS + 1)), server.output()
    events = [event.payload["resource"] for event in found(kafka, AUDIT)]
    assert sorted(events) == sorted(f"order/{number}" for number in range(REQUESTS + 1)), server.output()


def test_the_page_has_rows() -> None:
    """The table on the page is read as it is meant: each of its rows is a test."""
    table = PAGE.read_text(encoding="utf-8").split("## Servers")[1].split("\n\n")[1]
    assert len(ROWS) == len(table.splitlines()) - 2


@pytest.mark.parametrize("name", ROWS)
def test_a_server_ends_without_losing_its_last_requests(
    name: str, embedded_kafka: EmbeddedKafka, tmp_path: Path, outbox_dir: Path
) -> None:
    """Lines, events and the access log of every request arrive, though SIGTERM comes at once after the last answer."""
    row = ROWS[name]
    words = row["command"].split()
    for module in (words[1], *filter(None, map(NEEDS.get, words))):
        if importlib.util.find_spec(NEEDS.get(module, module)) is None:
            pytest.skip(f"{module} is not installed: it has no wheel for this Python")
    variables = {
        "OTEL_LOGS_EXPORTER": "onex_kafka",
        "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers,
        "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": str(outbox_dir),
    }
    server = Server(tmp_path, ASGI if row["kind"] == "ASGI" else WSGI, variables)
    ask_and_end(server, row["command"])
    check(embedded_kafka, server)
    if row["logger"] is None:
        return
    access = [line for line in found(embedded_kafka, TOPIC) if line.payload["logger"] == row["logger"]]
    assert len(access) == REQUESTS + 1


def test_a_lifespan_empties_the_batch_processor(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The page's service behind the batch processor has all its lines and events in Kafka when uvicorn has ended."""
    service = LIFESPAN.replace("localhost:9092", embedded_kafka.bootstrap_servers)
    server = Server(tmp_path, service, {"OTEL_BLRP_SCHEDULE_DELAY": "60000"})  # the queue is not emptied before the end
    ask_and_end(server, "uvicorn --port 8000 --workers 2 shop:app")
    check(embedded_kafka, server)


def say_and_end(directory: Path, kafka: EmbeddedKafka, lines_before: str, **variables: str) -> int:
    """Run the program that only logs, with these lines before its own, and end it at once; its exit code."""
    variables["OTEL_LOGS_EXPORTER"] = "onex_kafka"
    variables["OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
    program = directory / "loop.py"
    program.write_text(lines_before + Path(app("loop")).read_text())
    command = [INSTRUMENT, sys.executable, str(program)]
    with subprocess.Popen(command, env=environment(**variables), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "said\n"
            process.terminate()
            return process.wait(LIMIT)
        finally:
            process.kill()


def said(kafka: EmbeddedKafka) -> tuple[list[str], list[str]]:
    """The lines and the events of the program that are in Kafka."""
    lines = [line.payload["message"] for line in found(kafka, TOPIC)]
    return sorted(lines), sorted(event.payload["resource"] for event in found(kafka, AUDIT))


LINES = [f"order {number} was read" for number in range(6)]
EVENTS = [f"order/{number}" for number in range(6)]


def test_a_program_that_ends_by_a_handler_loses_nothing(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """With the page's two lines everything is in Kafka when the program has ended, though SIGTERM comes at once."""
    assert say_and_end(tmp_path, embedded_kafka, HANDLER) == 0
    assert said(embedded_kafka) == (LINES, EVENTS)


@pytest.mark.parametrize("durable", ["audit,security", "all"])
def test_what_is_durable_outlives_a_program_without_a_handler(
    embedded_kafka: EmbeddedKafka, tmp_path: Path, durable: str
) -> None:
    """SIGTERM in the middle of everything costs no event, and no line where those are durable too."""
    assert say_and_end(tmp_path, embedded_kafka, "", OTEL_EXPORTER_KAFKA_DURABLE=durable) == -signal.SIGTERM
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    drained = run(str(Path(sys.executable).with_name("otel-kafka")), "outbox", "drain", **servers)
    assert drained.returncode == 0, drained.stderr
    lines, events = said(embedded_kafka)
    assert events == EVENTS
    if durable == "all":
        assert lines == LINES
