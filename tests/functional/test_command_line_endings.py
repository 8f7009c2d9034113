"""How a command ends before its time: by a signal, without its streams, and without a reader of its output."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka

from .test_command_line import environment

STRIKES = Path(__file__).parent / "strikes"
#: What comes to an end by itself; the demo, which takes seconds, has a test of its own.
COMMANDS = [
    "--help",
    "completion bash",
    "schema show",
    "outbox list",
    "outbox drain --timeout 1",
    "topics plan",
    "tail --no-follow",
    "doctor",
]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIMIT = 60


class Command:
    """A command of an embedded Kafka's environment, that can be struck by a signal."""

    def __init__(self, kafka: EmbeddedKafka, directory: Path) -> None:
        self._count = directory / "count"
        self.variables = environment(directory, OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers)

    def struck(self, words: str, phase: str, moment: int, number: int) -> subprocess.CompletedProcess[str]:
        """Run it, and send it a signal at the nth moment of a phase, if there are as many."""
        variables = {"PHASE": phase, "MOMENT": str(moment), "NUMBER": str(number), "COUNT": str(self._count)}
        striking = {"PYTHONPATH": str(STRIKES)} | {f"STRIKE_{name}": text for name, text in variables.items()}
        return subprocess.run(
            ["otel-kafka", *words.split()],
            env=self.variables | striking,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def started(self, words: str, *, shell: bool = False, stdout: int | None = None) -> subprocess.Popen[str]:
        """Start it, by a shell where the words are for that."""
        line = f"exec otel-kafka {words}" if shell else ["otel-kafka", *words.split()]
        return subprocess.Popen(line, env=self.variables, shell=shell, stdout=stdout, stderr=subprocess.PIPE, text=True)

    def moments(self, words: str, phase: str, steps: int) -> list[int]:
        """So many of its moments, from the first to one short of the last: no run is quite like another."""
        self.struck(words, phase, -1, 0)
        there = int(self._count.read_text())
        return [1 + there * step // steps for step in range(steps)]


@pytest.fixture
def command(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> Command:
    return Command(embedded_kafka, tmp_path)


def check(done: subprocess.CompletedProcess[str], number: int) -> None:
    assert done.returncode in (-number, 128 + number), done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_it_starts(command: Command, number: int) -> None:
    """At each moment of its start, which is half a second of imports, a signal ends it without a traceback."""
    for moment in command.moments("schema show", "import", 6):
        check(command.struck("schema show", "import", moment, number), number)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_signal_while_it_runs_or_ends(command: Command, words: str) -> None:
    """At each moment from its first step to its last, a signal ends a command without a traceback."""
    for moment in command.moments(words, "call", 6):
        number = SIGNALS[moment % len(SIGNALS)]
        check(command.struck(words, "call", moment, number), number)
    for number in SIGNALS:
        check(command.struck(words, "end", 0, number), number)


def test_a_signal_while_it_follows(command: Command) -> None:
    """What would go on for ever ends by the signal, wherever it has come to."""
    for moment in range(1, 3_000, 600):
        number = SIGNALS[moment % len(SIGNALS)]
        check(command.struck("tail --follow", "call", moment, number), number)


def test_what_is_ignored_stays_so(command: Command) -> None:
    """`nohup otel-kafka ...` outlives its terminal, and a job in a shell's background Ctrl-C."""
    before = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)]
    try:
        for number in (signal.SIGHUP, signal.SIGINT):
            assert command.struck("outbox list", "call", 100, number).returncode == 0
            assert command.struck("outbox list", "end", 0, number).returncode == 0
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGINT, before[1])


#: Each writes to stdout, whatever it finds.
WRITING = ["--help", "tail --help", "completion bash", "schema show", "outbox status", "topics check", "doctor"]


@pytest.mark.parametrize("words", WRITING)
def test_a_reader_that_is_gone(command: Command, words: str) -> None:
    """Behind `| head`, a command ends with 141 and in silence: the codes of failures say something else."""
    process = command.started(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, errors) == (141, "")


@pytest.mark.parametrize("words", [*WRITING, "outbox list --json"])
def test_a_stdout_that_is_closed(command: Command, words: str) -> None:
    """Started with `>&-`, a command says that it could not write, if there was anything, and has no traceback."""
    process = command.started(f"{words} >&-", shell=True)
    _, errors = process.communicate(timeout=LIMIT)
    if words == "outbox list --json":  # there is nothing
        assert (process.returncode, errors) == (0, "")
    else:
        assert process.returncode == 74, errors
        assert errors == "Error: expected to write what was found, got: Bad file descriptor\n"


def test_all_streams_closed(command: Command) -> None:
    """Without any stream, as a daemon may start it, a command still does its work."""
    process = command.started("outbox list --json >&- 2>&- <&-", shell=True)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0
