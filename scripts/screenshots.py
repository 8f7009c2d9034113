"""Pictures of the commands for the README and the documentation: real runs on a terminal of so many columns, as SVG.

Usage: python scripts/screenshots.py [DIRECTORY]. It starts a real Kafka (Java), and an embedded one for the demo.

What differs from run to run, as times, IDs, ports and paths, is replaced by something of the same length that does not,
so that a change of a picture is a change of what a command says.
"""

from __future__ import annotations

import hashlib
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.rig.kafka import KafkaCluster

COLUMNS = 108
_DIRECTORY = Path(__file__).parents[1] / "docs" / "images"
_SECONDS = 60.0
# Behind an escape sequence, which ends with m, too.
_HEX = re.compile(r"(?<![0-9A-Za-ln-z])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{8})(?![0-9A-Za-z])")
_INSTANCE = "5feceb66-ffc8-4f38-9952-786c6d696c79"
_TIME = re.compile(r"(?:\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d(?:\.\d+)?")


def screenshots(directory: Path) -> None:
    """Run the commands, and write a picture of each into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, KafkaCluster(Path(made) / "kafka") as kafka:
        places = {kafka.bootstrap_servers: "localhost:9092", made: "/srv/shop"}
        variables = {
            "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": f"{made}/outbox",
        }

        def take(name: str, command: str, crop: Callable[[str], str] = str) -> None:
            said = crop(steady(on_terminal(command, Path(made), variables), places))
            (directory / f"{name}.svg").write_text(picture(command, said), encoding="utf-8")

        take("doctor", "otel-kafka doctor")
        take("topics", "otel-kafka topics apply")
        on_terminal(f"otel-kafka demo --bootstrap-servers {kafka.bootstrap_servers}", Path(made), variables)
        take("tail", "otel-kafka tail --last 10")
        variables.clear()
        variables["OTEL_EXPORTER_KAFKA_OUTBOX_DIR"] = f"{made}/outbox"
        take("demo", "otel-kafka demo", without_documents)


def on_terminal(command: str, directory: Path, variables: Mapping[str, str]) -> str:
    """What a command writes to a terminal, escape sequences included."""
    terminal, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "KAFKA_", "TENANT_"))}
    kept.pop("COLUMNS", None)  # of another terminal
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    process = subprocess.Popen(  # noqa: S602 - of commands that stand above
        command,
        shell=True,
        cwd=directory,
        env={**kept, "PATH": path, "TERM": "xterm-256color", "TZ": "UTC", "PWD": str(directory), **variables},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    came: list[bytes] = []
    with suppress(OSError):  # the terminal's end
        while True:
            came.append(os.read(terminal, 65536))
    process.wait(_SECONDS)
    os.close(terminal)
    return b"".join(came).decode().replace("\r\n", "\n")


def steady(text: str, places: Mapping[str, str]) -> str:
    """A text in which nothing differs from run to run."""
    for found, shown in places.items():
        text = text.replace(found, shown)
    text = re.sub(r"127\.0\.0\.1:\d+", "localhost:9092", text)
    text = re.sub(r"--port \d+", "--port 8000", text)
    text = re.sub(r"/\S*/(examples|cli/demo)/web_service.py", "examples/web_service.py", text)
    text = re.sub(r"/\S*/(otel-kafka-demo-\w+)/", "/srv/shop/", text)
    text = re.sub(r"cluster [\w-]{22}", "cluster 5L6g3nShT-eMCtK--X86sw", text)
    text = re.sub(r"[\d,]+ MB free", "77,787 MB free", text)
    text = re.sub(r"; \d+\.\d s", "; 3.1 s", text)
    text = re.sub(r"\(\w+\), written as user \d+", "(ext4), written as user 1000", text)
    text = re.sub(r"\d+ (open files|threads)", r"65536 \1", text)
    text = re.sub(r"(?<=instance\.id=)[0-9a-f-]+", lambda found: _INSTANCE[: len(found[0])], text)
    text = _HEX.sub(_Numbered(_hex), text)
    return _TIME.sub(_Numbered(_time), text)


def _time(like: str, number: int) -> str:
    day, _, _ = like.rpartition(":")
    clock = f"10:15:{number // 10:02}.{number % 10}04217"
    return f"2026-11-25{like[10]}{clock}"[: len(like)] if "-" in day else clock[: len(like)]


class _Numbered:
    """Replaces what is found, the same by the same, by its number among those that were found."""

    def __init__(self, made: Callable[[str, int], str]) -> None:
        self._made = made
        self._numbers: dict[str, int] = {}

    def __call__(self, found: re.Match[str]) -> str:
        number = self._numbers.setdefault(found[0], len(self._numbers))
        return self._made(found[0], number)


def _hex(like: str, number: int) -> str:
    digits = iter(hashlib.sha256(str(number).encode()).hexdigest())
    return "".join("-" if each == "-" else next(digits) for each in like)


def without_documents(text: str) -> str:
    """The demo's output but for the records in full: they are three pages."""
    begin, end = r"^[^\n]*One application record in full.*", r"(?=^[^\n]*Emitted:)"
    return re.sub(begin + end, "[...]\n\n", text, flags=re.DOTALL | re.MULTILINE)


def picture(command: str, said: str) -> str:
    """A terminal with a command and what it has said, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "dim"), (command, "bold")))
    console.print(Text.from_ansi(said.rstrip()), soft_wrap=False)
    svg = console.export_svg(title=command, theme=MONOKAI, unique_id=command.split()[1])
    # No font is fetched from elsewhere: the reader's own will do, at the widths that stand in the file.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    screenshots(Path(sys.argv[1]) if len(sys.argv) > 1 else _DIRECTORY)
