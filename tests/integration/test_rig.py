"""The rig itself: it brings up what it promises, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from tests.rig import java
from tests.rig.kafka import KafkaCluster
from tests.rig.process import CommandFailed, HeldPort, ServerFailed, run, spawn

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TIMEOUT = 30.0

StartKafka = Callable[[int], KafkaCluster]


def write(cluster: KafkaCluster, topic: str, *values: bytes) -> None:
    """Produce to partition 0, and see each record acknowledged by all replicas in sync."""
    outcomes: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        outcomes.append(error)

    settings = {"bootstrap.servers": cluster.bootstrap_servers, "enable.idempotence": True, "log_level": 0}
    producer = Producer(settings)
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=delivered)
    assert producer.flush(TIMEOUT) == 0
    assert outcomes == [None] * len(values)


def read(cluster: KafkaCluster, topic: str, count: int) -> list[bytes | str | None]:
    """The first `count` values of partition 0."""
    settings = {"bootstrap.servers": cluster.bootstrap_servers, "group.id": "rig", "log_level": 0}
    consumer = Consumer(settings)
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        return [message.value() for message in consumer.consume(count, timeout=TIMEOUT)]
    finally:
        consumer.close()


def test_a_record_comes_back(kafka: KafkaCluster, topic: str) -> None:
    """The shared broker takes a record and gives it back."""
    write(kafka, topic, b"one")
    assert read(kafka, topic, 1) == [b"one"]


def test_topics_have_three_partitions_and_only_those_exist_that_were_created(kafka: KafkaCluster, topic: str) -> None:
    """A misspelt topic is an error in the test, as it would be in production."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    unknown = producer.list_topics("misspelt", timeout=TIMEOUT).topics["misspelt"]
    assert unknown.error is not None
    assert unknown.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    known = producer.list_topics(timeout=TIMEOUT).topics
    assert "misspelt" not in known
    assert len(known[topic].partitions) == 3


def test_data_and_address_outlive_a_restart(start_kafka: StartKafka) -> None:
    """Stopped with SIGTERM or SIGKILL, the broker comes back at the same address with what it had acknowledged."""
    cluster = start_kafka(1)
    address = cluster.bootstrap_servers
    cluster.create_topics("kept")
    write(cluster, "kept", b"before SIGTERM")
    cluster.stop()
    cluster.start()
    write(cluster, "kept", b"before SIGKILL")
    cluster.nodes[0].kill()
    assert cluster.nodes[0].metadata(timeout=0.2) is None
    cluster.start()
    write(cluster, "kept", b"after")
    assert read(cluster, "kept", 3) == [b"before SIGTERM", b"before SIGKILL", b"after"]
    assert cluster.bootstrap_servers == address


def test_a_paused_broker_is_silent_until_resumed(start_kafka: StartKafka) -> None:
    """SIGSTOP leaves the port open and the request unanswered; a stop reaches a paused broker, too."""
    cluster = start_kafka(1)
    node = cluster.nodes[0]
    node.pause()
    host, port = node.address.split(":")
    socket.create_connection((host, int(port)), timeout=TIMEOUT).close()
    assert node.metadata(timeout=0.5) is None
    node.resume()
    assert node.metadata(timeout=TIMEOUT) is not None
    node.pause()
    node.stop()
    assert not node.running


def test_three_nodes_lose_their_leader_and_no_record(start_kafka: StartKafka) -> None:
    """With a replica on every node, the two others go on, and the third catches up when it is back."""
    cluster = start_kafka(3)
    cluster.create_topics("replicated")
    write(cluster, "replicated", b"with three")
    view = cluster.nodes[0].metadata(timeout=TIMEOUT)
    assert view is not None
    leader = cluster.nodes[view.topics["replicated"].partitions[0].leader - 1]
    leader.kill()
    cluster.wait_in_sync("replicated", replicas=2)
    write(cluster, "replicated", b"with two")
    leader.start()
    cluster.wait_in_sync("replicated")
    assert read(cluster, "replicated", 2) == [b"with three", b"with two"]


def test_a_crash_is_raised_with_the_end_of_the_log(start_kafka: StartKafka) -> None:
    """A broker that ends by itself is not waited for, and the error says what the broker said."""
    node = start_kafka(1).nodes[0]
    node.stop()
    node.properties.write_text("node.id=none\n")
    with pytest.raises(ServerFailed, match=r"(?si)broker 1 ended by itself with status 1.*not a number"):
        node.start()


@pytest.mark.parametrize("which", ["_port", "_controller_port"])
def test_a_taken_port_is_given_up_for_another(tmp_path: Path, which: str, kafka: KafkaCluster) -> None:
    """Somebody else's server on the chosen port costs a second start, not the test."""
    assert kafka.nodes[0].running  # or the fixture has skipped
    cluster = KafkaCluster(tmp_path / "kafka")
    held: HeldPort = getattr(cluster.nodes[0], which)
    address = held.address
    host, port = address.split(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        with cluster:
            assert held.address != address
            cluster.create_topics("reached")
            write(cluster, "reached", b"one")


STARTER = """
import signal, sys
from pathlib import Path
from tests.rig.kafka import KafkaCluster
with KafkaCluster(Path(sys.argv[1]), 3) as cluster:
    print(*(node.pid for node in cluster.nodes), flush=True)
    signal.pause()
"""


def test_no_broker_survives_the_process_that_started_it(tmp_path: Path, kafka: KafkaCluster) -> None:
    """A test run that is killed with SIGKILL takes its brokers along."""
    assert kafka.nodes[0].running  # or the fixture has skipped
    argv = [sys.executable, "-W", "error", "-c", STARTER, str(tmp_path / "kafka")]
    with spawn(argv, output=subprocess.PIPE, cwd=ROOT) as starter:
        assert starter.stdout is not None
        line = starter.stdout.readline().decode()
        assert len(line.split()) == 3, line + starter.stdout.read().decode()
        watched = select.poll()
        # Descriptors, as a number may by then be another process.
        brokers = {os.pidfd_open(int(pid)): pid for pid in line.split()}
        try:
            for descriptor, pid in brokers.items():
                assert b"kafka.Kafka" in Path(f"/proc/{pid}/cmdline").read_bytes()
                watched.register(descriptor, select.POLLIN)
            assert watched.poll(0) == []
            starter.kill()
            starter.wait()
            alive = set(brokers)
            while alive and (ended := watched.poll(TIMEOUT * 1000)):
                for descriptor, _ in ended:
                    watched.unregister(descriptor)
                    alive.discard(descriptor)
            assert not alive
        finally:
            for descriptor in brokers:
                os.close(descriptor)


def test_a_child_is_refused_to_a_worker_thread() -> None:
    """The kernel would kill it at the end of that thread, in the middle of some later test."""
    refused: list[str] = []

    def work() -> None:
        try:
            run(["true"], timeout=TIMEOUT)
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert refused == ["start true from the main thread: it would die with this one"]


def test_a_command_that_fails_says_how() -> None:
    """The error has the status or the time, and what the command wrote."""
    with pytest.raises(CommandFailed, match=r"exit status 3\nwhy"):
        run(["sh", "-c", "echo why; exit 3"], timeout=TIMEOUT)
    with pytest.raises(CommandFailed, match=r"not done after 0\.5 s\nso far"):
        run(["sh", "-c", "echo so far; exec sleep 60"], timeout=0.5)
    with pytest.raises(CommandFailed, match="no-such-program: No such file"):
        run(["no-such-program"], timeout=TIMEOUT)


FAKE_MAVEN = """#!/bin/sh
echo run >> "$RIG_RUNS"
for argument; do case "$argument" in -DoutputDirectory=*) folder="${argument#*=}" ;; esac; done
mkdir -p "$folder"
if [ "$(wc -l < "$RIG_RUNS")" -le "$RIG_FAILURES" ]; then echo "the mirror is away"; exit 1; fi
sleep 0.5
touch "$folder/kafka-server-0.jar"
"""


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Maven, first on the PATH, and an empty cache; gives the file with a line for each run."""
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(FAKE_MAVEN)
    program.chmod(0o755)
    runs = tmp_path / "runs"
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("RIG_RUNS", str(runs))
    monkeypatch.setenv("RIG_FAILURES", "0")
    monkeypatch.setenv(java.CACHE_VARIABLE, str(tmp_path / "cache"))
    return runs


def test_fetching_is_tried_twice(maven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failed download is bad luck."""
    monkeypatch.setenv("RIG_FAILURES", "1")
    assert [jar.name for jar in java.jars().iterdir()] == ["kafka-server-0.jar"]
    assert java.jars().is_dir()
    assert maven.read_text() == "run\n" * 2


def test_fetching_that_fails_says_what_maven_said(maven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failed downloads are an error, and leave nothing that the next run could take for the jars."""
    monkeypatch.setenv("RIG_FAILURES", "2")
    with pytest.raises(java.FetchFailed, match=r"(?s)settings\.xml.*the mirror is away"):
        java.jars()
    assert not [path for path in java.cache_root().rglob("*") if path.suffix == ".jar" or path.name == "jars"]
    assert maven.read_text() == "run\n" * 2


def test_two_runs_at_once_fetch_once(maven: Path) -> None:
    """The second waits for the first and takes what it has made."""
    argv = [sys.executable, "-W", "error", "-c", "from tests.rig import java; print(java.jars())"]
    with (
        spawn(argv, output=subprocess.PIPE, cwd=ROOT) as first,
        spawn(argv, output=subprocess.PIPE, cwd=ROOT) as second,
    ):
        said = [process.communicate(timeout=TIMEOUT)[0].decode() for process in (first, second)]
    assert said == [f"{java.jars()}\n"] * 2
    assert maven.read_text() == "run\n"


def test_without_java_tests_skip_or_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install; REQUIRE_REAL_SYSTEMS=1 makes it a failure."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(java.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv("REQUIRE_REAL_SYSTEMS", raising=False)
    test = f"{Path(__file__)}::{test_a_record_comes_back.__name__}"
    argv = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "--color=no", test]
    said = run(argv, timeout=TIMEOUT, cwd=ROOT)
    assert "1 skipped" in said
    assert "apt-get install default-jre-headless" in said
    assert "apt-get install maven" in said
    monkeypatch.setenv("REQUIRE_REAL_SYSTEMS", "1")
    with pytest.raises(CommandFailed, match="apt-get install default-jre-headless"):
        run(argv, timeout=TIMEOUT, cwd=ROOT)
