"""The README works when it is pasted from top to bottom, into one shell and the files that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT

from .installing import QUICK
from .pasting import as_script, blocks_in_order, paste
from .pipelines import TOPIC

pytestmark = pytest.mark.timeout(400)  # pip may be slow

README = ROOT / "README.md"
AUDIT = "omninode.logging.audit.v1"
SECURITY = "omninode.logging.security.v1"


@pytest.mark.usefixtures("empty")
def test_pasted_from_top_to_bottom(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Every block works after those before it: lines and events arrive, secrets do not, and the tests pass."""
    (tmp_path / "otel-kafka-exporter").symlink_to(ROOT)
    script = as_script(blocks_in_order(README.read_text(encoding="utf-8")), embedded_kafka.bootstrap_servers)
    done = paste(script, tmp_path, **QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING otel_kafka_exporter" not in done.stderr
    assert "order placed  order=17  password=[REDACTED]" in done.stdout  # by `otel-kafka tail`
    assert f"{AUDIT} " in done.stdout  # of the receipt
    assert "3 passed" in done.stdout
    lines = [decode(message.value()).payload["message"] for message in embedded_kafka.messages(TOPIC)]
    assert lines == ["order placed"] * 2  # of both runs
    resources = [decode(message.value()).payload["resource"] for message in embedded_kafka.messages(AUDIT)]
    assert sorted(map(str, resources)) == ["order/17", "order/18", "order/19"]
    [denied] = [decode(message.value()).payload for message in embedded_kafka.messages(SECURITY)]
    assert denied["decision"] == "deny"
