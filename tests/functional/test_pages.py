"""The programs of docs/publisher.md and docs/migration.md run as they stand, and what they publish arrives."""

from __future__ import annotations

import asyncio
import logging
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import otel_kafka_exporter
from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import CapturedEnvelopes, EmbeddedKafka
from tests.unit.test_docs import ROOT, blocks
from tests.ways_in.running import run

PUBLISHER = ROOT / "docs" / "publisher.md"
MIGRATION = ROOT / "docs" / "migration.md"
CATEGORIES = ("application", "audit", "security")


def actions(kafka: EmbeddedKafka) -> list[Any]:
    """Of each topic what the payloads' first words are."""
    found = [
        decode(message.value()).payload
        for category in CATEGORIES
        for message in kafka.messages(f"omninode.logging.{category}.v1")
    ]
    return [each.get("message") or each.get("action") or each.get("event_type") for each in found]


@pytest.mark.parametrize(
    ("program", "arrive"),
    [(0, ["the agent is done", "agent.execution", "api_key_used"]), (1, ["user.login"])],
)
def test_the_publishers_programs(
    program: int, arrive: list[str], embedded_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Each ends well and without a word, and its events are in their topics."""
    text = blocks(PUBLISHER, "python")[program].replace("localhost:9092", embedded_kafka.bootstrap_servers)
    (tmp_path / "app.py").write_text(text)
    done = run(sys.executable, str(tmp_path / "app.py"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert actions(embedded_kafka) == arrive


def test_what_replaces_aiokafka(embedded_kafka: EmbeddedKafka) -> None:
    """The lines after the change publish the event, in any coroutine."""
    _, after = blocks(MIGRATION, "text")
    lines = after.replace("localhost:9092", embedded_kafka.bootstrap_servers) + "await publisher.stop()\n"
    names: dict[str, Any] = vars(otel_kafka_exporter).copy()
    exec(f"async def main():\n{textwrap.indent(lines, '    ')}", names)
    asyncio.run(names["main"]())
    assert actions(embedded_kafka) == ["user.login"]


def test_what_logs_to_files_logs_to_kafka(
    captured_envelopes: CapturedEnvelopes, caplog: pytest.LogCaptureFixture
) -> None:
    """The lines before the change are those after it."""
    caplog.set_level(logging.INFO)
    exec(blocks(MIGRATION, "python")[0], {"__name__": "agents"})
    captured_envelopes.one(logger="agents", message="Agent execution completed")
