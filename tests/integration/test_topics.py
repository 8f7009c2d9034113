"""`otel-kafka topics` on a real broker: what is planned is done, and a second time there is nothing to do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin._acl import AclOperation

from otel_kafka_exporter.cli.admin import Admin
from otel_kafka_exporter.cli.topics.facts import TopicFacts, find_topics
from tests.doctoring import PROPERTIES, SERVERS
from tests.functional.tails import Done, tail
from tests.functional.test_command_line import COMMANDS, environment, examples
from tests.rig.kafka import KafkaCluster
from tests.rig.process import HeldPort
from tests.rig.security import grant, secure_cluster
from tests.tailing import TOPICS

from .conftest import require_kafka

pytestmark = pytest.mark.integration

DAY = 86_400_000


class Cluster:
    """Topics with a prefix of their own."""

    def __init__(self, kafka: KafkaCluster) -> None:
        self.kafka = kafka
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.names = [self.prefix + topic for topic in TOPICS.values()]

    def run(self, command: str, *arguments: str, **variables: str) -> Done:
        given = {SERVERS: self.kafka.bootstrap_servers, "OTEL_EXPORTER_KAFKA_TOPIC_PREFIX": self.prefix, **variables}
        return tail(*arguments, command=("topics", command), **given)

    def changes(self, command: str, *arguments: str) -> list[dict[str, Any]]:
        document = json.loads(self.run(command, "--json", *arguments).output)
        assert document["schema"] == "otel-kafka-topics/1"
        return list(document["changes"])

    def facts(self, name: str) -> TopicFacts:
        admin = Admin(self.kafka.bootstrap_servers, {}, 10.0)
        return find_topics(admin, admin.metadata(), [name]).topics[name]


@pytest.fixture
def cluster(kafka: KafkaCluster) -> Cluster:
    return Cluster(kafka)


@pytest.mark.parametrize("path", [path for path in COMMANDS if path.startswith("otel-kafka topics")])
def test_the_examples_of_help(cluster: Cluster, tmp_path: Path, path: str) -> None:
    """What the help shows is used rightly, and does what it says."""
    (tmp_path / "topics.properties").write_text("audit.retention.ms=90d\n")
    for line in examples(path):
        given = environment(
            tmp_path,
            OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=cluster.kafka.bootstrap_servers,
            OTEL_EXPORTER_KAFKA_TOPIC_PREFIX=cluster.prefix,
        )
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=given, capture_output=True, timeout=60, check=False)
        assert done.returncode == (1 if "check" in line else 0), (line, done.stderr)


def test_from_nothing(cluster: Cluster) -> None:
    """plan changes nothing, check fails, apply makes them as recommended, and then nothing is left to do."""
    planned = cluster.run("plan")
    assert (planned.code, planned.output.count(b"create it: ")) == (0, 3)
    assert cluster.run("check").code == 1
    assert not set(cluster.names) & set(cluster.kafka.admin_client().list_topics(timeout=5).topics)
    applied = cluster.run("apply")
    assert (applied.code, applied.output.count(b"done: create it: ")) == (0, 3)
    cluster.kafka.wait_in_sync(*cluster.names)
    facts = [cluster.facts(name) for name in cluster.names]
    assert [len(each.partitions) for each in facts] == [6, 3, 3]
    assert [each.number("retention.ms", 0) // DAY for each in facts] == [7, 30, 90]
    for command in ("plan", "check", "apply"):
        done = cluster.run(command)
        assert (done.code, done.lines) == (0, [f"{name}: as it is wanted" for name in cluster.names])
    prefix = {"OTEL_EXPORTER_KAFKA_TOPIC_PREFIX": cluster.prefix}
    done = tail("--strict", command=("doctor",), **{SERVERS: cluster.kafka.bootstrap_servers}, **prefix)
    assert done.code == 0, done.output


def test_what_is_there_is_raised_and_never_reduced(cluster: Cluster) -> None:
    """Short retention is raised, long retention stays, too few partitions and another policy are for an operator."""
    application, audit, security = cluster.names
    cluster.kafka.create_topics(application, partitions=1, config={"retention.ms": "3600000", "retention.bytes": "-1"})
    cluster.kafka.create_topics(audit, partitions=9, config={"retention.ms": "-1"})
    cluster.kafka.create_topics(security, partitions=3, config={"cleanup.policy": "compact"})
    found = {(each["topic"], each["action"]): each for each in cluster.changes("apply")}
    assert set(found) == {
        (application, "operator"),
        (application, "configure"),
        (security, "operator"),
        (security, "configure"),
    }
    assert "--add-partitions" in found[application, "operator"]["why"]
    assert "cleanup.policy=delete: it is compact" in found[security, "operator"]["text"]
    assert (len(cluster.facts(application).partitions), len(cluster.facts(audit).partitions)) == (1, 9)
    assert cluster.facts(application).number("retention.ms", 0) == 7 * DAY
    assert cluster.facts(audit).number("retention.ms", 0) == -1
    assert (cluster.facts(security).config or {})["cleanup.policy"] == "compact"
    assert cluster.run("check").code == 1
    [change] = [each for each in cluster.changes("apply", "--add-partitions") if each["topic"] == application]
    assert (change["action"], change["done"]) == ("add_partitions", True)
    cluster.kafka.wait_in_sync(application)
    assert len(cluster.facts(application).partitions) == 6


def test_overrides_and_dead_letters(cluster: Cluster, tmp_path: Path) -> None:
    """A file and options say otherwise, options last; each topic may have one for dead letters."""
    file = tmp_path / "topics.properties"
    file.write_text("# ours\npartitions=2\naudit.retention.ms=365d\n\n")
    arguments = ("--file", str(file), "--set", "audit.partitions=4", "--dead-letters")
    assert cluster.run("apply", *arguments).code == 0
    every = [*cluster.names, *(f"{name}.dlq" for name in cluster.names)]
    cluster.kafka.wait_in_sync(*every)
    assert [len(cluster.facts(name).partitions) for name in every] == [2, 4, 2, 1, 1, 1]
    assert cluster.facts(cluster.names[1]).number("retention.ms", 0) == 365 * DAY
    assert cluster.run("check", *arguments).code == 0


def test_what_is_refused_is_said(cluster: Cluster) -> None:
    """A property that the broker does not take, more replicas than brokers, wrong usage, and no Kafka at all."""
    done = cluster.run("apply", "--set", "audit.retention.ms=soon")
    assert (done.code, done.output.count(b"done: "), done.output.count(b"refused (")) == (1, 2, 1)
    done = cluster.run("apply", "--set", "audit.replicas=3")
    assert (done.code, b"refused (Unable to replicate" in done.output) == (1, True)
    done = cluster.run("plan", "--set", "nothing")
    assert (done.code, "expected [CATEGORY.]NAME=VALUE" in done.errors) == (2, True)
    port = HeldPort()
    try:
        done = cluster.run("plan", "--bootstrap-servers", port.address)
    finally:
        port.close()
    assert (done.code, "otel-kafka doctor says why" in done.errors) == (3, True)


def test_without_the_right_to_make_them(tmp_path: Path) -> None:
    """Who may only write is told which right is missing, and nothing is made."""
    require_kafka()
    with secure_cluster(tmp_path / "secure", users={"writer": "writer-secret"}) as kafka:
        kafka.create_topics(TOPICS["application"])
        grant(kafka, "writer", AclOperation.WRITE, TOPICS["application"], TOPICS["audit"])
        login = "security.protocol=SASL_PLAINTEXT,sasl.mechanism=PLAIN,sasl.username=writer,sasl.password=writer-secret"
        done = tail(command=("topics", "apply"), **{SERVERS: kafka.bootstrap_servers, PROPERTIES: login})
        assert done.code == 1
        assert b"DESCRIBE_CONFIGS is missing" in done.output
        assert b"refused (Authorization failed.): create it" in done.output
        assert b"DESCRIBE is missing" in done.output
        assert b"writer-secret" not in done.output
        assert TOPICS["audit"] not in kafka.admin_client().list_topics(timeout=5).topics


def test_what_the_page_says(cluster: Cluster) -> None:
    """Each example of docs/command-line.md runs, its options are all there are, and so are the JSON document's keys."""
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    section = page.partition("\n## `otel-kafka topics`")[2].partition("\n## ")[0]
    examples = re.findall(r"^otel-kafka topics (\w+) ?(.*)$", section, re.MULTILINE)
    assert [command for command, _ in examples] == ["plan", "apply", "check"]
    for command, arguments in examples:
        done = cluster.run(command, *shlex.split(arguments))
        assert done.code in ({0, 1} if command == "check" else {0}), done.errors
        assert done.lines
    there = set(re.findall(r"--[a-z][a-z-]*", cluster.run("plan", "--help").output.decode())) - {"--help"}
    assert there == set(re.findall(r"--[a-z][a-z-]*", section))
    [change, *_] = cluster.changes("plan", "--set", "retention.ms=999d")
    assert all(f"`{key}`" in section for key in change)
