"""What the exporter logs of itself: lines that cannot come back to it."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otel_kafka_exporter.process import log_lines
from otel_kafka_exporter.process.log_lines import (
    LIBRDKAFKA_LOGGER,
    QUIET_LOGGER,
    OncePerMinute,
    _StderrHandler,
    kind_of_fault,
    log,
    note,
    tell,
    warn,
)


class Lines(logging.Handler):
    """Keeps what a logger of its own lets through once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.logger = logging.Logger("test")  # noqa: LOG001 - one that nobody else has, and that is gone afterwards
        self.logger.addHandler(self)
        self.logger.addFilter(OncePerMinute())

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@pytest.fixture
def lines() -> Lines:
    """A logger of its own that has a filter of its own."""
    return Lines()


@pytest.fixture
def new_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is withheld for what an earlier test has said."""
    monkeypatch.setattr(log_lines, "QUIET_SECONDS", 0.0)


@pytest.mark.usefixtures("new_minute")
def test_lines_do_not_reach_the_applications_handlers() -> None:
    """A line of ours, or of librdkafka's, reaches no handler of the root logger, OpenTelemetry's least of all."""
    root = Lines()
    logging.getLogger().addHandler(root)
    try:
        warn("a kind", "a line")
        logging.getLogger(LIBRDKAFKA_LOGGER).error("FAIL %s", "x")
        logging.getLogger("another").error("the root does listen")
    finally:
        logging.getLogger().removeHandler(root)
    assert root.found == ["the root does listen"]
    assert LIBRDKAFKA_LOGGER.startswith(f"{QUIET_LOGGER}.")


@pytest.mark.usefixtures("new_minute")
def test_warnings_go_to_the_processs_own_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings have level and logger, and pass by a stderr that was replaced, as by one that logs."""
    own, replaced = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", own)
    monkeypatch.setattr(sys, "stderr", replaced)
    warn("moment", "a line")
    log.info("too quiet to be seen")
    assert own.getvalue() == "WARNING otel_kafka_exporter: a line\n"
    assert not replaced.getvalue()


@pytest.mark.usefixtures("new_minute")
def test_no_stderr_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without stderr is not harmed by a warning."""
    monkeypatch.setattr(sys, "__stderr__", None)
    warn("no stderr", "a line")


def test_once_per_minute(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of a kind comes through in a minute, others at once; the next one says how many were withheld."""
    logger = lines.logger
    now = 1000.0
    monkeypatch.setattr(log_lines, "monotonic", lambda: now)
    for number in range(5):
        logger.warning("lost %s", number, extra={"kind": "lost"})
    logger.warning("other", extra={"kind": "other"})
    logger.error("same kind, another level", extra={"kind": "lost"})
    assert lines.found == ["lost 0", "other", "same kind, another level"]
    now += 59.9
    logger.warning("lost %s", 5, extra={"kind": "lost"})
    assert len(lines.found) == 3
    now += 0.2
    logger.warning("lost %s", 6, extra={"kind": "lost"})
    logger.warning("other", extra={"kind": "other"})
    assert lines.found[3:] == ["lost 6 (5 more like this in between)", "other"]
    now += 61
    logger.warning("lost %s", 7, extra={"kind": "lost"})
    assert lines.found[5:] == ["lost 7"]


def test_lines_that_say_different_things_share_no_minute(lines: Lines) -> None:
    """Two sentences of one kind are two kinds: a mild one withholds none about a loss."""
    lines.logger.warning("it is sent without %s", "x", extra={"kind": "outbox"})
    lines.logger.warning("it is lost: %s", "x", extra={"kind": "outbox"})
    lines.logger.warning("it is lost: %s", "y", extra={"kind": "outbox"})
    assert lines.found == ["it is sent without x", "it is lost: x"]


def test_a_line_with_a_pace_of_its_own(lines: Lines) -> None:
    """Nothing withholds it."""
    for number in range(3):
        lines.logger.warning("lost %d", number, extra={"kind": None})
    assert lines.found == ["lost 0", "lost 1", "lost 2"]


@pytest.mark.usefixtures("new_minute")
def test_notes_that_say_different_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until they are told, notes of one kind and text are one, and those of another text are none of them."""
    own = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", own)
    for kind, text, argument in [("a", "mild %s", 1), ("a", "a loss %s", 2), ("a", "mild %s", 3)]:
        note(kind, text, argument)
    tell()
    assert [line.partition(": ")[2] for line in own.getvalue().splitlines()] == ["mild 1", "a loss 2"]


def test_faults_of_different_places_are_different_kinds() -> None:
    """What is raised in one line is of one kind, and of another one in the next."""

    def raised(number: int) -> str:
        try:
            if number > 1:
                int("no number")
            int("none, either")
        except ValueError as error:
            return kind_of_fault(error)
        return ""

    assert raised(0) == raised(1) != raised(2) == raised(3)
    assert kind_of_fault(ValueError("never raised")).startswith("fault:ValueError")


def test_the_first_minute_of_a_machine(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that begins at zero withholds nothing."""
    monkeypatch.setattr(log_lines, "monotonic", lambda: 0.0)
    lines.logger.warning("early")
    assert lines.found == ["early"]


def test_kinds_without_a_name(lines: Lines) -> None:
    """Without a name of its own a line's kind is its first argument, as librdkafka has its facility, or its text."""
    logger = lines.logger
    logger.warning("%s %s", "FAIL", "broker 1")
    logger.warning("%s %s", "FAIL", "broker 2")
    logger.warning("%s %s", "REQTMOUT", "broker 1")
    logger.warning("text")
    logger.warning("text")
    assert lines.found == ["FAIL broker 1", "REQTMOUT broker 1", "text"]


@pytest.mark.parametrize("argument", [[1], {"a": 1}, {1}, bytearray(b"x")], ids=str)
def test_kinds_that_cannot_be_kept(lines: Lines, argument: Any) -> None:
    """An argument that has no hash does not turn a line into an exception."""
    lines.logger.warning("%s", argument)
    assert len(lines.found) == 1


def test_a_line_with_a_percent_sign(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is no format stays readable when it says how many were withheld."""
    now = 1000.0
    monkeypatch.setattr(log_lines, "monotonic", lambda: now)
    for _ in range(3):
        lines.logger.warning("100% full")
    now += 61
    lines.logger.warning("100% full")
    assert lines.found == ["100% full", "100% full (2 more like this in between)"]


def test_threads_share_the_minute(lines: Lines) -> None:
    """However many threads say the same at once, it is said once."""
    logger = lines.logger
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: logger.warning("lost", extra={"kind": "lost"}), range(400)))
    assert lines.found == ["lost"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_a_line_is_judged() -> None:
    """A child that is forked while another thread's line is judged can say its own."""
    judge = OncePerMinute()
    judge._lock.acquire()
    child = os.fork()
    if child == 0:
        record = logging.LogRecord("x", logging.WARNING, "", 0, "text", None, None)
        taken = judge._lock.acquire(timeout=2)
        if taken:
            judge._lock.release()
        os._exit(0 if taken and judge.filter(record) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    judge._lock.release()


CONFIGURE = {
    "dictConfig": "logging.config.dictConfig({'version': 1})",
    "fileConfig": "logging.config.fileConfig(io.StringIO("
    "'[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n[formatters]\\nkeys=\\n[logger_root]\\nhandlers=\\n'))",
}


@pytest.mark.parametrize("configure", CONFIGURE.values(), ids=CONFIGURE)
@pytest.mark.parametrize("name", [QUIET_LOGGER, LIBRDKAFKA_LOGGER])
def test_a_configuration_of_the_applications_silences_nothing(name: str, configure: str) -> None:
    """Both disable all loggers that there are, by default; warnings about losses are heard all the same."""
    code = f"""
import io, logging.config, otel_kafka_exporter
before = logging.getLogger("before")
{configure}
assert before.disabled
logging.getLogger({name!r}).warning("a loss")
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    assert run.stderr == f"WARNING {name}: a loss\n"


def test_a_level_still_silences() -> None:
    """An application that wants no warnings of ours says so by a level."""
    logger = logging.getLogger(QUIET_LOGGER)
    logger.setLevel(logging.CRITICAL)
    try:
        assert not logger.isEnabledFor(logging.WARNING)
    finally:
        logger.setLevel(logging.NOTSET)


def test_a_line_of_ours_does_not_wait_for_ever_for_another_thread() -> None:
    """A signal handler has interrupted a line of ours, and waits for a lock whose holder has a line of ours to say."""
    [handler] = [each for each in log.handlers if isinstance(each, _StderrHandler)]
    of_a_log_handler, held = threading.Lock(), threading.Event()

    def say() -> None:
        with of_a_log_handler:
            held.set()
            warn("a ring", "a line of another thread")

    assert handler.lock is not None
    with ThreadPoolExecutor(1) as threads, handler.lock:
        said = threads.submit(say)
        assert held.wait(10)
        got = of_a_log_handler.acquire(timeout=20)
    assert got
    said.result(10)
