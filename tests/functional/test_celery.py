"""Celery's workers as docs/frameworks.md starts them: what tasks say arrives, by whichever way they say it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT
from tests.waiting import until
from tests.ways_in.running import environment

from .greenlets import needs_eventlet, needs_gevent
from .pasting import blocks_in_order, section
from .pipelines import TOPIC

AUDIT = "omninode.logging.audit.v1"
PAGE = ROOT / "docs" / "frameworks.md"
COMMANDS = dict(
    re.findall(r"^\| (\w+) \| `(opentelemetry-instrument celery [^`]+)` \|$", PAGE.read_text(), re.MULTILINE)
)
TASKS, SET_UP = (block.text for block in blocks_in_order(section(PAGE, "Celery")))
NUMBERS = range(10)
NEEDED = {"gevent": needs_gevent, "eventlet": needs_eventlet}
LIMIT = 60  # seconds; far more than anything here takes

#: The broker is a directory, and results are files in another.
CONFIGURATION = """
broker_url = "filesystem://"
broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "queue/control",
                            "polling_interval": 0.05}
result_backend = "file://done"
worker_enable_remote_control = False
"""
#: No waiting for other workers at the start.
QUICK = ("--without-gossip", "--without-mingle", "--without-heartbeat")
SEND = f"import tasks\nfor number in {tuple(NUMBERS)}:\n    tasks.read.delay(number)"


def run_tasks(directory: Path, command: str, tasks: str, **variables: str) -> None:
    """Send the tasks, and end the worker at once after the last of them."""
    (directory / "queue").mkdir()
    (directory / "done").mkdir()
    (directory / "celeryconfig.py").write_text(CONFIGURATION)
    (directory / "tasks.py").write_text(f"{tasks}\napp.config_from_object('celeryconfig')\n")
    environ = environment(**variables, PYTHONFAULTHANDLER="1")
    subprocess.run([sys.executable, "-c", SEND], cwd=directory, env=environ, timeout=LIMIT, check=True)
    words = [*shlex.split(command), *QUICK]
    output = directory / "output.txt"
    with output.open("wb") as file:
        worker = subprocess.Popen(words, cwd=directory, env=environ, stdout=file, stderr=file, start_new_session=True)
    try:
        done = directory / "done"
        until(lambda: worker.poll() is not None or len(list(done.iterdir())) == len(NUMBERS), LIMIT, "the last task")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LIMIT) == 0, output.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    assert "otel_kafka_exporter" not in output.read_text()  # nor in a traceback


def check(kafka: EmbeddedKafka) -> None:
    """What each task said is in Kafka once, and that it has succeeded."""
    payloads = [decode(message.value()).payload for message in kafka.messages(TOPIC)]
    said = Counter((payload["logger"], payload["message"]) for payload in payloads)
    for number in NUMBERS:
        assert said["tasks", f"order {number} was read"] == 1
        assert said["shop", f"order {number} is on its way"] == 1
        assert said["celery.redirected", f"order {number} is printed"] == 1
    assert sum(logger == "celery.app.trace" and "succeeded" in text for logger, text in said) == len(NUMBERS)
    events = [decode(message.value()).payload["resource"] for message in kafka.messages(AUDIT)]
    assert sorted(events) == [f"order/{number}" for number in NUMBERS]


@pytest.mark.parametrize("pool", [pytest.param(pool, marks=NEEDED.get(pool, ())) for pool in COMMANDS])
def test_a_worker_under_opentelemetry_instrument(embedded_kafka: EmbeddedKafka, tmp_path: Path, pool: str) -> None:
    """The lines of task loggers, of other loggers and of print arrive, and so do events, whatever the pool."""
    variables = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    run_tasks(tmp_path, COMMANDS[pool], TASKS, OTEL_LOGS_EXPORTER="onex_kafka", **variables)
    check(embedded_kafka)


def test_a_worker_that_keeps_its_handlers(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Each line arrives once, too, where Celery is told to leave the root logger alone."""
    variables = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    tasks = f"{TASKS}\napp.conf.worker_hijack_root_logger = False\n"
    run_tasks(tmp_path, COMMANDS["solo"], tasks, OTEL_LOGS_EXPORTER="onex_kafka", **variables)
    check(embedded_kafka)


def test_a_worker_set_up_in_code(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The page's signal receiver gives the same without opentelemetry-instrument."""
    set_up = SET_UP.replace("localhost:9092", embedded_kafka.bootstrap_servers)
    command = COMMANDS["prefork"].removeprefix("opentelemetry-instrument ")
    run_tasks(tmp_path, command, set_up + TASKS)
    check(embedded_kafka)


def test_the_page_has_every_pool() -> None:
    """The table is read as it is meant."""
    assert set(COMMANDS) == {"prefork", "threads", "solo", "gevent", "eventlet"}
