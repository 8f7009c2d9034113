"""What a newcomer has to do first, by the pages alone, in environments with what their install lines bring.

Unit tests of a service of one's own are with the README (`test_readme`), a consumer with the examples
(`test_install_lines`).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from otel_kafka_exporter import OnexEnvelopeV1, decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT
from tests.waiting import until
from tests.ways_in.running import environment, run

from .installing import Install, first_on_path, install_lines, shell
from .pasting import Block, blocks_in_order, section, without_packages
from .pipelines import TOPIC
from .test_install_lines import INSTRUMENTED
from .test_servers import LIMIT, answers, free_port

pytestmark = pytest.mark.timeout(400)  # pip may be slow

PAGE = ROOT / "docs" / "frameworks.md"
AUDIT = "omninode.logging.audit.v1"
#: What there are environments for.
LINES = [install_lines(PAGE, title) for title in ("FastAPI", "Django", "Scripts and cron")]
REQUESTS = 20
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def named(blocks: list[Block], directory: Path) -> None:
    """Write the files that blocks name."""
    for block in blocks:
        if block.language == "python" and block.text.startswith("# "):
            (directory / block.text.split("\n")[0].removeprefix("# ")).write_text(block.text)


def values(kafka: EmbeddedKafka, programs: Path, outbox: Path) -> dict[str, str]:
    """The environment of the page, and no more."""
    return {
        **without_packages(environment()),
        **INSTRUMENTED,
        **first_on_path(programs),
        "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": str(outbox),
    }


@contextmanager
def serving(command: str, directory: Path, variables: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server that a command of the page starts, and its port; nothing of it outlives the block."""
    port = free_port()
    words = shlex.split(command.replace("8000", str(port)))
    with subprocess.Popen(words, cwd=directory, env=variables, start_new_session=True) as process:
        try:
            until(lambda: process.poll() is not None or answers(port), LIMIT, what=f"the start of {command}")
            yield process, port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ask(port: int, number: int) -> None:
    """A request of somebody who is in a trace."""
    connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    trace = f"{TRACE_ID[:-2]}{number:02x}"
    connection.request("GET", f"/{number}", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert connection.getresponse().read() == str(number).encode()
    connection.close()


def found(kafka: EmbeddedKafka, topic: str) -> list[OnexEnvelopeV1]:
    return [decode(message.value()) for message in kafka.messages(topic)]


@pytest.mark.parametrize("title", ["FastAPI", "FastAPI with structlog", "Django"])
def test_a_web_service(
    title: str, install: Install, embedded_kafka: EmbeddedKafka, tmp_path: Path, outbox_dir: Path
) -> None:
    """From two workers all arrives, in its traces where spans are made; SIGTERM loses nothing, no secret is seen."""
    blocks = blocks_in_order(section(PAGE, title))
    named(blocks, tmp_path)
    # Newer versions have a socket for their own control, in the user's home directory unless told otherwise.
    (tmp_path / "gunicorn.conf.py").write_text("control_socket_disable = True\n")
    [command] = [
        block.text
        for block in blocks_in_order(section(PAGE, "FastAPI" if "FastAPI" in title else title))
        if block.text.startswith("opentelemetry-instrument ")
    ]
    programs = install(install_lines(PAGE, "FastAPI" if "FastAPI" in title else title))
    if title == "FastAPI with structlog":  # in the same environment, as the page says
        added = shell(install_lines(PAGE, title), tmp_path, **first_on_path(programs))
        assert added.returncode == 0, added.stderr
    variables = values(embedded_kafka, programs, outbox_dir)
    with serving(command, tmp_path, variables) as (process, port):
        for number in range(1, REQUESTS + 1):
            ask(port, number)
        process.send_signal(signal.SIGTERM)  # at once after the last answer
        assert process.wait(LIMIT) in (0, -signal.SIGTERM)
    lines = {number_of(each): each for each in found(embedded_kafka, TOPIC) if each.payload["logger"] == "shop"}
    events = {int(str(each.payload["resource"]).removeprefix("order/")): each for each in found(embedded_kafka, AUDIT)}
    assert set(lines) >= set(events) >= set(range(1, REQUESTS + 1))
    if title != "Django":
        for number in range(1, REQUESTS + 1):
            trace = f"{TRACE_ID[:-2]}{number:02x}"
            assert {each.correlation_id.replace("-", "") for each in (lines[number], events[number])} == {trace}
    sent = b"".join(each.value() or b"" for topic in (TOPIC, AUDIT) for each in embedded_kafka.messages(topic))
    assert b"hunter2" not in sent
    assert (b"[REDACTED]" in sent) is ("structlog" in title)


def number_of(line: OnexEnvelopeV1) -> int:
    """Which order a line is about: its message says so, or a field of structlog's."""
    said = re.search(r"\d+", str(line.payload["message"]))
    return int(said[0]) if said else int(line.payload["context"]["order"])


def test_a_script_that_cron_starts(install: Install, embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The page's crontab line, in an environment as empty as cron's, prints a receipt."""
    page = section(PAGE, "Scripts and cron")
    named(blocks_in_order(page), tmp_path)
    [cron] = re.findall(r"^```text\n\S+ \S+ \S+ \S+ \S+ (.*)\n```", page, re.MULTILINE)
    [variables] = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "kafka.env").write_text(variables.replace("localhost:9092", embedded_kafka.bootstrap_servers))
    (tmp_path / "venv").symlink_to(install(install_lines(PAGE, "Scripts and cron")).parent)
    done = subprocess.run(
        ["/bin/sh", "-c", cron.replace("/srv/shop", str(tmp_path))],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{AUDIT} ")
    [line], [event] = found(embedded_kafka, TOPIC), found(embedded_kafka, AUDIT)
    assert (line.source, line.payload["message"]) == ("nightly", "12 orders archived")
    assert event.payload["action"] == "order.archive"


def instrumented(program: str, kafka: EmbeddedKafka, directory: Path, **variables: str) -> int:
    """Run a program under `opentelemetry-instrument`; its exit code."""
    (directory / "program.py").write_text(program)
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PYTHONPATH": str(directory)}
    command = ["opentelemetry-instrument", "python", str(directory / "program.py")]
    return run(*command, **{**INSTRUMENTED, **servers, **variables}).returncode


def test_a_function_that_is_frozen_after_its_answer(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """What a handler has answered for is in Kafka, though its process ends without a word at once."""
    named(blocks_in_order(section(PAGE, "AWS Lambda and its like")), tmp_path)
    program = """
import os, signal
from handler import handler
for number in range(3):
    assert handler({"order": number}, None) == "done"
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert instrumented(program, embedded_kafka, tmp_path) == -signal.SIGKILL
    assert [each.payload["message"] for each in found(embedded_kafka, TOPIC)] == [
        f"order {n} was read" for n in range(3)
    ]
    assert [each.payload["resource"] for each in found(embedded_kafka, AUDIT)] == [f"order/{n}" for n in range(3)]


LOGS = """
import logging
logging.getLogger("httpx").info("noise")
logging.getLogger("shop").debug("debug")
logging.getLogger("shop").info("info")
logging.getLogger("shop").warning("warning")
"""
BASIC = "import logging\nlogging.basicConfig(level=logging.INFO)\n"


@pytest.mark.parametrize(
    ("before", "variables", "messages"),
    [
        ("", {}, ["warning"]),
        (BASIC, {}, ["noise", "info", "warning"]),
        (f"{BASIC}logging.getLogger('httpx').setLevel(logging.WARNING)\n", {}, ["info", "warning"]),
        (f"{BASIC}logging.getLogger('shop').propagate = False\n", {}, ["noise"]),
        (BASIC, {"OTEL_PYTHON_LOG_HANDLER_LEVEL": "warning"}, ["warning"]),
        ("", {"OTEL_PYTHON_LOG_LEVEL": "debug"}, ["warning"]),
        (
            "",
            {"OTEL_PYTHON_LOG_LEVEL": "debug", "OTEL_PYTHON_LOG_CORRELATION": "true"},
            ["noise", "debug", "info", "warning"],
        ),
        ("FILTER", {}, ["info", "warning"]),
    ],
)
def test_levels_and_filters(
    before: str, variables: dict[str, str], messages: list[str], embedded_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """What the page says drops a line drops it, and nothing else does."""
    [block] = [each.text for each in blocks_in_order(section(PAGE, "Levels and filters"))]
    assert instrumented(before.replace("FILTER", BASIC + block) + LOGS, embedded_kafka, tmp_path, **variables) == 0
    ours = [each.payload for each in found(embedded_kafka, TOPIC) if each.payload["logger"] in ("httpx", "shop")]
    assert [each["message"] for each in ours] == messages


def test_bootstrap_names_the_frameworks_instrumentation(install: Install, tmp_path: Path) -> None:
    """OpenTelemetry's own command prints what makes spans for what is installed."""
    [bootstrap] = [block.text for block in blocks_in_order(section(PAGE, "Trace IDs"))]
    prints, _ = bootstrap.splitlines()
    done = shell(prints, tmp_path, **first_on_path(install(install_lines(PAGE, "FastAPI"))))
    assert done.returncode == 0, done.stderr
    assert "opentelemetry-instrumentation-fastapi==" in done.stdout
