"""`otel-kafka tail` on real Kafka: gaps in offsets, offsets by time, and no trace of a consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from otel_kafka_exporter.records import KafkaRecord
from tests.functional.tails import Done, tail
from tests.rig.kafka import KafkaCluster
from tests.tailing import ENCODINGS, TOPICS, kafka_record

from .conftest import require_kafka

pytestmark = pytest.mark.integration


def transaction(producer: Producer, records: list[KafkaRecord], *, commit: bool) -> None:
    """Put records into partition 0 of their topics in one transaction, which ends with a marker in each."""
    producer.begin_transaction()
    for each in records:
        producer.produce(
            each.topic, each.value, each.key, partition=0, headers=each.headers, timestamp=each.milliseconds
        )
    producer.flush(10)
    if commit:
        producer.commit_transaction(10)
    else:
        producer.abort_transaction(10)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_read_ends_where_offsets_have_gaps(kafka: KafkaCluster, prefix: str, encoding: str) -> None:
    """What was rolled back is not shown; a topic that ends in markers, or lost its beginning, is read to its end."""

    def records(*seconds: int) -> list[KafkaRecord]:
        how = ENCODINGS[encoding]
        return [kafka_record(at=each, message=f"m{each}", encoding=how, prefix=prefix) for each in seconds]

    def read(*arguments: str) -> Done:
        done = tail(
            *arguments,
            OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers,
            OTEL_EXPORTER_KAFKA_TOPIC_PREFIX=prefix,
        )
        assert done.code == 0, done.errors
        return done

    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"{prefix}{encoding}", "log_level": 0}
    )
    producer.init_transactions(30)
    transaction(producer, records(0, 1, 2), commit=True)
    transaction(producer, records(3, 4), commit=False)
    transaction(producer, records(60, 61), commit=True)
    transaction(producer, records(62), commit=False)

    began = time.monotonic()
    assert read("--json").messages == ["m0", "m1", "m2", "m60", "m61"]
    assert read("--json", "--last", "3").messages == ["m2", "m60", "m61"]
    place = f"{prefix}{TOPICS['application']}/0"
    assert read("--json", "--at", f"{place}/2", "-C", "5").messages == ["m0", "m1", "m2", "m60"]
    done = read("--json", "--since", "2026-11-25T22:00:30Z", "--level", "info")
    assert done.messages == ["m60", "m61"]
    assert done.errors.startswith("2 read"), "the broker knows offsets by time"
    assert read("--json", "--since", "2026-11-25T22:02Z").output == b""

    admin = kafka.admin_client()
    for future in admin.delete_records([TopicPartition(prefix + TOPICS["application"], 0, 2)]).values():
        future.result(10)
    assert read("--json").messages == ["m2", "m60", "m61"]
    assert time.monotonic() - began < 15

    groups = admin.list_consumer_groups().result(10)
    assert "otel-kafka" not in [group.group_id for group in groups.valid]


@pytest.fixture
def guarded_kafka(tmp_path: Path) -> Iterator[KafkaCluster]:
    """A broker that asks for a password, and lets nobody but its administrator do anything that is not granted."""
    require_kafka()
    jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    config = {
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config": (
            f'{jaas} username="admin" password="a" user_admin="a" user_reader="r";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",
    }
    with KafkaCluster(tmp_path / "kafka", config=config, credentials=credentials("admin", "a")) as cluster:
        yield cluster


def credentials(user: str, password: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }


def test_the_right_to_read_the_topics_is_enough(guarded_kafka: KafkaCluster) -> None:
    """With READ on the topics, and no right on groups, everything is read; without it, or the password, it says so."""
    guarded_kafka.create_topics(*TOPICS.values())
    producer = Producer({"bootstrap.servers": guarded_kafka.bootstrap_servers, **credentials("admin", "a")})
    for category in TOPICS:
        each = kafka_record(category)
        producer.produce(each.topic, each.value, each.key, headers=each.headers, timestamp=each.milliseconds)
    assert producer.flush(10) == 0

    def read(password: str) -> Done:
        properties = ",".join(f"{name}={value}" for name, value in credentials("reader", password).items())
        return tail(
            OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=guarded_kafka.bootstrap_servers,
            OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG=properties,
        )

    refused = read("r")
    assert (refused.code, refused.output) == (1, b"")
    assert f"topic {TOPICS['audit']} does not exist, or may not be read" in refused.errors
    grants = [
        AclBinding(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            "User:reader",
            "*",
            AclOperation.READ,
            AclPermissionType.ALLOW,
        )
        for topic in TOPICS.values()
    ]
    admin = guarded_kafka.admin_client()  # its futures need it alive
    for future in admin.create_acls(grants).values():
        future.result(10)
    done = read("r")
    assert (done.code, len(done.lines)) == (0, 3), done.errors
    assert done.errors.startswith("3 read, 3 matched")
    began = time.monotonic()
    wrong = read("wrong")
    assert (wrong.code, time.monotonic() - began < 5) == (3, True)
    assert "Authentication failed" in wrong.errors
