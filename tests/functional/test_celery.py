"""Celery's workers as docs/frameworks.md starts them: what tasks say arrives, by whichever way they say it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT
from tests.waiting import until
from tests.ways_in.running import environment

from .greenlets import HAS_GEVENT, needs_gevent
from .pasting import blocks_in_order, section
from .pipelines import TOPIC

AUDIT = "omninode.logging.audit.v1"
PAGE = ROOT / "docs" / "frameworks.md"
COMMANDS = dict(
    re.findall(r"^\| (\w+) \| `(opentelemetry-instrument celery [^`]+)` \|$", PAGE.read_text(), re.MULTILINE)
)
TASKS, SET_UP = (block.text for block in blocks_in_order(section(PAGE, "Celery")))
NUMBERS = range(10)
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
Workers = Callable[[str], EmbeddedKafka]
SEND = f"import tasks\nfor number in {tuple(NUMBERS)}:\n    tasks.read.delay(number)"


def run_tasks(directory: Path, command: str, tasks: str, **variables: str) -> None:
    """Send the tasks, and end the worker at once after the last of them."""
    (directory / "queue").mkdir()
    (directory / "done").mkdir()
    (directory / "celeryconfig.py").write_text(CONFIGURATION)
    (directory / "tasks.py").write_text(f"{tasks}\napp.config_from_object('celeryconfig')\n")
    outbox = str(directory / "outbox")
    environ = environment(**variables, OTEL_EXPORTER_KAFKA_OUTBOX_DIR=outbox, PYTHONFAULTHANDLER="1")
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


def under_opentelemetry_instrument(pool: str, more: str = "") -> Callable[[Path, str], None]:
    def worker(directory: Path, servers: str) -> None:
        variables = {"OTEL_LOGS_EXPORTER": "onex_kafka", "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": servers}
        run_tasks(directory, COMMANDS[pool], TASKS + more, **variables)

    return worker


def set_up_in_code(directory: Path, servers: str) -> None:
    set_up = SET_UP.replace("localhost:9092", servers)
    run_tasks(directory, COMMANDS["prefork"].removeprefix("opentelemetry-instrument "), set_up + TASKS)


WORKERS = {
    **{pool: under_opentelemetry_instrument(pool) for pool in COMMANDS},
    "keeps its handlers": under_opentelemetry_instrument("solo", "\napp.conf.worker_hijack_root_logger = False\n"),
    "set up in code": set_up_in_code,
}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """All of them side by side, for Celery takes seconds to end; gives each one's own Kafka when it has ended."""
    names = [name for name in WORKERS if name != "gevent" or HAS_GEVENT]
    with ExitStack() as stack, ThreadPoolExecutor(len(names)) as pool:
        kafkas = {name: stack.enter_context(EmbeddedKafka()) for name in names}
        ended = {
            name: pool.submit(WORKERS[name], tmp_path_factory.mktemp("worker"), kafka.bootstrap_servers)
            for name, kafka in kafkas.items()
        }

        def after(name: str) -> EmbeddedKafka:
            ended[name].result()
            return kafkas[name]

        yield after


@pytest.mark.parametrize(
    "pool", [pytest.param(pool, marks=needs_gevent if pool == "gevent" else ()) for pool in COMMANDS]
)
def test_a_worker_under_opentelemetry_instrument(workers: Workers, pool: str) -> None:
    """The lines of task loggers, of other loggers and of print arrive, and so do events, whatever the pool."""
    check(workers(pool))


def test_a_worker_that_keeps_its_handlers(workers: Workers) -> None:
    """Each line arrives once, too, where Celery is told to leave the root logger alone."""
    check(workers("keeps its handlers"))


def test_a_worker_set_up_in_code(workers: Workers) -> None:
    """The page's signal receiver gives the same without opentelemetry-instrument."""
    check(workers("set up in code"))


def test_the_page_has_every_pool() -> None:
    """The table is read as it is meant."""
    assert set(COMMANDS) == {"prefork", "threads", "solo", "gevent"}
