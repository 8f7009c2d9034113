"""Every program that is shown works with what its own install line brings, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from confluent_kafka import Producer

from otel_kafka_exporter import __version__, decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT, blocks
from tests.waiting import until
from tests.ways_in.running import envelopes, environment

from .installing import QUICK, Install, first_on_path, lines_in, shell, virtual_environment
from .pasting import as_script, blocks_in_order, paste, section, without_packages
from .pipelines import TOPIC
from .test_servers import free_port

pytestmark = pytest.mark.timeout(400)  # pip may be slow

EXAMPLES = ROOT / "examples"
WAYS = ROOT / "docs" / "ways-in.md"
AUDIT = "omninode.logging.audit.v1"
TO_OTLP = "OpenTelemetry's own log records"
WAYS_IN = ["In code", "In code, behind the batch processor", "The publisher"]
LOGGERS = sorted((EXAMPLES / "loggers").glob("*.py"))
#: The environment of the README's recommended way.
INSTRUMENTED = {
    "OTEL_SERVICE_NAME": "shop",
    "OTEL_LOGS_EXPORTER": "onex_kafka",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
}


def lines_of(program: Path) -> tuple[str, list[str]]:
    """The install line of a program's docstring, and the commands that it shows."""
    docstring = program.read_text(encoding="utf-8").split('"""')[1]
    [install] = lines_in(docstring)
    commands = re.findall(r"^(?:(?:opentelemetry-instrument|python|uvicorn|curl) .*)", docstring, re.MULTILINE)
    return install, commands


def line_of(way: str) -> str:
    """The install line of a way in; that of the one before where it says none."""
    return next(line for title in (way, "In code") for line in lines_in(section(WAYS, title)))


#: What there are environments for, in the order of the tests.
LINES = [
    *(lines_of(program)[0] for program in (*LOGGERS, *sorted(EXAMPLES.glob("*.py")), *EXAMPLES.glob("consumers/*.py"))),
    *map(line_of, WAYS_IN),
    line_of("OpenTelemetry's declarative file"),
    *lines_in(section(ROOT / "docs" / "protobuf.md", TO_OTLP)),
]


def run(commands: list[str], directory: Path, programs: Path, **variables: str) -> str:
    """Run commands one after the other in a copy of an environment; what they print."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=directory,
        env={**without_packages(environment()), **variables, **first_on_path(programs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("program", LOGGERS, ids=lambda path: path.stem)
def test_a_structured_logger(program: Path, install: Install, embedded_kafka: EmbeddedKafka) -> None:
    """Its lines and its event arrive."""
    line, commands = lines_of(program)
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    run(commands, program.parent, install(line), **servers, **INSTRUMENTED)
    assert len(embedded_kafka.messages(TOPIC)) == 2
    assert len(embedded_kafka.messages(AUDIT)) == 1


def test_dual_logging(install: Install, embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Both of its loggers write to the file and to Kafka."""
    shutil.copy(EXAMPLES / "dual_logging.py", tmp_path)
    line, commands = lines_of(tmp_path / "dual_logging.py")
    run(commands, tmp_path, install(line), KAFKA_BOOTSTRAP_SERVERS=embedded_kafka.bootstrap_servers)
    assert len(embedded_kafka.messages(TOPIC)) == 2


@pytest.mark.parametrize(
    ("program", "port", "variables", "arrived"),
    [("agent_service", 8000, {}, "agent.execution"), ("web_service", 5000, INSTRUMENTED, "user.login")],
)
def test_a_service(
    program: str,
    port: int,
    variables: dict[str, str],
    arrived: str,
    install: Install,
    embedded_kafka: EmbeddedKafka,
    tmp_path: Path,
) -> None:
    """Its command serves, its request is answered, and the request's audit event arrives."""
    shutil.copy(EXAMPLES / f"{program}.py", tmp_path)
    line, (serve, request) = lines_of(tmp_path / f"{program}.py")
    programs = install(line)
    own = str(free_port())
    serve = f"{serve} --port {own}"
    request = request.replace(
        "curl ", "curl --silent --show-error --fail --retry 60 --retry-connrefused --retry-delay 1 "
    )
    servers = {"KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    values = {**without_packages(environment()), **servers, **variables, **first_on_path(programs)}
    with subprocess.Popen(["bash", "-c", f"exec {serve}"], cwd=tmp_path, env=values, start_new_session=True) as server:
        try:
            run([request.replace(str(port), own)], tmp_path, programs)
            until(lambda: embedded_kafka.messages(AUDIT), what="the audit event")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    [event] = [decode(message.value()).payload for message in embedded_kafka.messages(AUDIT)]
    assert event["action"] == arrived


def test_the_consumer_says_who_did_what_once_each(
    install: Install, embedded_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Of two events one of which is there twice the reader prints two lines; so it does when it is run again."""
    program = EXAMPLES / "consumers" / "read_topic.py"
    line, [command] = lines_of(program)
    programs = install(line)
    publisher = section(WAYS, "The publisher").replace("localhost:9092", embedded_kafka.bootstrap_servers)
    [block] = [each.text for each in blocks_in_order(publisher) if each.language == "python"]
    (tmp_path / "app.py").write_text(block)
    run(["python app.py"], tmp_path, programs)
    [message] = embedded_kafka.messages(AUDIT)
    again = Producer({"bootstrap.servers": embedded_kafka.bootstrap_servers})
    again.produce(AUDIT, message.value(), message.key(), message.partition() or 0, headers=message.headers())
    assert again.flush(10) == 0
    run(["python app.py"], tmp_path, programs)
    command = command.replace("localhost:9092", embedded_kafka.bootstrap_servers)
    for _ in range(2):
        said = run([f"{command} 2"], program.parent, programs).splitlines()
        assert [line.split(maxsplit=1)[1] for line in said] == ["acme bob user.login console success"] * 2
        assert len(set(said)) == 2


def test_the_consumer_says_that_a_topic_is_none(install: Install, embedded_kafka: EmbeddedKafka) -> None:
    """A misspelt topic is an error that names those that there are."""
    program = EXAMPLES / "consumers" / "read_topic.py"
    line, [command] = lines_of(program)
    embedded_kafka.create_topic(AUDIT)
    command = command.replace("localhost:9092", embedded_kafka.bootstrap_servers).replace("audit", "adit")
    done = shell(command, program.parent, **first_on_path(install(line)))
    assert done.returncode == 1
    assert f"got omninode.logging.adit.v1. There are: {AUDIT}." in done.stderr


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_way_in(way: str, install: Install, embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Its program runs with the page's install line for it, and what it says arrives."""
    page = section(WAYS, way).replace("localhost:9092", embedded_kafka.bootstrap_servers)
    [block] = [each.text for each in blocks_in_order(page) if each.language == "python"]
    (tmp_path / "app.py").write_text(block)
    said = run(["python app.py"], tmp_path, install(line_of(way)))
    if way == "The publisher":
        assert said == "True\n"
    else:
        assert "accepted=1, delivered=1" in said
        assert envelopes(embedded_kafka.bootstrap_servers, TOPIC, 1)[0].source == "shop"


def test_the_declarative_file(install: Install, embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The page's file, with its install line, sets the README's program up."""
    [line, *others] = blocks_in_order(section(WAYS, "OpenTelemetry's declarative file"))
    app, *_ = blocks(ROOT / "README.md", "python")
    (tmp_path / "app.py").write_text(app)
    programs = install(line.text.strip())
    done = paste(as_script(others, embedded_kafka.bootstrap_servers), tmp_path, **first_on_path(programs))
    assert done.returncode == 0, done.stderr
    assert "otel_kafka_exporter" not in done.stderr
    [envelope] = envelopes(embedded_kafka.bootstrap_servers, TOPIC, 1)
    assert (envelope.source, envelope.payload["message"]) == ("shop", "order placed")
    assert envelope.payload["instance_id"]


def test_what_converts_to_opentelemetry(install: Install, tmp_path: Path) -> None:
    """The extra of the page on Protobuf brings all that its program imports."""
    line, program = (block.text for block in blocks_in_order(section(ROOT / "docs" / "protobuf.md", TO_OTLP)))
    (tmp_path / "app.py").write_text(program)
    assert run(["python app.py"], tmp_path, install(line.strip())).endswith("4bf92f3577b34da6a3ce929d0e0e4736\n")


#: Without the first, which the README itself is pasted with.
_, *INSTALLS = re.findall(r"`((?:uv )?pip install [^`]+)`", section(ROOT / "README.md", "Install"))


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with what is here, committed."""
    directory = tmp_path_factory.mktemp("repository")
    for part in ("otel_kafka_exporter", "examples", "proto"):
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE", "otel_kafka_command.py"):
        shutil.copy(ROOT / part, directory)
    identity = "-c user.name=tests -c user.email=tests@localhost"
    done = shell(f"git init --quiet && git add . && git {identity} commit --quiet --message all", directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize("line", INSTALLS)
def test_from_a_clone_and_from_a_repository(line: str, empty: Path, repository: Path, tmp_path: Path) -> None:
    """pip and uv install from both; the extras can be had afterwards by their names alone."""
    (tmp_path / "otel-kafka-exporter").symlink_to(repository)
    programs = virtual_environment(tmp_path / "environment", empty / "pip")
    variables = {**QUICK, **first_on_path(programs), "VIRTUAL_ENV": str(programs.parent)}
    uv = "pip install --quiet uv\n" if line.startswith("uv ") else ""
    later = line.split("install ", maxsplit=1)[0] + 'install "otel-kafka-exporter[cli]"'
    script = f"{uv}{line.replace('REPOSITORY', repository.as_uri())}\n{later}\notel-kafka --version\n"
    done = paste(script, tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert f"otel-kafka {__version__}" in done.stdout
