"""For all tests: a skip is a failure where everything has to run."""

from __future__ import annotations

import os

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("REQUIRE_REAL_SYSTEMS") == "1":
        terminalreporter.write_line(f"REQUIRE_REAL_SYSTEMS=1 forbids to skip; {len(skipped)} did", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and os.environ.get("REQUIRE_REAL_SYSTEMS") == "1":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
