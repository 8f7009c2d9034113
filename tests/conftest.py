"""For all tests: a skip is a failure where everything has to run, and no test writes into its user's home."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A runner in the background may have Ctrl-C ignored, and so would be what is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def outbox_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where outboxes are in a test, those of its subprocesses too."""
    directory = tmp_path / "outbox"
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_OUTBOX_DIR", str(directory))
    return directory


@pytest.fixture(autouse=True)
def _alone_if_it_has_to_be(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test that is marked `alone` has the machine for itself: the others of this run wait."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    import fcntl  # noqa: PLC0415 - not on Windows, where one test runs after the other

    kind = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    run = tmp_path_factory.getbasetemp().parent  # of all workers
    with (run / "turnstile").open("w") as turnstile, (run / "room").open("w") as room:
        fcntl.flock(turnstile, kind)  # who waits for the room lets nobody past meanwhile
        fcntl.flock(room, kind)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)  # also that of a child that was forked meanwhile


@pytest.fixture(autouse=True)
def nothing_was_said_before() -> None:
    """No line of ours is withheld for what an earlier test has had said, and none comes that one has left."""
    log_lines = sys.modules.get("otel_kafka_exporter.process.log_lines")
    if log_lines is not None:
        log_lines._once_per_minute._seen.clear()
        log_lines._noted.clear()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("REQUIRE_REAL_SYSTEMS") == "1":
        terminalreporter.write_line(f"REQUIRE_REAL_SYSTEMS=1 forbids to skip; {len(skipped)} did", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and os.environ.get("REQUIRE_REAL_SYSTEMS") == "1":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
