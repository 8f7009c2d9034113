"""The README's six ways in work when pasted: extracted from it, with only the broker's address changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT, blocks
from tests.ways_in.running import INSTRUMENT, app, envelopes, run

README = ROOT / "README.md"


def test_no_change_of_code(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The shell lines of the first way run an application whose logs arrive."""
    [script] = [block for block in blocks(README, "bash") if "OTEL_LOGS_EXPORTER" in block]
    (tmp_path / "app.py").write_text(Path(app("stdlib_logging")).read_text())
    script = script.replace("localhost:9092", embedded_kafka.bootstrap_servers)
    path = f"PATH={Path(sys.executable).parent}:$PATH"
    done = subprocess.run(
        ["sh", "-euc", f"{path}\n{script}"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    found = envelopes(embedded_kafka.bootstrap_servers, "omninode.logging.application.v1", 3)
    assert {envelope.source for envelope in found} == {"shop"}


def test_declarative_file(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The YAML of the second way sets OpenTelemetry up."""
    [text] = blocks(README, "yaml")
    (tmp_path / "otel.yaml").write_text(text)
    done = run(
        INSTRUMENT,
        sys.executable,
        app("declarative"),
        OTEL_CONFIG_FILE=str(tmp_path / "otel.yaml"),
        KAFKA=embedded_kafka.bootstrap_servers,
    )
    assert done.returncode == 0, done.stderr
    assert envelopes(embedded_kafka.bootstrap_servers, "omninode.logging.application.v1", 1)


def test_in_code_and_events(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The Python of the third and fourth way, in one process, logs, audits and denies."""
    in_code, _, events, with_logging, _, _ = blocks(README, "python")
    set_up, shutdown = in_code.replace("localhost:9092", embedded_kafka.bootstrap_servers).split("provider.shutdown()")
    script = "\n".join(
        [set_up, "logging.getLogger().setLevel('INFO')", events, with_logging, f"provider.shutdown(){shutdown}"]
    )
    (tmp_path / "app.py").write_text(script)
    done = run(sys.executable, str(tmp_path / "app.py"))
    assert "accepted=4, delivered=4" in done.stdout, done.stderr
    assert len(envelopes(embedded_kafka.bootstrap_servers, "omninode.logging.audit.v1", 2)) == 2


def test_the_direct_processor_and_a_receipt(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The Python of the README's direct processor, and that of a receipt in the page on delivery, print where it is."""
    _, direct, *_ = blocks(README, "python")
    [receipt] = blocks(ROOT / "docs" / "delivery.md", "python")
    script = [
        direct.replace("localhost:9092", embedded_kafka.bootstrap_servers),
        "from opentelemetry._logs import set_logger_provider",
        "set_logger_provider(provider)",
        receipt,
        "provider.shutdown()",
    ]
    (tmp_path / "app.py").write_text("\n".join(script))
    done = run(sys.executable, str(tmp_path / "app.py"))
    assert done.stdout.startswith("omninode.logging.audit.v1 "), done.stderr


@pytest.mark.parametrize(("document", "number"), [("README.md", 4), ("docs/publisher.md", 0), ("docs/publisher.md", 1)])
def test_the_publishers_examples(embedded_kafka: EmbeddedKafka, tmp_path: Path, document: str, number: int) -> None:
    """The publisher's examples run as they stand, and their audit event arrives."""
    script = blocks(ROOT / document, "python")[number]
    (tmp_path / "app.py").write_text(script.replace("localhost:9092", embedded_kafka.bootstrap_servers))
    done = run(sys.executable, str(tmp_path / "app.py"))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(envelopes(embedded_kafka.bootstrap_servers, "omninode.logging.audit.v1", 1)) == 1
