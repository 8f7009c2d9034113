"""Real brokers as fixtures. Where they cannot run, tests skip, or fail if REQUIRE_REAL_SYSTEMS=1 forbids that."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import trustme
from confluent_kafka.admin._acl import AclOperation

from tests.rig import java, otelcol
from tests.rig.kafka import KafkaCluster
from tests.rig.process import HeldPort
from tests.rig.registry import SchemaRegistryServer
from tests.rig.security import grant, let_in_by_scram, secure_cluster
from tests.tailing import TOPICS
from tests.tls_front import pem

from .collectors import create_topics

LONG = {"retention.ms": str(90 * 86_400_000)}
#: The users of the cluster `secure`, by their passwords for PLAIN, and that for SCRAM.
USERS = {"writer": "writer-secret", "reader": "reader-secret", "nobody": "nobody-secret", "half": "half-secret"}
SCRAM_PASSWORD = "scram-secret"
REQUIRE_VARIABLE = "REQUIRE_REAL_SYSTEMS"


def lacking(message: str) -> NoReturn:
    """Skip, saying what to install; or fail, so that a CI job cannot be green because it ran nothing."""
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(f"{message} ({REQUIRE_VARIABLE}=1 forbids to skip.)", pytrace=False)
    pytest.skip(message)


def require_kafka() -> None:
    """Skip or fail where no broker can run."""
    if lacks := java.missing():
        lacking(f"a real Kafka cannot run here. {' '.join(lacks)}")


@pytest.fixture(scope="session")
def kcat() -> str:
    """The path of the command."""
    return shutil.which("kcat") or shutil.which("kafkacat") or lacking("kcat is not installed (Debian: kcat).")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One broker for all tests: it does not create topics by itself, and it is not to be stopped."""
    require_kafka()
    with KafkaCluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SchemaRegistryServer]:
    """One Schema Registry for all tests that do not stop it."""
    require_kafka()
    with SchemaRegistryServer(tmp_path_factory.mktemp("registry") / "server") as server:
        yield server


@pytest.fixture
def topic(kafka: KafkaCluster) -> str:
    """A new topic of the shared broker, with three partitions."""
    name = f"test-{uuid.uuid4()}"
    kafka.create_topics(name)
    return name


@pytest.fixture
def start_kafka(tmp_path: Path) -> Iterator[Callable[[int], KafkaCluster]]:
    """Start a cluster of so many nodes that is this test's alone, to be stopped and killed at will."""
    require_kafka()
    with contextlib.ExitStack() as clusters:
        yield lambda nodes: clusters.enter_context(KafkaCluster(tmp_path / f"kafka-{uuid.uuid4().hex[:8]}", nodes))


@pytest.fixture(scope="session")
def collector_binary() -> None:
    """A Collector that can run here."""
    if lacks := otelcol.missing():
        lacking(f"a real Collector cannot run here. {' '.join(lacks)}")
    otelcol.binary()


@pytest.fixture
def prefix(kafka: KafkaCluster) -> str:
    """A new prefix of topics of the shared broker, which has a topic for each category, and one for what is none."""
    chosen = f"t{uuid.uuid4().hex[:12]}."
    create_topics(kafka, chosen)
    return chosen


@pytest.fixture
def port() -> Iterator[HeldPort]:
    """A port that is free, and stays so until a server has it."""
    held = HeldPort()
    yield held
    held.close()


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def secure(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """TLS, a login, and rights that are granted."""
    require_kafka()
    with secure_cluster(tmp_path_factory.mktemp("secure"), ca, USERS) as cluster:
        cluster.create_topics(*TOPICS.values(), config=LONG)
        grant(cluster, "writer", AclOperation.WRITE, *TOPICS.values())
        grant(cluster, "reader", AclOperation.READ, *TOPICS.values())
        grant(cluster, "half", AclOperation.WRITE, TOPICS["application"])
        grant(cluster, "half", AclOperation.DESCRIBE, TOPICS["audit"], TOPICS["security"])
        for user in ("writer", "reader"):
            let_in_by_scram(cluster, user, SCRAM_PASSWORD)
        yield cluster


@pytest.fixture
def trusted(ca: trustme.CA, tmp_path: Path) -> str:
    """What has a client trust that cluster, as the setting `producer_config` has it."""
    return f"ssl.ca.location={pem(ca, tmp_path / 'ca.pem')}"
