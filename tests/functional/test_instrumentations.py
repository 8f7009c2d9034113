"""Beside OpenTelemetry's instrumentations of what the exporter is made of, or might be."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka

from .pipelines import arrived


@pytest.mark.parametrize("order", ["first", "last"])
def test_no_log_record_makes_a_span(order: str, embedded_kafka: EmbeddedKafka) -> None:
    """Instrumented before or after our import, a produce of ours makes no span; one of the application's does."""
    app = [sys.executable, "-m", "tests.functional.apps.instrumented", embedded_kafka.bootstrap_servers, order]
    run = subprocess.run(app, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"ours": 0, "control": ["control send", "SELECT"]}
    assert arrived(embedded_kafka).count("9") == 2
    assert len(embedded_kafka.messages("omninode.logging.audit.v1")) == 2
