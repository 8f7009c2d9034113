"""Completion: as each shell asks for it, and in the shells themselves, where somebody types and presses Tab."""

from __future__ import annotations

import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .test_command_line import PAGE, environment

if TYPE_CHECKING:
    from typing_extensions import Self

#: Without the files of whoever runs this; for zsh what its own page has people put before our line.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ""),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u; "),
    "fish": (["fish", "--no-config", "-i"], ""),
}
_SEQUENCE = re.compile(r"\x1b[\[(][0-9;?]*[A-Za-z]")


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_of_what_is_typed(tmp_path: Path, shell: str) -> None:
    """Commands, options and values are completed, as each shell asks for them."""
    whole = {"COMP_WORDS": "otel-kafka tail --level wa", "COMP_CWORD": "3"}
    variables = {"COMP_WORDS": "otel-kafka tail --level", "COMP_CWORD": "wa"} if shell == "fish" else whole
    done = subprocess.run(
        ["otel-kafka"],
        env=environment(tmp_path, _OTEL_KAFKA_COMPLETE=f"{shell}_complete", **variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert {"warn", "warning"} <= set(re.split(r"[,\s]", done.stdout.lower()))  # in an older click by name
    assert "error" not in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_in_a_shell(tmp_path: Path, shell: str) -> None:
    """The documented line works in the shell itself: what is begun and followed by Tab is completed."""
    arguments, before = SHELLS[shell]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    [line] = [
        each
        for each in PAGE.read_text().splitlines()
        if re.fullmatch(rf"(?!\|).*otel-kafka completion {shell}\b.*", each)
    ]
    with Typed(arguments, environment(tmp_path, TERM="xterm")) as typed:
        typed.type(f"{before}{line}; echo it is re''ady\n", "it is ready")
        typed.type("otel-kafka ou\t", "tbox ")
        typed.type("sta\t", "tus ")
        typed.type("--j\t", "son ")


class Typed:
    """A shell on a terminal of its own, which ends with this."""

    def __init__(self, arguments: list[str], variables: dict[str, str]) -> None:
        # A process of its own for that: a fork of the one with all the tests' threads is none.
        spawn = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *arguments]
        self._process = subprocess.Popen(spawn, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # with it the terminal goes, and with that the shell
        self._process.communicate(timeout=60)

    def type(self, keys: str, expected: str) -> None:
        """Press keys, and wait for what comes of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(keys.encode())
        came, deadline = "", time.monotonic() + 60
        while expected not in _SEQUENCE.sub("", came):
            assert time.monotonic() < deadline, came
            if select.select([self._process.stdout], [], [], 0.1)[0]:
                came += self._process.stdout.read(4096).decode(errors="replace")
