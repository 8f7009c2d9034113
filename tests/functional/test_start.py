"""Whoever asks is told that it works: by a line at the start, by counts, and by a name in the outbox."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

import otel_kafka_exporter
from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor, LoggingEventPublisher
from otel_kafka_exporter.otel.exporter import EntryPointKafkaLogExporter
from otel_kafka_exporter.process import librdkafka_log, log_lines, note_librdkafka, tell
from otel_kafka_exporter.process import log as log_of_ours
from otel_kafka_exporter.process.process_name import _asked_for
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.ways_in.running import INSTRUMENT

from .pipelines import exporting, records
from .publishers import log

LEVEL = "OTEL_EXPORTER_KAFKA_LOG_LEVEL"
APP = """
import logging, otel_kafka_exporter
logging.getLogger("shop").warning("one")
from opentelemetry._logs import get_logger_provider
get_logger_provider().force_flush()
found = otel_kafka_exporter.stats()
print(found.accepted, found.delivered, dict(found.dropped))
"""


@pytest.fixture(autouse=True)
def own_level() -> Iterator[None]:
    """The levels of our loggers, which are the process's, are what they were."""
    before = log_of_ours.level, librdkafka_log.level
    yield
    for logger, level in zip((log_of_ours, librdkafka_log), before, strict=True):
        logger.setLevel(level)


def started(kafka: EmbeddedKafka, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    app = tmp_path / "app.py"
    app.write_text(APP)
    others = {"OTEL_LOGS_EXPORTER": "onex_kafka", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    return subprocess.run(
        [INSTRUMENT, sys.executable, str(app)],
        env={**os.environ, **others, **servers, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize(
    ("direct", "way"), [("true", "the direct processor"), ("false", "OpenTelemetry's own processor, in batches")]
)
def test_one_line_at_the_start(
    direct: str, way: str, embedded_kafka: EmbeddedKafka, outbox_dir: Path, tmp_path: Path
) -> None:
    """It says which cluster, which way in and where the outbox is; and the counts can be had from the package."""
    variables = {LEVEL: "info", "OTEL_EXPORTER_KAFKA_DIRECT": direct}
    found = started(embedded_kafka, tmp_path, **variables)
    assert found.stderr == (
        f"INFO otel_kafka_exporter: records go to Kafka at {embedded_kafka.bootstrap_servers}, to the topics"
        f" omninode.logging.*.v1, by {way}; what it does not take waits in {outbox_dir}\n"
    )
    assert found.stdout == "1 1 {}\n"


def test_the_line_at_the_start_names_no_outbox_that_cannot_be(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Where the directory cannot be used a line says why, and that at the start does not say the opposite."""
    (tmp_path / "file").touch()
    found = started(embedded_kafka, tmp_path, **{LEVEL: "info", "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": f"{tmp_path}/file"})
    assert "there is no outbox, and records that cannot be delivered are dropped" in found.stderr
    assert "by the direct processor; there is no outbox\n" in found.stderr


def test_nothing_is_said_unasked(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """That the application's own lines are of INFO asks for none of ours."""
    found = started(embedded_kafka, tmp_path, OTEL_PYTHON_LOG_LEVEL="info")
    assert "otel_kafka_exporter" not in found.stderr


def test_what_cannot_be_delivered_is_counted_too(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """An exporter that OpenTelemetry's set-up has made with wrong settings has its drops in the counts."""
    found = started(embedded_kafka, tmp_path, OTEL_EXPORTER_KAFKA_ENCODING="morse")
    assert found.stdout == "1 0 {'misconfigured': 1}\n"


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capfd.readouterr().err.splitlines() if "records go to Kafka" in line]


def test_the_level_of_the_logger_asks_for_it_as_well(
    embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each way in has its own words, and each exporter its line, once."""
    log_of_ours.setLevel(logging.INFO)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", outbox=False))
    [line] = lines(capfd)
    assert "127.0.0.1:1" in line
    assert line.endswith("by the direct processor; there is no outbox")
    provider.shutdown()
    provider = LoggerProvider(shutdown_on_exit=False)
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    for _ in range(2):
        exporter.export(records(["one"]))
    [line] = lines(capfd)
    assert "in batches" in line
    provider.shutdown()

    async def publish() -> None:
        publisher = LoggingEventPublisher(embedded_kafka.bootstrap_servers, topic_prefix="dev.")
        await publisher.start()
        assert await log(publisher, "one")
        await publisher.stop()

    asyncio.run(publish())
    [line] = lines(capfd)
    assert "to the topics dev.omninode.logging.*.v1, by a publisher; there is no outbox" in line


def test_the_counts_are_those_of_all(embedded_kafka: EmbeddedKafka) -> None:
    """Exporters, processors, publishers, and those that cannot deliver: each record of the process is counted once."""
    gc.collect()  # what other tests have left
    before = otel_kafka_exporter.stats()
    wrong = EntryPointKafkaLogExporter(encoding="morse")
    with exporting(embedded_kafka) as one, exporting(embedded_kafka, outbox=False) as other:
        one.export(records(["a", "b"]))
        other.export(records(["c"]))
        wrong.export(records(["d"]))
        after = otel_kafka_exporter.stats()
        assert after.accepted - before.accepted == 4
        assert after.delivered - before.delivered == 3
        assert after.dropped["misconfigured"] - before.dropped.get("misconfigured", 0) == 1
        assert after.accepted == sum(after[1:5]) + sum(after.dropped.values())


KEEP = """
from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event
from opentelemetry.sdk._logs import LoggerProvider
def keep():
    provider = LoggerProvider()
    provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", shutdown_timeout=0))
    emit_audit_event("a", "b", "c", "success", logger=provider.get_logger("x"))
"""
SPAWN = """
import multiprocessing
from keeping import keep
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=keep)
    child.start()
    child.join()
"""


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["script.py", "--password=x"], "script.py"),
        (["-m", "package", "--password=x"], "python -m package"),
        (["-m", "package.inner"], "python -m package.inner"),
        (["-c", "from keeping import keep; keep()"], "python -c"),
        (["spawns.py"], "spawns.py"),
        (["-m", "spawning"], "python -m spawning"),
    ],
)
def test_the_name_of_a_process(arguments: list[str], name: str, outbox_dir: Path, tmp_path: Path) -> None:
    """What lies in the outbox says which program has left it, however that was started, and none of its arguments."""
    (tmp_path / "keeping.py").write_text(KEEP)
    (tmp_path / "script.py").write_text("from keeping import keep; keep()")
    (tmp_path / "package").mkdir()
    for module in ("__init__", "inner"):
        (tmp_path / "package" / f"{module}.py").write_text(
            "if __name__ == '__main__':\n from keeping import keep; keep()"
        )
    (tmp_path / "package" / "__main__.py").write_text("from keeping import keep; keep()")
    (tmp_path / "spawns.py").write_text(SPAWN)
    (tmp_path / "spawning").mkdir()
    (tmp_path / "spawning" / "__main__.py").write_text(SPAWN)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environ, check=True, timeout=60)
    [owner] = outbox_dir.rglob("owner")
    assert json.loads(owner.read_text())["command"] == name


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-X", "dev", "-W", "error", "-m", "shop", "-v"], "python -m shop"),
        (["-I", "/srv/app.py", "-m"], "/srv/app.py"),
        (["-c", "pass", "-m"], "python -c"),
        (["-m"], "python -m"),
        (["-"], "python"),
        ([], "python"),
    ],
)
def test_the_name_while_the_interpreter_starts(arguments: Any, name: str) -> None:
    """Before `sys.argv` is final, what the interpreter was asked for tells it."""
    assert _asked_for(arguments) == name


def test_librdkafkas_debug_lines_go_to_its_logger(
    embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever sets `debug` gets its lines, all of them and by our logger only, and none of an address that is set."""
    with exporting(embedded_kafka, producer_config={"debug": "broker,msg"}) as exporter:
        made = capfd.readouterr()
        assert made == ("", "")
        exporter.export(records(["one"]))
    said = capfd.readouterr().err.splitlines()
    assert sum(line.startswith("DEBUG otel_kafka_exporter.librdkafka: ") for line in said) > 10
    assert [line for line in said if line.startswith("%") or "No `bootstrap.servers`" in line] == []


def test_a_flood_of_debug_lines_costs_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    """What there is no room for until it is told are lines of `debug`."""
    librdkafka_log.setLevel(logging.DEBUG)
    for number in range(2_000):
        note_librdkafka(logging.DEBUG, "%s %s", "MSG", number)
        if number in (10, 1_990):
            note_librdkafka(logging.ERROR, "%s %s", f"FAIL{number}", number)
    tell()
    said = capfd.readouterr().err
    assert "FAIL10 10" in said
    assert "FAIL1990 1990" in said


def test_what_nobody_hears_is_not_kept() -> None:
    """At the usual level a line of `debug` is gone at once."""
    note_librdkafka(logging.DEBUG, "%s", "MSG")
    assert not log_lines._lines
