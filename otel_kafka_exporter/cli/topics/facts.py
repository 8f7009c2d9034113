"""What a cluster says of topics."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, TopicCollection
from confluent_kafka.admin._config import ConfigResource  # where its types are

from otel_kafka_exporter.cli.admin import Admin

if TYPE_CHECKING:
    from confluent_kafka.admin._metadata import ClusterMetadata


class Partition(NamedTuple):
    """Who has a partition.

    Attributes:
        leader: a broker's ID, -1 when there is none.
        replicas: IDs of brokers.
        in_sync: those of them that have all.
    """

    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class TopicFacts(NamedTuple):
    """A topic as the cluster describes it.

    Attributes:
        name: in full.
        partitions: in their order; none when the topic is not there.
        operations: the names of what we may do to it; None when the cluster does not say.
        config: its configuration; None when it may not be read.
    """

    name: str
    partitions: tuple[Partition, ...]
    operations: frozenset[str] | None
    config: Mapping[str, str] | None

    def number(self, key: str, default: int) -> int:
        """A number of its configuration."""
        try:
            return int((self.config or {}).get(key, default))
        except ValueError:
            return default


class Found(NamedTuple):
    """What a cluster says of some topics.

    Attributes:
        topics: those that are there, by their names.
        denied: those that we may not see, if they are there.
        makes_topics: whether the cluster makes topics that are written to; None when it does not say.
    """

    topics: dict[str, TopicFacts]
    denied: frozenset[str]
    makes_topics: bool | None


def find_topics(admin: Admin, metadata: ClusterMetadata, names: Collection[str]) -> Found:
    """Ask for topics. None is made by that."""
    if metadata.controller_id in metadata.brokers:
        described, configs, makes_topics = _described(admin, names), *_configs(admin, metadata.controller_id, names)
    else:
        described, configs, makes_topics = {}, {}, None  # nobody answers these: librdkafka waits for a controller
    topics: dict[str, TopicFacts] = {}
    for name in names:
        answer = described.get(name)
        listed = metadata.topics.get(name)
        if answer is not None and not isinstance(answer, KafkaError):
            operations = answer.authorized_operations
            partitions = tuple(
                Partition(
                    part.leader.id if part.leader else -1,
                    tuple(node.id for node in part.replicas),
                    tuple(node.id for node in part.isr),
                )
                for part in answer.partitions
            )
            allowed = None if operations is None else frozenset(each.name for each in operations)
            topics[name] = TopicFacts(name, partitions, allowed, configs.get(name))
        elif listed is not None and listed.error is None:
            parts = listed.partitions.values()
            partitions = tuple(Partition(part.leader, tuple(part.replicas), tuple(part.isrs)) for part in parts)
            topics[name] = TopicFacts(name, partitions, None, None)
    return Found(topics, frozenset(name for name in names if _is_denied(described.get(name))), makes_topics)


def _described(admin: Admin, names: Collection[str]) -> dict[str, Any]:
    return admin.answers(
        admin.client.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=admin.seconds
        )
    )


def _configs(admin: Admin, controller: int, names: Collection[str]) -> tuple[dict[str, dict[str, str]], bool | None]:
    """The topics' configurations, and whether the cluster makes topics by itself; what may not be read is left out."""
    broker = ConfigResource(ConfigResource.Type.BROKER, str(controller))
    resources = [broker, *(ConfigResource(ConfigResource.Type.TOPIC, name) for name in names)]
    answers = admin.answers(admin.client.describe_configs(resources, request_timeout=admin.seconds))
    found = {
        resource.name: {key: str(entry.value) for key, entry in answer.items()}
        for resource, answer in answers.items()
        if isinstance(answer, dict)
    }
    of_broker = found.pop(broker.name, None)
    return found, None if of_broker is None else of_broker.get("auto.create.topics.enable") == "true"


def _is_denied(answer: object) -> bool:
    return isinstance(answer, KafkaError) and answer.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
