"""A real broker that refuses: a topic, a topic that has gone, a client."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from otel_kafka_exporter import KafkaLogExporter, LoggingEventPublisherContext, decode
from tests.functional.pipelines import audit_records, delivery_of, records, settled
from tests.rig.kafka import KafkaCluster
from tests.waiting import until
from tests.ways_in.running import read

from .conftest import require_kafka

pytestmark = pytest.mark.integration

APPLICATION, AUDIT = "omninode.logging.application.v1", "omninode.logging.audit.v1"
RIGHT, WRONG = "the-right-password", "a-wrong-password"
ADMIN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "admin",
    "sasl.password": "admin-secret",
}
SASL = {
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.plaintext.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required"
        f' username="admin" password="admin-secret" user_admin="admin-secret" user_shop="{RIGHT}";'
    ),
}
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


def bodies(kafka: KafkaCluster, topic: str, n: int, credentials: dict[str, str] | None = None) -> list[str]:
    found = [decode(each.value()).payload for each in read(kafka.bootstrap_servers, topic, n, credentials=credentials)]
    return [payload["message"] if "message" in payload else payload["context"]["message"] for payload in found]


def exporter_to(kafka: KafkaCluster, prefix: str = "", **settings: Any) -> KafkaLogExporter:
    return KafkaLogExporter(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=prefix,
        **settings,
    )


def shop(password: str) -> dict[str, str]:
    return ADMIN | {"sasl.username": "shop", "sasl.password": password}


def rule(topic: str) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    """Nobody may write to this topic."""
    literal, write, deny = ResourcePatternType.LITERAL, AclOperation.WRITE, AclPermissionType.DENY
    return ResourceType.TOPIC, topic, literal, "User:ANONYMOUS", "*", write, deny


def spools(exporter: KafkaLogExporter) -> bool:
    """Whether an event that is exported now waits in the outbox."""
    exporter.export(audit_records(["probe"]))
    return exporter.stats().spooled > 0


async def publish_without_outbox(kafka: KafkaCluster) -> tuple[bool, dict[str, int]]:
    """A publisher's answer to an audit event, and what it has counted as dropped."""
    async with LoggingEventPublisherContext(kafka.bootstrap_servers) as publisher:
        answer = await publisher.publish_audit_log("tenant-1", "user.login", "bob", "console", "success")
        return answer, dict(publisher.stats().dropped)


def test_a_topic_that_may_not_be_written_to_holds_up_its_own_records_only(tmp_path: Path) -> None:
    """Events wait in the outbox while application records arrive; once the right is there they follow, in order."""
    require_kafka()
    with KafkaCluster(tmp_path / "kafka", config=AUTHORIZER) as kafka:
        kafka.create_topics(APPLICATION, AUDIT, partitions=1)
        admin = kafka.admin_client()
        exporter = exporter_to(kafka)
        exporter.export([*records(["before"]), *audit_records(["before"])])
        [denied] = admin.create_acls([AclBinding(*rule(AUDIT))]).values()
        denied.result(10)
        until(lambda: spools(exporter))
        refused = exporter.stats().spooled
        for n in range(20):
            exporter.export([*records([str(n)]), *audit_records([f"event {n}"])])
        stats = exporter.stats()
        assert (stats.spooled, stats.dead_lettered, stats.dropped) == (refused + 20, 0, {})
        assert bodies(kafka, APPLICATION, 21) == ["before", *map(str, range(20))]
        assert asyncio.run(publish_without_outbox(kafka)) == (False, {"not_authorized": 1})
        [allowed] = admin.delete_acls([AclBindingFilter(*rule(AUDIT))]).values()
        assert allowed.result(10)
        until(lambda: settled(exporter), 30)
        exporter.shutdown()
        events = bodies(kafka, AUDIT, exporter.stats().delivered - 21)
        assert [event for event in events if event.startswith("event")] == [f"event {n}" for n in range(20)]


def test_a_topic_that_was_deleted_gets_its_records_when_it_is_back(kafka: KafkaCluster) -> None:
    """Records of a topic that has gone wait; the others flow; nothing is lost when it is created again."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    kafka.create_topics(prefix + APPLICATION, prefix + AUDIT, partitions=1)
    exporter = exporter_to(kafka, prefix)
    exporter.export([*records(["before"]), *audit_records(["before"])])
    admin = kafka.admin_client()  # its futures need it alive
    admin.delete_topics([prefix + AUDIT])[prefix + AUDIT].result(10)
    for n in range(20):
        exporter.export([*records([str(n)]), *audit_records([f"event {n}"])])
    assert bodies(kafka, prefix + APPLICATION, 21) == ["before", *map(str, range(20))]
    stats = exporter.stats()
    assert (stats.dead_lettered, stats.dropped) == (0, {})
    kafka.create_topics(prefix + AUDIT, partitions=1)
    until(lambda: settled(exporter), 60)
    exporter.shutdown()
    # What the broker took between the deletion and its end is not there; what it had not acknowledged is.
    events = bodies(kafka, prefix + AUDIT, stats.spooled)
    assert events == [f"event {n}" for n in range(20)][-len(events) :]


def test_a_wrong_password_spools_and_the_right_one_delivers(
    tmp_path: Path, outbox_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is lost by a password that was changed; the next process delivers, and neither password is anywhere."""
    require_kafka()
    with KafkaCluster(tmp_path / "kafka", config=SASL, credentials=ADMIN) as kafka:
        kafka.create_topics(APPLICATION, AUDIT, partitions=1)
        refused = exporter_to(kafka, producer_config=shop(WRONG))
        refused.export([*records(["one"]), *audit_records(["two"])])
        until(lambda: refused.stats().spooled == 2)
        refused.shutdown()
        assert refused.stats().dropped == {}
        on_disk = b"".join(path.read_bytes() for path in outbox_dir.rglob("*") if path.is_file())
        assert b"order.delete" in on_disk
        welcome = exporter_to(kafka, producer_config=shop(RIGHT))
        welcome.export(records(["three"]))
        until(lambda: welcome.stats().delivered == 3, 30)
        welcome.shutdown()
        assert sorted(bodies(kafka, APPLICATION, 2, ADMIN)) == ["one", "three"]
        assert bodies(kafka, AUDIT, 1, ADMIN) == ["two"]
        said = "".join(capfd.readouterr())
        for password in (WRONG, RIGHT):
            assert password.encode() not in on_disk
            assert password not in said + repr(vars(welcome)) + repr(welcome)
        assert "Authentication failed" in said


def test_batches_become_as_small_as_a_topic_takes_them(kafka: KafkaCluster) -> None:
    """A topic's limit is below librdkafka's size of a batch: after the first refusals no batch is refused any more."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    kafka.create_topics(prefix + APPLICATION, prefix + AUDIT, partitions=1, config={"max.message.bytes": "60000"})
    exporter = exporter_to(kafka, prefix)
    exporter.export(records(["before"]))
    exporter.export(records([f"{n} {2_000 * 'x'}" for n in range(1_000)]))
    until(lambda: settled(exporter), 30)
    delivery = delivery_of(exporter)
    until(lambda: delivery._producer.batch_bytes <= 60_000)
    refused: list[int] = []
    returned = delivery._state.returned
    delivery._state.returned = lambda lane, entry, code: (refused.append(code), returned(lane, entry, code))[1]  # type: ignore[func-returns-value, method-assign]  # it looks on
    exporter.export(records([f"later {n} {2_000 * 'x'}" for n in range(1_000)]))
    until(lambda: settled(exporter), 30)
    assert (exporter.stats()[:5], refused) == ((2_001, 2_001, 0, 0, 0), [])
    found = bodies(kafka, prefix + APPLICATION, 2_001)
    exporter.shutdown()
    assert [text.split()[:2] for text in found[1001:]] == [["later", str(n)] for n in range(1_000)]
