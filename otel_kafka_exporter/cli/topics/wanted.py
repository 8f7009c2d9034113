"""How topics of ours are to be: what is recommended, and what somebody wants otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from otel_kafka_exporter.records import CATEGORIES, Category, event_type
from otel_kafka_exporter.settings import Settings

_DAY_MS = 86_400_000
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": _DAY_MS, "w": 7 * _DAY_MS}
_DURATION = re.compile(r"(\d{1,18})([smhdw])")
_NAME = re.compile(r"[a-z][a-z.]*[a-z]")
_NUMBER = re.compile(r"[0-9]{1,5}")
_BROKERS_DEFAULT_BYTES = 1_048_588
#: Of a batch of one record, in bytes.
BATCH_OVERHEAD = 500
#: Of topic names that a consumer may put what it cannot read into.
DEAD_LETTER_ENDING = ".dlq"
_DEAD_LETTER_PARTITIONS = 1


class Recommended(NamedTuple):
    """How a topic is best made.

    Attributes:
        partitions: how many.
        replicas: how many, where there are as many brokers.
        retention_ms: how long records are kept.
    """

    partitions: int
    replicas: int
    retention_ms: int


#: Set-ups in use. Audit and security events are few, and are asked for long after.
RECOMMENDED: dict[Category, Recommended] = {
    "application": Recommended(6, 3, 7 * _DAY_MS),
    "audit": Recommended(3, 3, 30 * _DAY_MS),
    "security": Recommended(3, 3, 90 * _DAY_MS),
}


class Wanted(NamedTuple):
    """How a topic is to be.

    Attributes:
        name: in full.
        partitions: at least.
        replicas: at least.
        config: its configuration; numbers are the least that is wanted.
    """

    name: str
    partitions: int
    replicas: int
    config: dict[str, str]


class WantedError(Exception):
    """An override that is none; the text is a sentence."""


def parse_overrides(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Overrides by category; those of all are under the empty text.

    Args:
        texts: each `[CATEGORY.]NAME=VALUE`, where a name is `partitions`, `replicas`, or one of Kafka's of a topic's
            configuration. A value of a name that ends in `.ms` may be a duration such as `30d`.

    Raises:
        WantedError: one is none of these.
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        left, equals, value = (part.strip() for part in text.partition("="))
        category, dot, rest = left.partition(".")
        category, name = (category, rest) if dot and category in CATEGORIES else ("", left)
        if not equals or not value or not value.isprintable() or not _NAME.fullmatch(name):
            raise WantedError(f"expected [CATEGORY.]NAME=VALUE, as in audit.retention.ms=30d, got {text!r}.")
        if name in {"partitions", "replicas"} and not (
            _NUMBER.fullmatch(value) and 0 < int(value) <= 10_000  # noqa: PLR2004 - more than any
        ):
            raise WantedError(f"expected {name} from 1 to 10000, got {text!r}.")
        duration = _DURATION.fullmatch(value)
        if name.endswith(".ms") and duration:
            value = str(int(duration[1]) * _UNITS[duration[2]])
        found.setdefault(category, {})[name] = value
    return found


def wanted_topics(
    settings: Settings, brokers: int, overrides: Mapping[str, Mapping[str, str]], *, dead_letters: bool
) -> list[Wanted]:
    """How the topics of an exporter are to be.

    Args:
        settings: the exporter's, of which the names and the largest record count.
        brokers: how many there are: there cannot be more replicas.
        overrides: as of `parse_overrides`.
        dead_letters: whether each topic has one beside it for what its readers cannot read.
    """
    found = []
    for category in CATEGORIES:
        recommended = RECOMMENDED[category]
        config = {**overrides.get("", {}), **overrides.get(category, {})}
        partitions = int(config.pop("partitions", recommended.partitions))
        replicas = int(config.pop("replicas", min(recommended.replicas, brokers)))
        least_bytes = max(_BROKERS_DEFAULT_BYTES, settings.max_record_bytes + BATCH_OVERHEAD)
        ours = {
            "cleanup.policy": "delete",
            "retention.ms": str(recommended.retention_ms),
            "max.message.bytes": str(least_bytes),
            "min.insync.replicas": str(max(1, min(2, replicas - 1))),
        }
        name = settings.topic_prefix + event_type(settings.namespace, category)
        topic = Wanted(name, partitions, replicas, {**ours, **config})
        found.append(topic)
        if dead_letters:
            found.append(topic._replace(name=name + DEAD_LETTER_ENDING, partitions=_DEAD_LETTER_PARTITIONS))
    return found
