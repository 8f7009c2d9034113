"""May the exporter write? The cluster says so itself, and nothing is written to find out."""

from __future__ import annotations

from confluent_kafka import KafkaError

from .check import Check, Finding, fail, ok, skipped
from .subject import Subject

_WAITS = "Records wait in the outbox (not_authorized); without one they are dropped."


def _topics(subject: Subject) -> Finding:
    told = [topic for topic in subject.topics.values() if topic.operations is not None]
    if not told:
        return skipped("this cluster does not say what we may do; --write tries it")
    denied = [topic.name for topic in told if not {"WRITE", "ALL"} & (topic.operations or frozenset())]
    details = {topic.name: sorted(topic.operations or ()) for topic in told}
    if denied:
        return fail(
            f"no WRITE on {', '.join(denied)}",
            _WAITS,
            f"kafka-acls --add --allow-principal User:{subject.client.get('sasl.username', '...')} --operation Write"
            f" --topic {denied[0]}",
            operations=details,
        )
    return ok("WRITE on all topics", operations=details)


def _cluster(subject: Subject) -> Finding:
    """To be idempotent takes a right of its own before Kafka 2.8; since then WRITE on any topic is enough."""
    if any("WRITE" in (topic.operations or ()) for topic in subject.topics.values()):
        return ok("WRITE on a topic is enough for an idempotent producer")
    if subject.metadata.controller_id not in subject.metadata.brokers:
        return skipped("this cluster does not say what we may do; --write tries it")
    admin = subject.admin()
    future = admin.client.describe_cluster(include_authorized_operations=True, request_timeout=subject.patience)
    answer = admin.answers({"cluster": future})["cluster"]
    if isinstance(answer, KafkaError) or answer.authorized_operations is None:
        return skipped("this cluster does not say what we may do; --write tries it")
    found = sorted(each.name for each in answer.authorized_operations)
    if {"IDEMPOTENT_WRITE", "ALL"} & set(found):
        return ok("IDEMPOTENT_WRITE")
    return fail(
        "neither WRITE on a topic nor IDEMPOTENT_WRITE on the cluster",
        "The broker gives an idempotent producer no ID, and nothing is sent.",
        "Grant WRITE on the topics (IDEMPOTENT_WRITE on the cluster before Kafka 2.8), or set"
        " enable.idempotence=false in producer_config, with which retries may make duplicates.",
        operations=found,
    )


CHECKS = (
    Check("rights.topics", _topics, ("topics.exist",)),
    Check("rights.cluster", _cluster, ("rights.topics",)),
)
