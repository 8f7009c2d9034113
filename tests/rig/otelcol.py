"""A real OpenTelemetry Collector, built of `collector/` with Go, on 127.0.0.1 only.

`collector/builder.yaml` is what the Collector's own builder made the Go files of; these are kept, with the sums of all
modules, so that every build is of the same sources. To change a version: `builder --config builder.yaml
--skip-compilation`, then `go mod tidy -e` in its output folder, since a module that only tests need is not to be had.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import java
from .process import CommandFailed, Server, run, wait_for_servers

SOURCES = Path(__file__).parent / "collector"
BUILD_TIMEOUT = 900.0
START_TIMEOUT = 30.0


class BuildFailed(Exception):  # noqa: N818 - says what happened
    """Go could not build the Collector; the text has what it said."""


def missing() -> list[str]:
    """What has to be installed before a Collector can run here, one sentence each; empty if nothing."""
    if shutil.which("go") is None and not _target().exists():
        return ["go is not on the PATH: install Go 1.25 or newer."]
    return []


def binary() -> Path:
    """The Collector, built if that has not been done; it takes a minute or two."""
    return java.make_once(_target(), _build)


def _target() -> Path:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))).hexdigest()[:16]
    return java.cache_root() / f"collector-{digest}" / "otelcol"


def _build(target: Path) -> None:
    folder = target.parent / "sources"
    shutil.copytree(SOURCES, folder)
    command = ["env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(target), "."]
    try:
        run(command, timeout=BUILD_TIMEOUT, cwd=folder)
    except CommandFailed as error:
        raise BuildFailed(
            f"Go could not build the Collector. It needs a module proxy; see `go env GOPROXY`.\n{error}"
        ) from None


def validate(configurations: Sequence[Path], variables: Mapping[str, str]) -> str:
    """What `otelcol validate` says of configurations; nothing when they are valid.

    Raises:
        CommandFailed: they are not.
    """
    return run(_command("validate", configurations, variables), timeout=START_TIMEOUT)


def _command(verb: str, configurations: Sequence[Path], variables: Mapping[str, str]) -> list[str]:
    environment = [f"{name}={value}" for name, value in variables.items()]
    configs = [part for path in configurations for part in ("--config", str(path))]
    return ["env", *environment, str(binary()), *([verb] if verb else []), *configs]


class Collector(Server):
    """One Collector; a context manager that starts it and, in the end, kills it.

    Args:
        directory: where it runs.
        configurations: its files, of which later ones override earlier ones.
        variables: environment variables that they name.
        ready: a text in its log by which it is of use.
    """

    def __init__(
        self,
        directory: Path,
        configurations: Sequence[Path],
        variables: Mapping[str, str],
        ready: str = "Everything is ready",
    ) -> None:
        super().__init__("collector", directory)
        self._configurations = configurations
        self._variables = variables
        self._ready = ready

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start it, and wait until it is of use."""
        self.launch(_command("", self._configurations, self._variables))
        wait_for_servers([self], lambda: self._ready in self.log_tail(1000), timeout=timeout, wanted=self._ready)

    def __enter__(self) -> Collector:  # noqa: PYI034 - Self needs Python 3.11 or a dependency
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
