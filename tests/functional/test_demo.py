"""`otel-kafka` as a user runs it: in a process of its own, its output in a pipe."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_kafka_exporter import __version__
from otel_kafka_exporter.cli.demo.reader import EnvelopeReader
from otel_kafka_exporter.testing import EmbeddedKafka

COMMAND = str(Path(sys.executable).with_name("otel-kafka"))
RECORD = re.compile(r"[\d:]{8}  (DEBUG|INFO|WARN|ERROR|audit|security) +demo-shop +(\S.*\S) +[0-9a-f]{8}")
LIMIT = 20


def environment(**variables: str) -> dict[str, str]:
    """The environment without what would change the output or the pipeline."""
    dropped = ("OTEL_", "KAFKA_", "FORCE_COLOR", "TTY_", "NO_COLOR")
    kept = "OTEL_EXPORTER_KAFKA_OUTBOX_DIR"  # no test writes into its user's own
    inherited = {name: value for name, value in os.environ.items() if name == kept or not name.startswith(dropped)}
    return inherited | variables


def otel_kafka(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@contextmanager
def running_demo(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, from the moment when its service has answered a request; its temporary files go into `directory`."""
    with subprocess.Popen(
        [COMMAND, "demo"],
        env=environment(TMPDIR=str(directory)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("> ") for line in process.stdout)
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    """The processes that a process has started: the service, and nothing else."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():
        pytest.skip("needs /proc to see which processes there are")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def wait_until_gone(pids: list[int]) -> None:
    """Until no process has one of these numbers, not even as a zombie; it is init that reaps an orphan."""
    deadline = time.monotonic() + 5
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.01)  # between two looks, up to the deadline: an orphan's end cannot be waited for


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def check_shown(done: subprocess.CompletedProcess[str]) -> None:
    """All is there: a line for each record, one envelope of each category, and the accounting."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    records = [match for line in lines if (match := RECORD.fullmatch(line))]
    assert len(records) == sum(line[:1].isdigit() and ":" in line for line in lines)
    assert {match[1] for match in records} == {"INFO", "WARN", "ERROR", "audit", "security"}
    messages = [match[2] for match in records]
    for expected in (
        "order placed: difference engine",
        "payment failed",
        "ada user.login shop success",
        "mallory permission_check /admin deny",
        "root permission_check /admin allow",
    ):
        assert expected in messages
    for category in ("application", "audit", "security"):
        assert done.stdout.count(f'"event_type": "omninode.logging.{category}.v1"') == 1
        [[emitted, arrived, lost]] = [line.split()[1:] for line in lines if line.startswith(f"{category} ")]
        assert emitted == arrived != "0"
        assert lost == "0"
    assert "ada@example.com" not in done.stdout
    assert f"{len(records)} emitted, {len(records)} arrived, lost 0" in done.stdout


def test_the_demo_shows_every_record_and_loses_none() -> None:
    """The demo runs a service, shows what arrives in Kafka and accounts for it, within 20 seconds."""
    check_shown(otel_kafka("demo"))


def test_what_the_environment_says_to_opentelemetry_does_not_matter() -> None:
    """Settings that are meant for another service, or for another Kafka, make no other demo."""
    check_shown(
        otel_kafka(
            "demo",
            OTEL_SDK_DISABLED="true",
            OTEL_LOGS_EXPORTER="none",
            OTEL_EXPORTER_KAFKA_TOPIC_PREFIX="dev.",
            OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG="security.protocol=SASL_SSL",
            KAFKA_BOOTSTRAP_SERVERS="no.such.host:9092",
            TENANT_ID="another",
            FLASK_DEBUG="1",
            http_proxy="http://127.0.0.1:1",
        )
    )


def test_with_a_kafka_of_ones_own_only_this_runs_records_count(embedded_kafka: EmbeddedKafka) -> None:
    """A second run in the same Kafka shows and counts its own records only."""
    for _ in range(2):
        check_shown(otel_kafka("demo", "--bootstrap-servers", embedded_kafka.bootstrap_servers))


def test_the_exporters_settings_go_with_a_kafka_of_ones_own(embedded_kafka: EmbeddedKafka) -> None:
    """What a given Kafka needs, such as a prefix of topics, is taken from the environment."""
    done = otel_kafka(
        *("demo", "--bootstrap-servers", embedded_kafka.bootstrap_servers),
        OTEL_EXPORTER_KAFKA_TOPIC_PREFIX="dev.",
        OTEL_EXPORTER_KAFKA_RESOURCE_CONTEXT="telemetry.sdk.language",
    )
    check_shown(done)
    assert "topic dev.omninode.logging.audit.v1" in done.stdout
    assert '"telemetry.sdk.language": "python"' in done.stdout


def test_losses_are_shown_and_fail() -> None:
    """When Kafka goes away for good, the demo says which records are missing and why, and exits with 1."""
    with (
        EmbeddedKafka() as kafka,
        subprocess.Popen(
            [COMMAND, "demo", "--bootstrap-servers", kafka.bootstrap_servers],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        shown = ""
        for line in process.stdout:
            shown += line
            if "punched cards" in line:
                kafka.down()
        assert process.wait(LIMIT) == 1
    assert re.search(r"stderr: (WARNING|ERROR) otel_kafka_exporter", shown)
    lost = re.search(r"(\d+) emitted, (\d+) arrived, lost (\d+)", shown)
    assert lost is not None
    emitted, arrived, missing = map(int, lost.groups())
    assert missing == emitted - arrived > 0
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_the_service_ends_with_the_demo(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end it at once and cleanly; not even SIGKILL leaves the service behind."""
    with running_demo(tmp_path) as process:
        services = children(process.pid)
        assert services
        process.send_signal(number)
        _, stderr = process.communicate(timeout=LIMIT)
        assert process.returncode == code
        assert stderr.strip() == ("interrupted" if number == signal.SIGINT else "")
        wait_until_gone(services)
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


def test_a_slow_kafka_of_ones_own_is_waited_for(embedded_kafka: EmbeddedKafka) -> None:
    """One whose first answers take longer than the demo looks for Ctrl-C is heard all the same."""
    embedded_kafka.create_topic("there", 1)
    embedded_kafka.slow(600)
    with EnvelopeReader(embedded_kafka.bootstrap_servers, ["there"], {}) as reader:
        reader.start(10)
        assert reader.read(0) == []


def test_a_kafka_that_cannot_be_reached_is_one_line() -> None:
    """Within seconds the demo says which address does not answer and why, and exits with 1."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        started = time.monotonic()
        done = otel_kafka("demo", "--bootstrap-servers", address)
    assert time.monotonic() - started < 8
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"no Kafka answers at {address} within 4 s" in line
    assert "Connection refused" in line


def test_a_wrong_address_is_wrong_usage() -> None:
    """An address that is none exits with 2 and says what is expected."""
    done = otel_kafka("demo", "--bootstrap-servers", "broker")
    assert done.returncode == 2
    assert "expected host:port" in done.stderr
    assert "got 'broker'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, ["demo", "Exit codes"]),
        (["demo", "--help"], 0, ["--bootstrap-servers", "opentelemetry-instrument", "Exit codes"]),
        (["--version"], 0, [f"otel-kafka {__version__}"]),
        (["nonsense"], 2, ["No such command 'nonsense'"]),
        (["demo", "--nonsense"], 2, ["No such option"]),
    ],
)
def test_help_and_usage(arguments: list[str], code: int, words: list[str]) -> None:
    """Help and version are fine, and what does not exist is wrong usage."""
    done = otel_kafka(*arguments)
    assert done.returncode == code
    assert all(word in done.stdout + done.stderr for word in words)


@pytest.mark.parametrize(
    ("missing", "extra"),
    [("click", "cli"), ("rich", "cli"), ("flask", "demo"), ("opentelemetry.instrumentation.flask", "demo")],
)
def test_a_missing_package_is_one_line(missing: str, extra: str) -> None:
    """Without an extra's packages, one line says what to install: the command line's bring no web framework."""
    script = f"""
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {missing!r} or name.startswith({missing + "."!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={missing!r})
sys.meta_path.insert(0, Missing())
from otel_kafka_exporter.cli import main
sys.argv = ["otel-kafka", "demo"]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f'{missing} is not installed: pip install "otel-kafka-exporter[{extra}]"' in line
    assert done.stdout == ""


def test_a_reader_that_goes_away_ends_it(tmp_path: Path) -> None:
    """`otel-kafka demo | head -1` ends without a traceback, and without a service that stays."""
    with running_demo(tmp_path) as process:
        services = children(process.pid)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        stderr = process.stderr.read()
        assert process.wait(LIMIT) == 141
        assert stderr == ""
        wait_until_gone(services)
