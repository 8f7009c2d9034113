"""Records that wait for a cluster that their service no longer names: delivered where that is safe, and else said."""

from __future__ import annotations

import json
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.process import Metrics
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, audit_records, delivery_of, exporting, settled
from .test_outbox_commands import otel_kafka

AUDIT_TOPIC = "omninode.logging.audit.v1"
NOWHERE = "127.0.0.1:1"


def leave(servers: str, messages: list[str], **settings: str) -> None:
    """What a service spools that cannot reach the cluster that it names."""
    exporter = KafkaLogExporter(bootstrap_servers=servers, delivery_wait=0.1, shutdown_timeout=0.2, **settings)
    exporter.export(audit_records(messages))
    exporter.shutdown()
    assert exporter.stats().spooled == len(messages)


def stranded(exporter: KafkaLogExporter) -> dict[str, float]:
    """How many records are stranded, by the servers that they are for, as a metric tells."""
    reader = InMemoryMetricReader()
    metrics = Metrics("", MeterProvider([reader]))
    metrics.observe(delivery_of(exporter))
    data = reader.get_metrics_data()
    assert data is not None
    return {
        str((point.attributes or {}).get("otel_kafka_exporter.outbox.servers", "")): point.value  # type: ignore[union-attr]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "otel_kafka_exporter.outbox.stranded"
        for point in metric.data.data_points
    }


def said(capfd: pytest.CaptureFixture[str], heard: list[str], text: str) -> bool:
    """Whether it was said on stderr by now, of which everything is kept."""
    heard.append(capfd.readouterr().err)
    return text in "".join(heard)


def only_outbox(kafka: EmbeddedKafka, *arguments: str) -> dict[str, object]:
    [found] = json.loads(otel_kafka(kafka, "status", "--json", *arguments).stdout)
    assert isinstance(found, dict)
    return found


def test_a_mistyped_address_is_mended(embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]) -> None:
    """What was spooled for it is never sent elsewhere unasked, is said everywhere, and is adopted by a command."""
    leave(NOWHERE, ["one", "two"])
    capfd.readouterr()
    heard: list[str] = []
    with exporting(embedded_kafka) as exporter:
        exporter.export(audit_records(["after"]))
        until(lambda: stranded(exporter) == {NOWHERE: 2})
        until(lambda: said(capfd, heard, "2 records of dead processes wait"))
        assert NOWHERE in "".join(heard)
    assert arrived(embedded_kafka, AUDIT_TOPIC) == ["after"]

    run = otel_kafka(embedded_kafka, "drain")
    assert (run.returncode, run.stdout) == (1, "0 delivered, 0 left, 0 dead letters\n")
    assert f"kept for {NOWHERE}, cluster not known, topics omninode.logging.*" in run.stderr
    assert "2 records wait in " in run.stderr
    found = only_outbox(embedded_kafka)
    assert (found["taken_over"], found["records"]) == ("no", {"audit": 2})
    assert f"`otel-kafka outbox adopt {found['path']}`" in otel_kafka(embedded_kafka, "status").stdout

    path = str(found["path"])
    asked = otel_kafka(embedded_kafka, "adopt", path, answer="n\n")
    assert asked.returncode == 1
    assert "records       audit 2\n" in asked.stdout
    assert f"delivered to  {embedded_kafka.bootstrap_servers}: " in asked.stdout
    assert only_outbox(embedded_kafka) == {**found, "oldest_seconds": pytest.approx(found["oldest_seconds"], abs=60)}
    adopted = otel_kafka(embedded_kafka, "adopt", path, answer="y\n")
    assert adopted.returncode == 0, adopted.stderr
    assert only_outbox(embedded_kafka)["taken_over"] == "yes"
    run = otel_kafka(embedded_kafka, "drain")
    assert (run.returncode, run.stdout) == (0, "2 delivered, 0 left, 0 dead letters\n")
    assert sorted(arrived(embedded_kafka, AUDIT_TOPIC)) == ["after", "one", "two"]


def test_a_broker_more_in_the_list_strands_nothing(embedded_kafka: EmbeddedKafka) -> None:
    """What was spooled for some of a cluster's addresses is delivered by who names more of them."""
    embedded_kafka.down()
    leave(embedded_kafka.bootstrap_servers, ["before"])
    embedded_kafka.up()
    servers = f"{embedded_kafka.bootstrap_servers},{NOWHERE}"
    exporter = KafkaLogExporter(bootstrap_servers=servers)
    exporter.export(audit_records(["after"]))
    until(lambda: sorted(arrived(embedded_kafka, AUDIT_TOPIC)) == ["after", "before"])
    exporter.shutdown()


def test_another_port_of_the_same_cluster_strands_nothing(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """Who once reached a cluster is succeeded by whoever reaches the same one, by whatever address."""
    with exporting(embedded_kafka, delivery_wait=0.1) as exporter:
        exporter.export(audit_records(["before"]))
        until(lambda: "cluster_id" in (owner := next(outbox_dir.glob("*/*/owner"))).read_text() and owner)
        embedded_kafka.down()
        exporter.export(audit_records(["meanwhile"]))
    (owner,) = outbox_dir.glob("*/*/owner")
    told = json.loads(owner.read_text())
    owner.write_text(json.dumps({**told, "bootstrap_servers": "another-name:9092"}))
    owner.parent.parent.rename(outbox_dir / "0123456789abcdef")
    embedded_kafka.up()
    with exporting(embedded_kafka) as exporter:
        exporter.export(audit_records(["after"]))
        until(lambda: set(arrived(embedded_kafka, AUDIT_TOPIC)) == {"before", "meanwhile", "after"})


def test_two_environments_that_share_a_home_directory(embedded_kafka: EmbeddedKafka) -> None:
    """Neither cluster ever gets what is for the other one; each drains its own."""
    with EmbeddedKafka() as other:
        for kafka, message in ((embedded_kafka, "ours"), (other, "theirs")):
            kafka.down()
            leave(kafka.bootstrap_servers, [message])
            kafka.up()
        run = otel_kafka(embedded_kafka, "drain")
        assert (run.returncode, run.stdout) == (1, "1 delivered, 0 left, 0 dead letters\n")
        assert other.bootstrap_servers in run.stderr
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ["ours"]
        run = otel_kafka(other, "drain")
        assert (run.returncode, run.stdout) == (0, "1 delivered, 0 left, 0 dead letters\n")
        assert arrived(other, AUDIT_TOPIC) == ["theirs"]
        assert arrived(embedded_kafka, AUDIT_TOPIC) == ["ours"]


def test_another_prefix_is_not_adopted_but_drained_with_its_own(embedded_kafka: EmbeddedKafka) -> None:
    """Records for other topics are sent to no others: the command says so, and how they are delivered to theirs."""
    embedded_kafka.down()
    leave(embedded_kafka.bootstrap_servers, ["one"], topic_prefix="dev.")
    embedded_kafka.up()
    found = only_outbox(embedded_kafka)
    assert found["taken_over"] == "no"
    run = otel_kafka(embedded_kafka, "adopt", "--yes", str(found["path"]))
    assert run.returncode == 1
    assert f"got some for dev.{AUDIT_TOPIC}" in run.stderr
    run = otel_kafka(embedded_kafka, "drain", OTEL_EXPORTER_KAFKA_TOPIC_PREFIX="dev.")
    assert (run.returncode, run.stdout) == (0, "1 delivered, 0 left, 0 dead letters\n")
    assert arrived(embedded_kafka, f"dev.{AUDIT_TOPIC}") == ["one"]
    assert embedded_kafka.messages(AUDIT_TOPIC) == []


def test_adopt_moves_what_was_left_in_another_directory(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Another `outbox_dir`, of another home say, strands nothing either."""
    elsewhere = tmp_path / "elsewhere"
    leave(NOWHERE, ["one"], outbox_dir=str(elsewhere))
    found = only_outbox(embedded_kafka, "--outbox-dir", str(elsewhere))
    run = otel_kafka(embedded_kafka, "adopt", "--yes", str(found["path"]))
    assert run.returncode == 0, run.stderr
    run = otel_kafka(embedded_kafka, "drain")
    assert (run.returncode, run.stdout) == (0, "1 delivered, 0 left, 0 dead letters\n")


def test_nothing_is_adopted_of_a_process_that_lives(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """`adopt` takes nothing from a living process, and nothing that is no outbox."""
    with exporting(embedded_kafka) as exporter:
        embedded_kafka.down()
        exporter.export(audit_records(["one"]))
        path = str(only_outbox(embedded_kafka)["path"])
        run = otel_kafka(embedded_kafka, "adopt", "--yes", path)
        assert (run.returncode, run.stdout) == (1, "")
        assert "one whose process lives" in run.stderr
    run = otel_kafka(embedded_kafka, "adopt", "--yes", str(tmp_path))
    assert (run.returncode, run.stderr) == (1, f"expected the directory of an outbox, got {tmp_path}\n")


def test_two_processes_adopt_at_once(embedded_kafka: EmbeddedKafka) -> None:
    """Several `adopt` of one outbox, and several that take it over, lose nothing and double nothing."""
    leave(NOWHERE, [str(n) for n in range(50)])
    path = str(only_outbox(embedded_kafka)["path"])
    runs: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda: runs.append(otel_kafka(embedded_kafka, "adopt", "--yes", path)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.returncode for run in runs].count(0) >= 1
    drains = [threading.Thread(target=lambda: runs.append(otel_kafka(embedded_kafka, "drain"))) for _ in range(2)]
    for thread in drains:
        thread.start()
    for thread in drains:
        thread.join()
    assert sorted(arrived(embedded_kafka, AUDIT_TOPIC), key=int) == [str(n) for n in range(50)]


def test_embedded_brokers_leave_nothing_in_the_outbox(outbox_dir: Path) -> None:
    """Each has another address, and so its own place there, which goes with what it was for."""
    for _ in range(3):
        with EmbeddedKafka() as kafka, exporting(kafka) as exporter:
            exporter.export(audit_records(["one"]))
            kafka.down()
            exporter.hand_over(audit_records(["held up"])[0])
            kafka.up()
            until(partial(settled, exporter))
    assert list(outbox_dir.iterdir()) == []
