"""What all commands have in common: examples that work, exit codes that are documented, defaults, bars."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.cli.root import cli
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.tailing import TOPICS, kafka_record
from tests.unit.test_docs import ROOT
from tests.waiting import until

from .pipelines import exporting, records
from .tails import put, tail

BIN = Path(sys.executable).parent
PAGE = ROOT / "docs" / "command-line.md"
#: What its own tests run: tail's and doctor's examples, the demo of some seconds, and what only a real Kafka does.
ELSEWHERE = ("otel-kafka tail", "otel-kafka doctor", "otel-kafka demo", "otel-kafka topics")


def commands(command: click.Command = cli, path: str = "otel-kafka") -> Iterator[tuple[str, click.Command]]:
    """Each command and group, by what is typed."""
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from commands(each, f"{path} {name}")


COMMANDS = dict(commands())


def examples(path: str) -> list[str]:
    """The lines of a command's help that are meant to be typed."""
    text = COMMANDS[path].get_help(click.Context(COMMANDS[path], info_name=path))
    return [line.strip() for line in text.splitlines() if re.match(r"    (\S+ \")?otel-kafka", line)]


@pytest.mark.parametrize("path", COMMANDS)
def test_each_help_has_examples_that_work(embedded_kafka: EmbeddedKafka, tmp_path: Path, path: str) -> None:
    """Each command's help shows how it is typed, and a shell runs it: it is used rightly, whatever it finds."""
    lines = examples(path)
    assert any(line.startswith(path) for line in lines)
    for line in lines:
        if not line.startswith(ELSEWHERE) and not line.endswith("| source"):  # fish's
            done = subprocess.run(
                ["sh", "-c", line],
                cwd=tmp_path,
                env=environment(tmp_path, OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=embedded_kafka.bootstrap_servers),
                input=b"n\n",
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert done.returncode in EXPECTED.get(line, (0,)), (line, done.stderr)
            assert b"Traceback" not in done.stderr, line


#: The exit codes where there is no such record, directory or registry, and where the answer is no.
EXPECTED = {
    "otel-kafka outbox show 019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b": (1,),
    "otel-kafka outbox adopt /var/lib/otel-kafka/5a17c3/0f3b": (1,),
    "otel-kafka outbox purge --records": (130,),
    "otel-kafka schema register": (2,),
}


def environment(directory: Path, **more: str) -> dict[str, str]:
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(directory), "LANG": "C.UTF-8"}
    return {**path, "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": str(directory / "outbox"), **more}


def test_exit_codes_are_documented() -> None:
    """The page's table has each command, with the very words of its help."""
    rows = re.findall(r"^\| `(otel-kafka [a-z ]+)` \| (0 .*) \|$", PAGE.read_text(), re.MULTILINE)
    said = {
        path: " ".join((command.epilog or "").split()).removeprefix("Exit codes: ").removesuffix(".")
        for path, command in COMMANDS.items()
        if not isinstance(command, click.Group)
    }
    assert dict(rows) == said


def test_defaults_of_the_environment(embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option's variable stands for it, an argument overrides it, and a wrong value is told where it comes from."""
    levels = ["INFO", "WARN"]
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}", level=level) for n, level in enumerate(levels)], 0)
    monkeypatch.setenv("OTEL_KAFKA_TAIL_JSON", "1")
    assert tail().messages == ["m0", "m1"]
    monkeypatch.setenv("OTEL_KAFKA_TAIL_LEVEL", "warn")
    assert tail().messages == ["m1"]
    assert tail("--level", "info").messages == ["m0", "m1"]
    assert "environment variable" not in tail("--last", "many").errors
    monkeypatch.setenv("OTEL_KAFKA_TAIL_LAST", "many")
    wrong = tail()
    assert wrong.code == 2
    assert wrong.errors.endswith("It comes from the environment variable OTEL_KAFKA_TAIL_LAST.\n")


def test_nothing_is_confirmed_by_the_environment() -> None:
    """What asks before it deletes goes on asking."""
    for path, command in COMMANDS.items():
        for option in command.params:
            assert "--yes" not in option.opts or option.envvar is None, path


def test_each_option_has_its_own_variable() -> None:
    """No two options of all commands share one."""
    variables = [option.envvar for command in COMMANDS.values() for option in command.params if option.envvar]
    assert len(variables) == len(set(map(str, variables)))


def on_a_terminal(*command: str, stdout: int, env: dict[str, str]) -> tuple[int, str]:
    """A command whose stderr is a terminal: its exit code, and what came there."""
    terminal, its = pty.openpty()
    came: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # it is closed
            while True:
                came.append(os.read(terminal, 4096))

    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=its)
    os.close(its)
    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(60)
    reader.join(60)
    os.close(terminal)
    return code, b"".join(came).decode()


def test_bars_are_for_terminals(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """What takes long shows how far it is where stderr is a terminal, and takes that away; in a pipe there is none."""
    put(embedded_kafka, [kafka_record(category) for category in TOPICS], 0)
    variables = environment(
        tmp_path, OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=embedded_kafka.bootstrap_servers, TERM="xterm"
    )
    embedded_kafka.slow(600)  # long enough to be seen
    with (tmp_path / "out").open("wb") as out:
        code, said = on_a_terminal(
            "otel-kafka", "tail", "--json", "--since", "beginning", stdout=out.fileno(), env=variables
        )
        assert (code, "\x1b[2K" in said) == (0, True), said
        assert re.search(r"read .*\d/3", said), said
        assert "3 read, 3 matched" in said
    assert len((tmp_path / "out").read_text().splitlines()) == 3
    code, said = on_a_terminal("otel-kafka", "doctor", "--json", stdout=subprocess.DEVNULL, env=variables)
    assert re.search(r"checks .*\d+/\d+", said), said
    quiet = subprocess.run(
        ["otel-kafka", "tail", "--json"], env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert quiet.stderr == "3 read, 3 matched, 0 duplicates, 0 undecodable\n"


def is_refused(exporter: KafkaLogExporter, number: int) -> bool:
    return exporter.stats().dead_lettered == number


def test_a_bar_for_dead_letters_that_are_sent_again(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """`outbox retry` shows how many of how many it is done with, and takes that away before it says the result."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        for number in range(1, 4):
            embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)  # once more alone
            exporter.export(records([f"refused {number}"]))
            until(partial(is_refused, exporter, number))
    embedded_kafka.slow(900)  # long enough to be seen
    variables = environment(
        tmp_path, OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=embedded_kafka.bootstrap_servers, TERM="xterm"
    )
    with (tmp_path / "out").open("wb") as out:
        code, said = on_a_terminal("otel-kafka", "outbox", "retry", stdout=out.fileno(), env=variables)
    assert code == 0, said
    assert re.search(r"sent again .*\d/3", said), (said, (tmp_path / "out").read_text())
    assert said.endswith("\x1b[2K"), repr(said)
    assert (tmp_path / "out").read_text() == "3 delivered, 0 refused again, 0 cannot be sent as they are\n"


@pytest.mark.parametrize(
    "command", ["tail", "topics plan", "doctor --only cluster", "outbox drain --timeout 600", "outbox retry"]
)
def test_ctrl_c_while_no_kafka_answers(tmp_path: Path, command: str) -> None:
    """Whatever waits for an answer that does not come ends by Ctrl-C at once, with its exit code and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        variables = environment(tmp_path, OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{silent.getsockname()[1]}")
        process = subprocess.Popen(
            ["otel-kafka", *command.split()], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        connection, _ = silent.accept()  # it asks now
        with connection:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
