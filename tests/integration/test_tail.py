"""`otel-kafka tail` on real Kafka: gaps in offsets, offsets by time, and no trace of a consumer group."""

from __future__ import annotations

import os
import subprocess
import time
import uuid

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin._acl import AclOperation

from otel_kafka_exporter.records import KafkaRecord
from tests.functional.tails import Done, tail
from tests.functional.test_tail_following import following, now
from tests.rig.kafka import KafkaCluster
from tests.rig.security import ADMIN_PASSWORD, SCRAM, grant, login
from tests.tailing import ENCODINGS, TOPICS, kafka_record

from .conftest import SCRAM_PASSWORD, USERS

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


@pytest.mark.parametrize(("mechanism", "password"), [("PLAIN", USERS["reader"]), (SCRAM, SCRAM_PASSWORD)])
def test_the_right_to_read_the_topics_is_enough(
    secure: KafkaCluster, trusted: str, mechanism: str, password: str
) -> None:
    """With TLS, a login and READ on the topics, and no right on groups, all is read; without one of them it says so."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    topics = [prefix + topic for topic in TOPICS.values()]
    secure.create_topics(*topics)
    writer = [*login("admin", ADMIN_PASSWORD).split(","), trusted]
    producer = Producer({"bootstrap.servers": secure.bootstrap_servers, **dict(each.split("=", 1) for each in writer)})
    for category in TOPICS:
        each = kafka_record(category, prefix=prefix)
        producer.produce(each.topic, each.value, each.key, headers=each.headers, timestamp=each.milliseconds)
    assert producer.flush(10) == 0

    def read(password: str, trusted: str = trusted) -> Done:
        return tail(
            OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=secure.bootstrap_servers,
            OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG=f"{trusted},{login('reader', password, mechanism)}".lstrip(","),
            OTEL_EXPORTER_KAFKA_TOPIC_PREFIX=prefix,
        )

    refused = read(password)
    assert (refused.code, refused.output) == (1, b"")
    assert f"topic {prefix}{TOPICS['audit']} does not exist, or may not be read" in refused.errors
    grant(secure, "reader", AclOperation.READ, *topics)
    done = read(password)
    assert (done.code, len(done.lines)) == (0, 3), done.errors
    assert done.errors.startswith("3 read, 3 matched")
    began = time.monotonic()
    wrong = read("wrong")
    assert (wrong.code, time.monotonic() - began < 5) == (3, True), wrong.errors + str(time.monotonic() - began)
    assert "refuses: " in wrong.errors
    assert "uthentication failed" in wrong.errors
    untrusted = read(password, trusted="")
    assert (untrusted.code, "certificate verify failed" in untrusted.errors) == (3, True), untrusted.errors


def test_headers_whose_names_are_no_utf_8(kafka: KafkaCluster, prefix: str, kcat: str) -> None:
    """Records with a header that librdkafka's client cannot give are shown like any other, among many others too."""
    topic, many = prefix + TOPICS["application"], 100
    for number, name in enumerate([b"x", b"\xff\xfe", b"y"]):
        records = (kafka_record(message=f"m{number}", event_id=f"{number} {each}") for each in range(many))
        words = (kcat, "-P", "-b", kafka.bootstrap_servers, "-t", topic, "-p", "0", "-H")
        command = [*map(os.fsencode, words), name + b"=1"]
        subprocess.run(command, input=b"\n".join(each.value for each in records), timeout=30, check=True)
    done = tail(
        "--category", "application", "--json",
        OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers, OTEL_EXPORTER_KAFKA_TOPIC_PREFIX=prefix,
    )  # fmt: skip
    assert (done.code, done.messages) == (0, ["m0"] * many + ["m1"] * many + ["m2"] * many), done.errors
    assert [document["headers"] for document in done.documents] == [
        *[{"x": "1"}] * many,
        *[{}] * many,
        *[{"y": "1"}] * many,
    ]


def test_a_topic_that_is_deleted_and_made_anew(
    kafka: KafkaCluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While following, that a topic is gone is said, and of one made anew all is shown: more than the old one had."""
    topic = prefix + TOPICS["application"]
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_TOPIC_PREFIX", prefix)

    def put(*messages: str) -> None:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
        for message in messages:
            producer.produce(topic, kafka_record(message=message, event_id=message, at=now()).value, partition=0)
        assert producer.flush(20) == 0
        producer.close()

    put("old 1", "old 2")
    with following("--since", "beginning", "--category", "application", "--category", "audit") as (_, lines, errors):
        assert "old 1" in lines.next()
        assert "old 2" in lines.next()
        admin = kafka.admin_client()
        admin.delete_topics([topic])[topic].result(20)
        said = errors.until("any more")
        assert said == f"topic {topic} does not exist any more, or may not be read; this goes on when it does"
        kafka.create_topics(topic)
        put(*(f"new {number}" for number in range(5)))
        for number in range(5):
            assert f"new {number}" in lines.next()
