"""Services that fork, or start processes, without a hook of their own: what each process says arrives, once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT

from .greenlets import HAS_GEVENT, needs_gevent
from .pipelines import TOPIC

APPS = "tests.functional.fork_apps"
AUDIT = "omninode.logging.audit.v1"
LIMIT = 60  # seconds; far more than anything here takes
EACH_PARENT = ["starts", *(f"goes on {n}" for n in range(20))]

WAYS_IN = ["batch", "direct"]
every_way_in = pytest.mark.parametrize("way_in", WAYS_IN)


class Service:
    """One service: where its processes find Kafka, what they wrote to stdout and stderr, what they said in Kafka."""

    def __init__(self, kafka: EmbeddedKafka, directory: Path, way_in: str) -> None:
        self._kafka = kafka
        self._output = directory / "output.txt"
        self._output.touch()
        self.queue, self.done = directory / "queue", directory / "done"
        self.queue.mkdir()
        self.done.mkdir()
        meeting = directory / "meeting"
        os.mkfifo(meeting)
        dropped = ("OTEL_", "KAFKA_", "TENANT_", "CELERY", "GUNICORN")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | {
            "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": str(directory / "outbox"),
            # The embedded broker keeps 5 MiB of a partition: the records are spread over several.
            "OTEL_EXPORTER_KAFKA_APPLICATION_KEY": "correlation_id",
            # On a busy machine nothing is taken back, to be sent once more, while it is on its way.
            "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT": "30",
            "OTEL_EXPORTER_KAFKA_SHUTDOWN_TIMEOUT": "30",
            "PYTHONFAULTHANDLER": "1",  # what hangs and is aborted says where
            "WAY_IN": way_in,
            "QUEUE": str(self.queue),
            "MEETING": str(meeting),
        }

    @contextmanager
    def running(self, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
        """Python with these arguments; neither it nor a process that it started outlives the block."""
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self.environment,
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, *arguments: str) -> int:
        """Run to the end; the number of the process."""
        with self.running(*arguments) as process:
            self.check_end(process)
        return process.pid

    def check_end(self, process: subprocess.Popen[bytes]) -> None:
        """The process ends well, and neither it nor its children had anything to complain of."""
        try:
            assert process.wait(LIMIT) == 0, self.output()
        except subprocess.TimeoutExpired:
            pytest.fail(f"did not end within {LIMIT} s:\n{self.output()}")
        assert "otel_kafka_exporter/" not in self.output()  # nor in a traceback

    def output(self) -> str:
        return self._output.read_text()

    def check(self, expected: Iterable[str]) -> None:
        """What was said is in Kafka, as a record and as an event, each once and nothing else."""
        for topic, field in ((TOPIC, "message"), (AUDIT, "resource")):
            found = [decode(message.value()).payload[field] for message in self._kafka.messages(topic)]
            assert sorted(found) == sorted(expected), self.output()


@pytest.fixture
def service(embedded_kafka: EmbeddedKafka, tmp_path: Path, way_in: str) -> Service:
    return Service(embedded_kafka, tmp_path, way_in)


@every_way_in
@pytest.mark.parametrize("worker_class", ["sync", pytest.param("gevent", marks=needs_gevent)])
@pytest.mark.parametrize("preload", [False, True], ids=["workers import", "preload"])
def test_gunicorn(service: Service, worker_class: str, *, preload: bool) -> None:
    """What a master and two workers say arrives once, be it that of the last request before a SIGTERM."""
    requests = 40
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(4) as pool:
        arguments = ["--bind", f"fd://{listening.fileno()}", "--workers", "2", "--timeout", "0"]
        arguments += ["--worker-class", worker_class]
        arguments += ["--preload"] * preload
        # Newer versions have a socket for their own control, in the user's home directory unless told otherwise.
        (service.queue / "gunicorn.conf.py").write_text("control_socket_disable = True")
        arguments += ["--config", str(service.queue / "gunicorn.conf.py")]
        with service.running("-m", "gunicorn", *arguments, f"{APPS}.web:app", pass_fds=(listening.fileno(),)) as master:
            port = listening.getsockname()[1]
            workers = set(pool.map(lambda n: get(port, n), range(requests)))
            master.terminate()
            service.check_end(master)
    assert len(workers) == 2
    importing = {master.pid} if preload else workers
    service.check(
        [f"request {n}" for n in range(requests)] + [f"{pid} {text}" for pid in importing for text in EACH_PARENT]
    )


def get(port: int, number: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request("GET", f"/{number}")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def run_celery(service: Service, celery_pool: str) -> None:
    if celery_pool == "gevent":
        del service.environment["MEETING"]  # a single process, which would wait for itself
    # Celery's processes end a second after their last task: what is sent within that was flushed.
    service.environment["OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG"] = "linger.ms=20000"
    tasks = 20
    sender = service.run("-m", f"{APPS}.tasks", str(tasks))
    options = ["--pool", celery_pool, "--concurrency", "2"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with service.running("-m", "celery", "--app", f"{APPS}.tasks", "worker", *options) as worker:
        wait_until(lambda: len(list(service.done.iterdir())) == tasks, service.output)
        worker.terminate()
        service.check_end(worker)
    service.check(
        [f"task {n}" for n in range(tasks)] + [f"{pid} {text}" for pid in (sender, worker.pid) for text in EACH_PARENT]
    )


@pytest.fixture(scope="module")
def celery_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], None]]:
    """All of them side by side, for Celery takes seconds to end; called, it tells what has become of one."""
    workers = [(way_in, pool) for way_in in WAYS_IN for pool in ("prefork", "gevent") if pool != "gevent" or HAS_GEVENT]
    with ExitStack() as stack, ThreadPoolExecutor(len(workers)) as threads:
        services = [
            Service(stack.enter_context(EmbeddedKafka()), tmp_path_factory.mktemp("celery"), way_in)
            for way_in, _ in workers
        ]
        ended = {
            worker: threads.submit(run_celery, service, worker[1])
            for worker, service in zip(workers, services, strict=True)
        }
        yield lambda way_in, pool: ended[way_in, pool].result()


@every_way_in
@pytest.mark.parametrize("celery_pool", ["prefork", pytest.param("gevent", marks=needs_gevent)])
def test_celery(celery_workers: Callable[[str, str], None], way_in: str, celery_pool: str) -> None:
    """What a worker, its processes if it has any, and their tasks say arrives once, be it that of the last task."""
    celery_workers(way_in, celery_pool)


@every_way_in
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(service: Service, method: str) -> None:
    """What processes and a pool's processes say arrives once, however they are started."""
    service.run("-m", f"{APPS}.processes", method)
    said = [f"process {number} says {n}" for number in range(2) for n in range(5)]
    said += [f"pool {number} says {n}" for number in range(6) for n in range(5)]
    said += ["imported"] * (1 if method == "fork" else 5)
    service.check([*said, "the parent starts", "the parent goes on", "the parent ends"])


@every_way_in
@pytest.mark.parametrize("ending", ["force_flush", "shutdown"])
def test_forks_in_the_middle_of_traffic(service: Service, ending: str) -> None:
    """Four threads talk while their process is forked: theirs arrives once, each child's too, and every child ends."""
    service.run("-m", f"{APPS}.forks", ending)
    counts = next(line for line in service.output().splitlines() if line[:1].isdigit()).split()
    said = [f"thread {thread} says {n}" for thread, count in enumerate(counts) for n in range(int(count))]
    said += [f"child {number} says {n}" for number in range(12) for n in range(3)]
    service.check([*said, "the parent starts"])


def wait_until(condition: Callable[[], bool], failure: Callable[[], str]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, failure()
        time.sleep(0.01)  # between two looks, up to the deadline: what is waited for is in other processes


def test_a_child_of_a_fork_that_python_was_not_told_of_begins_anew(
    embedded_kafka: EmbeddedKafka, outbox_dir: Path
) -> None:
    """As a server in C forks its workers: parent and child deliver what is theirs, once, and receipts come."""
    app = Path(__file__).parent / "apps" / "c_fork.py"
    command = [sys.executable, str(app), embedded_kafka.bootstrap_servers]
    environment = os.environ | {"OTEL_EXPORTER_KAFKA_OUTBOX_DIR": str(outbox_dir)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert run.returncode == 0, run.stderr
    said = {each["who"]: each for each in map(json.loads, run.stdout.splitlines())}
    assert said["parent"]["accepted"] == said["parent"]["delivered"] == 20 + 20 + 1
    assert said["child"]["accepted"] == said["child"]["delivered"] == 20 + 1
    lines = [decode(message.value()).payload["message"] for message in embedded_kafka.messages(TOPIC)]
    assert sorted(lines) == sorted(
        [
            *(f"parent says {number}" for number in range(20)),
            *(f"{who} goes on {number}" for who in ("parent", "child") for number in range(20)),
        ]
    )
    events = [decode(message.value()).payload["actor"] for message in embedded_kafka.messages(AUDIT)]
    assert sorted(events) == ["child", "parent"]
