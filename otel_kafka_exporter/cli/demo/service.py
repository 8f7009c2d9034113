"""A web service under `opentelemetry-instrument`, in a process of its own that ends with this one."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from otel_kafka_exporter.process import monotonic

_HOST = "127.0.0.1"
_PAUSE_SECONDS = 0.05

# Runs in the new process and becomes the service there.
# SIGINT: a shell makes its background jobs ignore it, and what is ignored stays so; it is how the service is stopped.
# PR_SET_PDEATHSIG: on Linux the service ends even when this process is killed and cleans up nothing.
_BECOME = """
import ctypes, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

# Where a line of the service's stderr starts that is about its telemetry, and where one does that is of its own: these
# are the formats of our logger, and of logging.basicConfig.
_OF_TELEMETRY = re.compile(r"(WARNING|ERROR|CRITICAL)(:opentelemetry| otel_kafka_exporter)")
_OF_ANOTHER = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ]|127\.0\.0\.1 - -")


class ServiceError(Exception):
    """The service does not run as it should; the text has the end of its stderr."""


class Service:
    """A Flask application, served by `flask run` under `opentelemetry-instrument`.

    Args:
        module: the application's module, in `directory`.
        directory: where it runs, and where its output goes.
        environment: its environment variables, all of them.
    """

    def __init__(self, module: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.port = _free_port()
        self._command: Sequence[str] = (
            *(str(instrument_command()), sys.executable, "-m"),
            *("flask", "--app", module, "run", "--host", _HOST, "--port", str(self.port)),
        )
        self._directory = directory
        self._environment = environment
        self._stdout, self._stderr = directory / "stdout.txt", directory / "stderr.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False
        self._seen = 0
        self._telling = False

    def start(self) -> None:
        """Start the process, from the main thread: the kernel takes the thread that did it for the parent."""
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,  # files, because nobody has to read them for the service to go on
                stderr=stderr,
                cwd=self._directory,
                env=self._environment,
                start_new_session=True,  # Ctrl-C in the terminal is ours; a second SIGINT would cut its flush short
            )

    def wait_until_it_answers(self, deadline: float) -> None:
        """Wait until the port is open.

        Raises:
            ServiceError: it ended, or is not ready by `deadline` (of the monotonic clock).
        """
        while True:
            self.check()
            try:
                socket.create_connection((_HOST, self.port), timeout=_PAUSE_SECONDS).close()
            except OSError:
                if monotonic() > deadline:
                    raise ServiceError(self._with_stderr("the service does not answer")) from None
                time.sleep(_PAUSE_SECONDS)  # between two tries: a refused connection comes back at once
            else:
                return

    def check(self) -> None:
        """ServiceError when the process has ended by itself."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise ServiceError(self._with_stderr(f"the service ended with exit code {status}"))

    def request(
        self, method: str, path: str, form: Mapping[str, str], headers: Mapping[str, str], seconds: float
    ) -> int:
        """Send a request; returns the status of the answer."""
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=max(0.1, seconds))
        form_type = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request(method, path, urllib.parse.urlencode(form) or None, {**form_type, **headers})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.check()
            raise ServiceError(self._with_stderr(f"{method} {path} got no answer: {error}")) from None
        else:
            return answer.status
        finally:
            connection.close()

    def begin_stop(self) -> None:
        """Ask the process to end as Ctrl-C does: the one signal after which Python's exit handlers run, which flush."""
        if self._process is not None and not self._asked:
            self._asked = True  # a second SIGINT would cut short what the first one started
            self._process.send_signal(signal.SIGINT)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, seconds: float) -> None:
        """End the process: in its own time at first, by force after so many seconds or at a second Ctrl-C."""
        process = self._process
        if process is None:
            return
        try:
            self.begin_stop()
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def output(self) -> str:
        """Everything on stdout."""
        return self._stdout.read_text(errors="replace")

    def warnings(self) -> Iterator[str]:
        """What stderr says about telemetry, and was not given before; the application's own lines are not given."""
        text = self._stderr.read_bytes()
        end = text.rfind(b"\n") + 1
        lines, self._seen = text[self._seen : end].decode(errors="replace").splitlines(), end
        for line in lines:
            if _OF_TELEMETRY.match(line):
                self._telling = True
            elif _OF_ANOTHER.match(line):
                self._telling = False
            if self._telling:
                yield line

    def _with_stderr(self, problem: str) -> str:
        last = self._stderr.read_text(errors="replace").splitlines()[-15:]
        return "\n  ".join([f"{problem}; its stderr ends with:" if last else problem, *last])


def instrument_command() -> Path:
    """Where `opentelemetry-instrument` is: beside this interpreter, in the same environment."""
    return Path(sys.executable).with_name("opentelemetry-instrument")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port
