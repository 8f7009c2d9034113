"""Are the three topics there, and do they keep what they are given?"""

from __future__ import annotations

from typing import Any

from otel_kafka_exporter.cli.topics.facts import find_topics
from otel_kafka_exporter.cli.topics.wanted import RECOMMENDED
from otel_kafka_exporter.records import CATEGORIES, event_type

from .check import Check, Finding, fail, ok, skipped, warn
from .subject import Subject

_DAY_MS = 86_400_000
_UNREADABLE = "the topics' configuration may not be read (DESCRIBE_CONFIGS), or this broker has none"
_DEFAULT_MESSAGE_BYTES = 1_048_588
_OUTAGE_MS = _DAY_MS  # a record that waited for this long should still be taken


def _exist(subject: Subject) -> Finding:
    settings = subject.settings
    names = {each: settings.topic_prefix + event_type(settings.namespace, each) for each in CATEGORIES}
    found = find_topics(subject.admin(), subject.metadata, list(names.values()))
    subject.topics = {each: found.topics[name] for each, name in names.items() if name in found.topics}
    denied = [name for name in names.values() if name in found.denied]
    missing = [name for name in names.values() if name not in found.topics and name not in denied]
    partitions = {name: len(topic.partitions) for name, topic in found.topics.items()}
    details = {"auto_create": found.makes_topics, "topics": partitions}
    if denied:
        return fail(
            f"{', '.join(denied)}: not there, or this user may not see it (no DESCRIBE, no WRITE)",
            "Their records wait in the outbox (not_authorized); without one they are dropped.",
            f"Grant it: kafka-acls --add --allow-principal User:{subject.client.get('sasl.username', '...')}"
            f" --operation Write --topic {denied[0]}, which has DESCRIBE in it.",
            **details,
        )
    if missing:
        return _missing(subject, missing, details)
    counts = ", ".join(f"{name} {partitions[name]}" for name in names.values())
    return ok(f"partitions: {counts}", **details)


def _missing(subject: Subject, missing: list[str], details: dict[str, Any]) -> Finding:
    alike = sorted(name for name in subject.metadata.topics if name not in missing and name.endswith(_ENDINGS))
    hint = f" There are {', '.join(alike)}: topic_prefix or namespace may be meant to be theirs." if alike else ""
    if details["auto_create"]:
        return warn(
            f"{', '.join(missing)}: not there yet; the cluster makes topics that are written to",
            "They will have the broker's defaults: its number of partitions, replicas and retention.",
            f"otel-kafka topics apply makes them as recommended.{hint}",
            **details,
        )
    return fail(
        f"{', '.join(missing)}: no such topic",
        "Their records wait in the outbox (unknown_topic); without one they are dropped.",
        f"otel-kafka topics apply makes them as recommended.{hint}",
        **details,
    )


_ENDINGS = tuple(f".logging.{category}.v1" for category in RECOMMENDED)


def _replicas(subject: Subject) -> Finding:
    brokers = len(subject.metadata.brokers)
    broken, weak = [], []
    for topic in subject.topics.values():
        least = topic.number("min.insync.replicas", 1)
        for number, part in enumerate(topic.partitions):
            if part.leader < 0:
                broken.append(f"{topic.name}/{number} has no leader")
            elif len(part.in_sync) < least:
                broken.append(
                    f"{topic.name}/{number} has {len(part.in_sync)} replicas in sync of min.insync.replicas={least}"
                )
        replicas = min((len(part.replicas) for part in topic.partitions), default=0)
        if brokers > 1 and replicas <= least:
            weak.append(f"{topic.name} has {replicas} replicas with min.insync.replicas={least}")
        elif brokers > 1 and topic.config is not None and least < 2 <= replicas:  # noqa: PLR2004 - the acknowledged one and another
            weak.append(f"{topic.name} has min.insync.replicas={least}: one broker's word is enough")
    if broken:
        return fail(
            "; ".join(broken),
            "Nothing is acknowledged for these partitions until the replicas are back; records wait.",
            "Start the brokers that are down, or move the replicas away from them.",
        )
    if weak:
        return warn(
            "; ".join(weak),
            "One broker that is down stops the topic, or takes acknowledged records with it.",
            "Three replicas and min.insync.replicas=2 go on with one broker less: see otel-kafka topics plan.",
        )
    return ok("every partition has a leader, and replicas in sync" + (" (one broker alone)" if brokers == 1 else ""))


def _size(subject: Subject) -> Finding:
    return _by_config(
        subject,
        "max.message.bytes",
        lambda topic: (
            topic.number("max.message.bytes", _DEFAULT_MESSAGE_BYTES) < subject.settings.max_record_bytes + _OVERHEAD
        ),
        fail,
        f"Records up to max_record_bytes={subject.settings.max_record_bytes} are sent; larger ones than the topic takes"
        " become dead letters.",
        "Raise max.message.bytes of the topic above max_record_bytes and 500 bytes more, or lower max_record_bytes.",
    )


_OVERHEAD = 500  # of a batch of one record, in bytes


def _cleanup(subject: Subject) -> Finding:
    return _by_config(
        subject,
        "cleanup.policy",
        lambda topic: "compact" in (topic.config or {}).get("cleanup.policy", ""),
        fail,
        "Of records with the same key (a service, a tenant) compaction keeps the last; one without a key is refused.",
        "Set cleanup.policy=delete.",
    )


def _retention(subject: Subject) -> Finding:
    short = []
    for category, topic in subject.topics.items():
        kept, wanted = topic.number("retention.ms", -1), RECOMMENDED[category].retention_ms
        if topic.config is not None and 0 <= kept < wanted:
            short.append(f"{topic.name} keeps {kept / _DAY_MS:.3g} days, {wanted // _DAY_MS} are recommended")
        if topic.number("retention.bytes", -1) > 0:
            short.append(f"{topic.name} has retention.bytes={topic.number('retention.bytes', -1)}")
    if _no_config(subject):
        return skipped(_UNREADABLE)
    if short:
        return warn(
            "; ".join(short),
            "Events are gone before somebody looks for them.",
            "Raise retention.ms, or copy the topics into an archive; if it is meant, leave this check out"
            " (--skip topics.retention).",
        )
    return ok("as long as recommended, or longer")


def _timestamps(subject: Subject) -> Finding:
    return _by_config(
        subject,
        "message.timestamp.before.max.ms",
        lambda topic: topic.number("message.timestamp.before.max.ms", _OUTAGE_MS) < _OUTAGE_MS,
        warn,
        "A record that waited longer than that in an outbox is refused, and becomes a dead letter.",
        "Raise message.timestamp.before.max.ms above the longest outage, a day at least.",
    )


def _by_config(subject: Subject, key: str, is_wrong: Any, judge: Any, means: str, todo: str) -> Finding:
    if _no_config(subject):
        return skipped(_UNREADABLE)
    read = [topic for topic in subject.topics.values() if topic.config is not None]
    wrong = [f"{topic.name} has {key}={(topic.config or {}).get(key)}" for topic in read if is_wrong(topic)]
    if wrong:
        found: Finding = judge("; ".join(wrong), means, todo)
        return found
    values = sorted({str((topic.config or {}).get(key, "the default")) for topic in read})
    return ok(f"{key}={', '.join(values)}")


def _no_config(subject: Subject) -> bool:
    return all(topic.config is None for topic in subject.topics.values())


CHECKS = (
    Check("topics.exist", _exist, ("cluster.listeners",)),
    Check("topics.replicas", _replicas, ("topics.exist",)),
    Check("topics.size", _size, ("topics.exist",)),
    Check("topics.cleanup", _cleanup, ("topics.exist",)),
    Check("topics.retention", _retention, ("topics.exist",)),
    Check("topics.timestamps", _timestamps, ("topics.exist",)),
)
