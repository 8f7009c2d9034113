"""Child processes that cannot outlive the tests, their ports, and waiting for them.

A test run may end by SIGKILL, so cleaning up must not depend on code of ours that still has to run: the
kernel kills the children (PR_SET_PDEATHSIG) and frees the ports.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
STOP_TIMEOUT = 30.0

# Runs in the child and then becomes the program. The alternatives: preexec_fn runs Python between fork and
# exec, where a lock held by another thread (a Kafka client has many) is never released; setpriv(1) is not
# installed everywhere and does not notice a parent that died before the kernel was told to watch it.
_GUARD = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG): " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):
    os._exit(1)  # the parent was gone before the kernel was told to watch it
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


class CommandFailed(Exception):  # noqa: N818 - says what happened
    """A command ended with an error, or did not end in time; the text has its output."""


class ServerFailed(Exception):  # noqa: N818 - says what happened
    """A server ended by itself, or would not start or stop; the text has the end of its log."""


def spawn(argv: Sequence[str], *, output: IO[bytes] | int, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `argv`, stdout and stderr going to `output`; the kernel kills it when this process ends.

    Only from the main thread: the kernel's "parent" is the thread that forked, so that a child of a worker
    thread would be killed when that thread is done.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"start {argv[0]} from the main thread: it would die with this one")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        # Out of reach of Ctrl-C: the tests, which get a KeyboardInterrupt, stop their servers in order.
        start_new_session=True,
    )


def run(argv: Sequence[str], *, timeout: float, cwd: Path | None = None) -> str:
    """Run `argv` to its end and return its output."""
    [output] = run_side_by_side([argv], timeout=timeout, cwd=cwd)
    return output


def run_side_by_side(commands: Sequence[Sequence[str]], *, timeout: float, cwd: Path | None = None) -> list[str]:
    """Run commands to their ends and return their outputs."""
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        try:
            for argv in commands:
                processes.append(stack.enter_context(spawn(argv, output=subprocess.PIPE, cwd=cwd)))  # noqa: PERF401 - each is killed where the next does not start
            return [_output(argv, process, timeout) for argv, process in zip(commands, processes, strict=True)]
        except BaseException:  # Ctrl-C too: no command outlives its caller
            for process in processes:
                process.kill()
            raise


def _output(argv: Sequence[str], process: subprocess.Popen[bytes], timeout: float) -> str:
    try:
        output, _ = process.communicate(timeout=timeout)
        problem = f"exit status {process.returncode}" if process.returncode else None
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        problem = f"not done after {timeout:g} s"
    text = output.decode(errors="replace")
    if problem:
        raise CommandFailed(f"{' '.join(argv)}: {problem}\n{text}")
    return text


def wait_for(probe: Callable[[], T | None], *, timeout: float, failure: Callable[[], str]) -> T:
    """Call `probe` until it gives something other than None, and return that.

    `failure` words the error; it is called only when time is up.
    """
    deadline = time.monotonic() + timeout
    while (found := probe()) is None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {timeout:g} s: {failure()}")
        time.sleep(0.02)  # between two looks, up to the deadline: a server tells nobody when it is ready
    return found


class HeldPort:
    """A free port of 127.0.0.1 that stays ours, also while no server listens on it.

    The socket is bound and never listens. Linux lets a server that sets SO_REUSEADDR (the JVM does) bind the
    same port next to it, and gives the port to nobody who asks for just any, neither bind(0) nor an outgoing
    connection. A broker that is down for a while thus finds its port free when it comes back.
    """

    def __init__(self) -> None:
        self._socket = self._bound()

    @staticmethod
    def _bound() -> socket.socket:
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((LOOPBACK, 0))
        return held

    @property
    def address(self) -> str:
        """As host:port."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def change(self) -> None:
        """Hold another port instead."""
        before, self._socket = self._socket, self._bound()
        before.close()  # not earlier: what is still held cannot be chosen again

    def close(self) -> None:
        """Give the port back; a server on it is not disturbed."""
        self._socket.close()


class Server:
    """A long-running child whose output is appended to a log file; it can be started again and again."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / "output.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        directory.mkdir(parents=True)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether there is a process, be it paused."""
        return self._process is not None and self._process.poll() is None

    def launch(self, argv: Sequence[str]) -> None:
        """Start the process, without waiting until it is of use."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already, as process {self.pid}")
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = spawn(argv, output=log, cwd=self.directory)

    def check(self) -> None:
        """Raise ServerFailed if the process ended without having been asked to."""
        if self._process and (status := self._process.poll()) is not None:
            self._process = None
            raise self.failure(f"ended by itself with status {status}")

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End the process in its own time."""
        self.begin_stop()
        self.finish_stop(timeout)

    def begin_stop(self) -> None:
        """Ask the process to end (SIGTERM), also when it is paused; a crash that went unnoticed is raised."""
        self.check()
        if self._process:
            self._process.terminate()
            self.resume()

    def finish_stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Wait for the end that `begin_stop` asked for; one that does not obey is killed, and raised."""
        if not self._process:
            return
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.failure(f"had to be killed: it did not end within {timeout:g} s of SIGTERM") from None
        self._process = None
        # The JVM's own status for SIGTERM, or the signal itself where it came before the JVM was up.
        if status not in {0, 128 + signal.SIGTERM, -signal.SIGTERM}:
            raise self.failure(f"ended with status {status} after SIGTERM")

    def kill(self) -> None:
        """End the process without notice (SIGKILL), also one that is paused or gone."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): its connections stay open, and nothing answers."""
        self.check()
        if not self._process:
            raise RuntimeError(f"{self.name} is not running: there is nothing to pause")
        self._process.send_signal(signal.SIGSTOP)
        # kill(2) returns before every thread has halted; a request could still be answered in between.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Undo `pause` (SIGCONT)."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines written since the latest start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def failure(self, problem: str) -> ServerFailed:
        """The error to raise about this server."""
        return ServerFailed(f"{self.name} {problem}.\nThe end of {self.log}:\n{self.log_tail() or '(empty)'}")


def wait_for_servers(servers: Sequence[Server], ready: Callable[[], bool], *, timeout: float, wanted: str) -> None:
    """Wait until `ready`; the end of a server is raised at once, and a timeout with their logs."""

    def probe() -> bool | None:
        for server in servers:
            server.check()
        return ready() or None

    def failure() -> str:
        logs = "\n".join(str(server.failure("is running")) for server in servers)
        return f"{wanted}.\n{logs}\nIf the machine is merely slow, raise the timeout in tests/rig/kafka.py."

    wait_for(probe, timeout=timeout, failure=failure)
