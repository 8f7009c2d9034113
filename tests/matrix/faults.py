"""What can happen to a part of a real cluster of three nodes. Each is there until its context ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from tests.rig.kafka import KafkaCluster
from tests.waiting import until

from .forwarder import Forwarder
from .load import TOPICS

#: The leaders of the topics' partitions, unless a fault has its own; the third node is the one that fails.
LEADERS = [[1], [2], [3], [1], [2], [3]]
#: The replicas where one partition of the third node is to lack them: its leader is the first one.
REPLICAS = [[1, 2], [2, 1], [1, 3], [1, 2], [2, 1], [2, 1]]

Part = tuple[str, int]
Parts = Collection[Part]

#: Controllers have to know each other before there are rules, so they have a name; everybody else has none.
_CONFIG = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "super.users": "User:controller",
    "listener.security.protocol.map": "CONTROLLER:SASL_PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "listener.name.controller.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required"
        ' username="controller" password="of-this-test" user_controller="of-this-test";'
    ),
}


class Brokers:
    """Three real nodes, the third of which is reached through a forwarder.

    Args:
        directory: for their data.
    """

    def __init__(self, directory: Path) -> None:
        self.kafka = KafkaCluster(directory, 3, config=_CONFIG)
        self.third = self.kafka.nodes[2]
        self.forwarder = Forwarder(self.third.address)
        self.third.advertised = self.forwarder.address
        self.servers = ",".join([*(node.address for node in self.kafka.nodes[:2]), self.forwarder.address])

    def __enter__(self) -> Brokers:  # noqa: PYI034 - Self needs Python 3.11 or a dependency
        self.kafka.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.kafka.__exit__()
        self.forwarder.close()

    def admin(self) -> AdminClient:
        """A client that asks the nodes that do not fail."""
        servers = ",".join(node.address for node in self.kafka.nodes[:2])
        return AdminClient({"bootstrap.servers": servers, "log_level": 0})

    def create(self, prefix: str, names: Collection[str], replicas: list[list[int]], **config: str) -> None:
        """Create topics, each partition of which is where it is said to be, and wait until all nodes know them."""
        config = {"message.timestamp.type": "LogAppendTime", **config}
        topics = [NewTopic(prefix + name, len(replicas), replica_assignment=replicas, config=config) for name in names]
        admin = self.admin()
        for future in admin.create_topics(topics).values():
            future.result(30)
        self.kafka.wait_in_sync(*(prefix + name for name in names), replicas=len(replicas[0]))

    def restart_third(self, advertised: str) -> None:
        """Start the third node again, by which clients are sent elsewhere."""
        self.third.kill()
        self.third.advertised = advertised
        self.kafka._configure()
        self.third.begin_start()

    def wait_led(self, prefix: str) -> None:
        """Wait until each partition has its leader again, by what the first node says."""

        def led() -> bool:
            view = self.kafka.nodes[0].metadata()
            topics = [view.topics.get(prefix + name) for name in TOPICS.values()] if view else [None]
            return all(
                each is not None and each.partitions and all(part.leader > 0 for part in each.partitions.values())
                for each in topics
            )

        until(led, 60, "a leader for each partition")


def _of_third(prefix: str) -> Parts:
    return {(prefix + name, n) for name in TOPICS.values() for n, nodes in enumerate(LEADERS) if nodes == [3]}


@contextmanager
def hangs(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """Its process is stopped; after a while its partitions have no leader."""
    brokers.third.pause()
    try:
        yield _of_third(prefix)
    finally:
        brokers.third.resume()
        brokers.wait_led(prefix)


@contextmanager
def killed(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """Its process is gone."""
    brokers.third.kill()
    try:
        yield _of_third(prefix)
    finally:
        brokers.third.start()
        brokers.wait_led(prefix)


@contextmanager
def cut_off(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """A firewall lets nothing of clients' pass; its partitions keep their leader."""
    brokers.forwarder.go_silent()
    try:
        yield _of_third(prefix)
    finally:
        brokers.forwarder.forward()


@contextmanager
def refuses(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """Clients find nobody at its port; its partitions keep their leader."""
    brokers.forwarder.refuse()
    try:
        yield _of_third(prefix)
    finally:
        brokers.forwarder.forward()


@contextmanager
def unresolved(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """It is started again with a listener that no client can resolve."""
    brokers.restart_third("nowhere.invalid:9092")
    try:
        yield _of_third(prefix)
    finally:
        brokers.restart_third(brokers.forwarder.address)
        brokers.wait_led(prefix)


@contextmanager
def lacks_replicas(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """One partition of each topic has fewer replicas in sync than it must have."""
    brokers.third.kill()
    try:
        yield {(prefix + name, n) for name in TOPICS.values() for n, nodes in enumerate(REPLICAS) if 3 in nodes}
    finally:
        brokers.third.start()
        brokers.kafka.wait_in_sync(*(prefix + name for name in TOPICS.values()), replicas=2)


@contextmanager
def deleted(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """The topic of audit events is deleted, and created again in the end."""
    topic = prefix + TOPICS["audit"]
    admin = brokers.admin()
    admin.delete_topics([topic])[topic].result(30)
    try:
        yield {(topic, n) for n in range(len(LEADERS))}
    finally:
        brokers.create(prefix, [TOPICS["audit"]], LEADERS)


@contextmanager
def not_authorized(brokers: Brokers, prefix: str) -> Iterator[Parts]:
    """Nobody may write to the topic of audit events."""
    topic = prefix + TOPICS["audit"]
    rules = [
        (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, permission)
        for operation, permission in (
            (AclOperation.ALL, AclPermissionType.ALLOW),
            (AclOperation.WRITE, AclPermissionType.DENY),
        )
    ]
    admin = brokers.admin()
    for rule in rules:
        [future] = admin.create_acls([AclBinding(*rule)]).values()
        future.result(30)
    try:
        yield {(topic, n) for n in range(len(LEADERS))}
    finally:
        for rule in reversed(rules):
            [removed] = admin.delete_acls([AclBindingFilter(*rule)]).values()
            removed.result(30)


Fault = Callable[[Brokers, str], AbstractContextManager[Parts]]
FAULTS: dict[str, Fault] = {
    each.__name__: each
    for each in (hangs, killed, cut_off, refuses, unresolved, lacks_replicas, deleted, not_authorized)
}


def prepare(brokers: Brokers, fault: str, prefix: str) -> None:
    """Create the topics that a fault is tried with."""
    if fault == "lacks_replicas":
        brokers.create(prefix, TOPICS.values(), REPLICAS, **{"min.insync.replicas": "2"})
    else:
        brokers.create(prefix, TOPICS.values(), LEADERS, **{"min.insync.replicas": "1"})


def forget(brokers: Brokers, prefix: str) -> None:
    """Delete the topics."""
    with contextlib.suppress(Exception):  # the cluster is thrown away in the end
        for future in brokers.admin().delete_topics([prefix + name for name in TOPICS.values()]).values():
            future.result(10)
