"""`otel-kafka tail` on a terminal and in a pipe that stays open: it follows, and it ends well."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import IO

import pytest

from otel_kafka_exporter.cli.tail import history, reading
from otel_kafka_exporter.cli.tail.scanning import Scan, Tally
from otel_kafka_exporter.cli.tail.selection import Selection
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.tailing import START, TOPICS, kafka_record
from tests.waiting import until

from .tails import put

COMMAND = str(Path(sys.executable).with_name("otel-kafka"))
APPLICATION = TOPICS["application"]
LIMIT = 15
STYLES = re.compile("\x1b\\[[0-9;]*m")


def now() -> float:
    """Seconds after `START`, so that the records of a test are of now, whenever it runs."""
    return time.time() - START


class Lines:
    """What a stream brings, read by a thread, so that waiting for it has a limit."""

    def __init__(self, stream: IO[str]) -> None:
        self._queue: Queue[str] = Queue()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        try:
            for line in stream:
                self._queue.put(line.rstrip("\r\n"))
        except (OSError, ValueError):
            return  # a terminal whose other side is gone; a stream that a test has closed

    def next(self) -> str:
        return self._queue.get(timeout=LIMIT)

    def until(self, word: str) -> str:
        """The next line with this word."""
        while word not in (line := self.next()):
            pass
        return line

    def rest(self) -> list[str]:
        self._thread.join(LIMIT)
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


@contextmanager
def following(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Lines, Lines]]:
    """`otel-kafka tail --follow` in a pipe; its process, its lines, and those on stderr."""
    with subprocess.Popen(
        [COMMAND, "tail", "--follow", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process, Lines(process.stdout), Lines(process.stderr)
        finally:
            process.kill()


def test_it_goes_on_with_what_arrives_and_ctrl_c_ends_it(embedded_kafka: EmbeddedKafka) -> None:
    """History comes first, then what arrives, by time over partitions; Ctrl-C leaves the summary, and 130."""
    put(embedded_kafka, [kafka_record(at=now() - 60, message="old")], 0)
    with following("--since", "1h", "--category", "application") as (process, lines, errors):
        assert "old" in lines.next()
        # Of two that arrive together, the older one is in another partition than the first.
        put(
            embedded_kafka,
            [kafka_record(at=now() + 1, message="second"), kafka_record(at=now(), message="first")],
            1,
            2,
        )
        assert "first" in lines.next()
        assert "second" in lines.next()
        put(embedded_kafka, [kafka_record(at=now() - 5, message="overdue")], 3)
        assert "(late)" in lines.until("overdue")
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
        assert errors.rest()[-1].startswith("4 read, 4 matched, 0 duplicates, 0 undecodable")


def test_an_outage_is_said_once_and_it_goes_on(embedded_kafka: EmbeddedKafka) -> None:
    """When the broker goes away that is one line, and one when it answers again; what arrives then is shown."""
    embedded_kafka.create_topic(APPLICATION)
    put(embedded_kafka, [kafka_record(at=now(), message="before")])
    with following("--since", "1h", "--category", "application") as (process, lines, errors):
        lines.until("before")
        embedded_kafka.down()
        assert "does not answer" in errors.next()
        embedded_kafka.up()
        put(embedded_kafka, [kafka_record(at=now() + 1, message="after")])
        lines.until("after")
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
        back, summary = errors.rest()
        assert back.endswith("answers again")
        assert summary.startswith("2 read")


def test_a_topic_that_appears_is_followed_from_its_beginning(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Topics and partitions that did not exist at the start are found, and none of their records is missed."""
    monkeypatch.setattr(history, "_DISCOVERY_SECONDS", 0.1)
    found: list[str] = []
    said: list[str] = []
    with reading.Reader(embedded_kafka.bootstrap_servers, {}, said.append) as reader:
        assert reader.topics() == {}
        put(embedded_kafka, [kafka_record(at=now() + n) for n in range(3)], 0)
        scan = Scan(Selection(None), Tally())
        for records in history.by_time(reader, scan, {}, [APPLICATION]):
            found.extend(each.record.place for each in records)
            if len(found) == 3:
                break
    assert found == [f"{APPLICATION}/0/{offset}" for offset in range(3)]
    assert said == []


def test_ctrl_c_ends_it_during_an_outage(embedded_kafka: EmbeddedKafka) -> None:
    """While librdkafka complains of brokers that are away, Ctrl-C is as quiet as at any other time."""
    put(embedded_kafka, [kafka_record(at=now())])
    with following("--since", "1h", "--category", "application") as (process, lines, errors):
        lines.until("stock is low")
        embedded_kafka.down()
        assert "does not answer" in errors.next()
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
        [summary] = errors.rest()
        assert summary.startswith("1 read")


@pytest.mark.parametrize("idle", [False, True])
def test_a_reader_that_goes_away_ends_it_quietly(embedded_kafka: EmbeddedKafka, idle: bool) -> None:  # noqa: FBT001 - one of two
    """`| head -1` ends it without a word and as SIGPIPE does, even when nothing more arrives."""
    put(embedded_kafka, [kafka_record(at=now(), message="first")])
    with subprocess.Popen(
        [COMMAND, "tail", "--follow", "--since", "1h"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "first" in process.stdout.readline()
        process.stdout.close()
        if not idle:
            put(embedded_kafka, [kafka_record(at=now() + n, message="more") for n in range(1_000)])
        assert process.wait(LIMIT) == 141
        assert [line for line in process.stderr if "does not exist yet" not in line] == []


@contextmanager
def on_a_terminal(columns: int, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], Lines]]:
    """`otel-kafka tail` on a terminal of so many columns; its process, and what is on the screen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    environment = {**kept, "TERM": "xterm-256color", "TZ": "UTC", **variables}
    with subprocess.Popen(
        [COMMAND, "tail", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        with os.fdopen(ours, encoding="utf-8", errors="replace") as screen:
            try:
                yield process, Lines(screen)
            finally:
                process.kill()


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_on_a_terminal_it_follows_in_colour_and_in_its_columns(embedded_kafka: EmbeddedKafka, columns: int) -> None:
    """Without options it says what it follows, and each line fits; of a record only text reaches the terminal."""
    embedded_kafka.create_topic(APPLICATION)
    evil = "\x1b]0;title\x07\x1b[2J\x9b5A \u202e " + "word " * 30
    with on_a_terminal(columns, "--category", "application") as (process, screen):
        screen.until("following 1 topics")
        put(embedded_kafka, [kafka_record(at=now(), message=evil, context={"k": evil}), kafka_record(at=now() + 1)])
        lines = []
        while "stock" not in (line := screen.next()):
            lines.append(line)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
    shown = [STYLES.sub("", line) for line in lines]
    assert any(STYLES.search(line) for line in lines)
    assert all(len(line) <= columns and line.isprintable() for line in shown), shown
    assert " ".join(shown).count("word") >= 30


def test_no_color_is_honoured_on_a_terminal(embedded_kafka: EmbeddedKafka) -> None:
    """With NO_COLOR a terminal gets text alone; the end of a bounded read is the end."""
    put(embedded_kafka, [kafka_record(at=now())])
    with on_a_terminal(80, "--last", "1", NO_COLOR="1") as (process, screen):
        assert "\x1b" not in screen.until("stock is low")
        assert process.wait(LIMIT) == 0


def test_values_do_not_go_to_a_terminal_as_they_are(embedded_kafka: EmbeddedKafka) -> None:
    """`--raw` is for pipes and files, and says so on a terminal."""
    del embedded_kafka
    with on_a_terminal(80, "--raw") as (process, screen):
        screen.until("--raw: expected a pipe or a file, got a terminal")
        assert process.wait(LIMIT) == 2


def test_the_last_ones_and_what_follows(embedded_kafka: EmbeddedKafka) -> None:
    """`--last 2 --follow` begins with the last two and misses nothing that arrives after these."""
    put(embedded_kafka, [kafka_record(at=now() + n, message=f"m{n}") for n in range(9)], 1)
    with following("--last", "2", "--category", "application") as (_, lines, _errors):
        assert ["m7" in lines.next(), "m8" in lines.next()] == [True, True]
        put(embedded_kafka, [kafka_record(at=now() + 9, message="m9")], 2)
        assert "m9" in lines.next()


def test_it_joins_no_group(embedded_kafka: EmbeddedKafka) -> None:
    """While it follows, and after it, its consumer is a member of nothing and has committed nothing."""
    put(embedded_kafka, [kafka_record(at=now())])
    with reading.Reader(embedded_kafka.bootstrap_servers, {}, print) as reader:
        reader.assign({(APPLICATION, 0): 0})
        until(lambda: reader.read(0.1).reached)
        assert reader._consumer.memberid() in (None, "")
