"""The consumers of examples/consumers, as their README starts them, on real topics."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_kafka_exporter import KafkaLogExporter, OnexEnvelopeV1, decode
from tests.functional.pipelines import audit_records, records
from tests.rig.kafka import KafkaCluster
from tests.waiting import until
from tests.ways_in.running import read

from .conftest import lacking

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
README = ROOT / "examples" / "consumers" / "README.md"
PYTHON, SHELL, GO = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
#: Values of all kinds, at their limits.
CONTEXT: dict[str, Any] = {
    "small": 1,
    "negative": -(2**63),
    "large": 2**63 - 1,
    "larger": 2**64 - 1,
    "ms": 12.5,
    "whole": 2.0,
    "paid": True,
    "text": "é \U0001f600 <&>",
    "empty": "",
    "list": [1, "a", [None], {}],
    "object": {"a": {"b": [0.1]}, "none": None},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the commands use, because they make files."""
    for folder in ("proto", "examples/consumers"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


@pytest.fixture
def published(kafka: KafkaCluster) -> Callable[..., tuple[str, list[OnexEnvelopeV1]]]:
    """Publish, in Protobuf unless told otherwise; gives the topics' prefix, and the envelopes as Python reads them."""

    def publish(**settings: Any) -> tuple[str, list[OnexEnvelopeV1]]:
        prefix = f"t{uuid.uuid4().hex[:12]}."
        topics = [f"{prefix}omninode.logging.{category}.v1" for category in ("application", "audit")]
        kafka.create_topics(*topics)
        settings = {"encoding": "protobuf", **settings}
        exporter = KafkaLogExporter(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, **settings)
        exporter.export([*records([f"line {n}" for n in range(20)], **CONTEXT), *audit_records(["event"])])
        until(lambda: exporter.stats().delivered == 21)
        exporter.shutdown()
        found = [(topic, n) for topic, n in zip(topics, (20, 1), strict=True)]
        messages = [message for topic, n in found for message in read(kafka.bootstrap_servers, topic, n)]
        return prefix, [decode(message.value(), message.headers()) for message in messages]

    return publish


def shell(command: str, project: Path, kafka: KafkaCluster, prefix: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the README against this cluster's topics."""
    command = command.replace("localhost:9092", kafka.bootstrap_servers).replace(
        "omninode.logging", f"{prefix}omninode.logging"
    )
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=project,
        env={**os.environ, "PATH": tools},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done
    return done


@pytest.mark.timeout(360)
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_go_program_made_of_the_proto_alone_reads_each_field(
    kafka: KafkaCluster, project: Path, published: Callable[..., tuple[str, list[OnexEnvelopeV1]]], encoding: str
) -> None:
    """What Go reads of a real topic, compressed too, is equal to the envelopes in each field."""
    if shutil.which("go") is None:
        lacking("go is not installed (Debian: golang-go, 1.24 or newer).")
    prefix, envelopes = published(compression="zstd", encoding=encoding)
    command = GO.replace("go run .", "go run . -records 21 -timeout 60s")
    done = shell(command, project, kafka, prefix)
    found = {document["event_id"]: document for document in map(json.loads, done.stdout.splitlines())}
    assert found == {envelope.event_id: envelope._asdict() for envelope in envelopes}
    assert {type(found[envelope.event_id]["payload"]["context"].get("small")) for envelope in envelopes[:20]} == {int}


def test_kcat_and_protoc_show_a_record(
    kafka: KafkaCluster, kcat: str, project: Path, published: Callable[..., tuple[str, list[OnexEnvelopeV1]]]
) -> None:
    """protoc prints the fields of the audit event by their names."""
    prefix, envelopes = published()
    done = shell(SHELL.replace("kcat", kcat, 1), project, kafka, prefix)
    assert f'event_id: "{envelopes[-1].event_id}"' in done.stdout
    assert "outcome: OUTCOME_SUCCESS" in done.stdout


def test_the_python_consumer_prints_each_event(
    kafka: KafkaCluster, project: Path, published: Callable[..., tuple[str, list[OnexEnvelopeV1]]]
) -> None:
    """It prints the time, the tenant, and who did what; a second run does so again."""
    prefix, envelopes = published()
    event = envelopes[-1]
    names = ("actor", "action", "resource", "outcome")
    line = " ".join([event.timestamp, event.tenant_id, *(str(event.payload[name]) for name in names)])
    for _ in range(2):
        assert shell(f"{PYTHON.strip()} 1", project, kafka, prefix).stdout == f"{line}\n"
