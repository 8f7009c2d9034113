"""What docs/production.md says holds."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.process.metrics import Metrics
from otel_kafka_exporter.settings import variable
from otel_kafka_exporter.settings.settings import FIELDS
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.records import SPAN_ID, TRACE_ID, hand_made
from tests.unit.test_docs import ROOT, blocks
from tests.ways_in.running import environment

from .pasting import section
from .pipelines import TOPIC
from .test_direct import direct

PAGE = ROOT / "docs" / "production.md"
#: Reading is for everybody: the Python of these tests may lie in somebody's home directory.
ANYBODY = (
    "setpriv --reuid 12345 --regid 12345 --clear-groups --no-new-privs"
    " --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
)
POD = """
import logging, otel_kafka_exporter
from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
provider = LoggerProvider()
provider.add_log_record_processor(KafkaLogRecordProcessor())
set_logger_provider(provider)
emit_audit_event("a", "b", "c", "success", wait=20)
provider.shutdown()
print(otel_kafka_exporter.stats().delivered)
"""
#: As the specification has it: what Prometheus puts behind a name, by unit.
UNITS = {"s": "_seconds", "By": "_bytes"}


def test_the_metrics_are_those_that_are_there(embedded_kafka: EmbeddedKafka) -> None:
    """The table has each metric by its name in Prometheus, and no other."""
    reader = InMemoryMetricReader()
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    metrics = Metrics(embedded_kafka.bootstrap_servers, MeterProvider([reader]))
    metrics.observe(exporter._delivery)
    metrics.exported(1.0)
    exporter.export([hand_made({})])
    found = set()
    data: Any = reader.get_metrics_data()
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        is_counter = isinstance(metric.data, Sum) and metric.data.is_monotonic
        found.add(metric.name.replace(".", "_") + UNITS.get(metric.unit, "") + "_total" * is_counter)
    exporter.shutdown()
    documented = set(re.findall(r"`(otel_(?:sdk|kafka_exporter)_\w+)`", section(PAGE, "What to watch")))
    assert documented - {"otel_component_name", "otel_component_type"} == found


def test_versions_are_those_that_are_declared() -> None:
    """The table of versions is that of pyproject.toml and of the brokers that tests run against."""
    table = section(PAGE, "Versions")
    project = (ROOT / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.10"' in project
    assert "| Python | 3.10 to 3.14 |" in table
    for name, row in (("opentelemetry-sdk", "API and SDK "), ("confluent-kafka", "confluent-kafka | ")):
        [lowest, limit] = re.findall(rf"{name}>=([\d.]+),<(\d+)", project)[0]
        assert f"{row}{lowest} and later, below {limit}" in table
    [kafka] = re.findall(
        r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)<", (ROOT / "tests/rig/pom.xml").read_text()
    )
    assert f"| {kafka} |" in table


def test_the_pod_is_one_and_names_settings() -> None:
    """The manifest parses, its variables are settings of ours or OpenTelemetry's, and the outbox is below a volume."""
    pod = yaml.safe_load(blocks(PAGE, "yaml")[0])["spec"]
    [container] = pod["containers"]
    variables = {each["name"]: each.get("value", "") for each in container["env"]}
    ours = {name for name in variables if name.startswith("OTEL_EXPORTER_KAFKA_")}
    assert ours <= {variable(name) for name in FIELDS}
    [mount] = container["volumeMounts"]
    assert Path(mount["mountPath"]) in Path(variables["OTEL_EXPORTER_KAFKA_OUTBOX_DIR"]).parents
    assert [volume["name"] for volume in pod["volumes"]] == [mount["name"]]


@pytest.mark.parametrize("number", [0, 1])
def test_the_properties_are_taken(number: int, tmp_path: Path) -> None:
    """The properties files are such as an exporter is made with, but for the files that they name."""
    text = blocks(PAGE, "properties")[number]
    # librdkafka reads certificates when it is made: these are not there.
    kept = [line for line in text.splitlines() if ".location" not in line]
    (tmp_path / "kafka.properties").write_text("\n".join(kept))
    (tmp_path / "kafka.properties").chmod(0o600)
    KafkaLogExporter(
        bootstrap_servers="localhost:9093", producer_config_file=str(tmp_path / "kafka.properties")
    ).shutdown()


def test_what_no_trace_samples_is_sent(embedded_kafka: EmbeddedKafka) -> None:
    """A record in a trace that is not sampled arrives, with a traceparent that says so."""
    span = NonRecordingSpan(SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(0)))
    with direct(embedded_kafka) as (provider, _), trace.use_span(span):
        assert isinstance(provider, LoggerProvider)
        provider.get_logger("shop").emit(body="placed")
    [message] = embedded_kafka.messages(TOPIC)
    headers: dict[str, Any] = dict(message.headers() or [])
    assert headers["traceparent"].endswith(b"-00")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Where `as_in_a_pod` mounts what is an emptyDir there: it belongs to root, and everybody may write to it."""
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def as_in_a_pod(volume: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program above as a user without a name, a home or a right, where only a volume can be written to."""
    if os.geteuid() or not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("only root can make a file system read-only for a process")
    script = f"""
mount --make-rprivate / && mount -t tmpfs -o size=64m,mode=1777 tmpfs {volume} && mount -o remount,bind,ro / || exit 77
exec env -u HOME -u XDG_STATE_HOME {ANYBODY} {sys.executable} -c {shlex.quote(POD)}
"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    return done


@pytest.mark.parametrize(
    ("outbox", "line"),
    [
        ("", ""),
        ("{volume}", "expected a directory that nobody else may write to"),
        ("/var/lib/outbox", "can write to, got"),
    ],
)
def test_a_pod_delivers(outbox: str, line: str, volume: Path, embedded_kafka: EmbeddedKafka) -> None:
    """Records are sent with a directory below a volume, and without one, of which a line says why it cannot be used."""
    directory = outbox.format(volume=volume) or f"{volume}/shop"
    variables = {
        "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers,
        "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": directory,
    }
    done = as_in_a_pod(volume, **variables)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert line in done.stderr
    assert bool(line) is bool(done.stderr)
    assert len(embedded_kafka.messages("omninode.logging.audit.v1")) == 1
