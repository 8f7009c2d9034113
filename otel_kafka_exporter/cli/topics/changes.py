"""What there is to do so that topics are as they are wanted. Nothing is ever reduced or deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from otel_kafka_exporter.cli.tail.text import counted

from .facts import TopicFacts
from .wanted import Wanted

_DAY_MS = 86_400_000
#: Properties that count something of which less is kept the smaller they are; -1 is without a limit.
_RAISED = frozenset({"retention.ms", "retention.bytes", "max.message.bytes", "min.insync.replicas"})
_WITHOUT_LIMIT = frozenset({"retention.ms", "retention.bytes"})


class Change(NamedTuple):
    """Something that is not as it is wanted.

    Attributes:
        topic: of which topic.
        action: `create`, `configure`, `add_partitions`; or `operator`, which is for a person to do.
        text: what, in a sentence without an end.
        why: the reason.
        config: for `create` and `configure`: the properties.
        partitions: for `create` and `add_partitions`: how many there will be.
        replicas: for `create`: how many.
    """

    topic: str
    action: str
    text: str
    why: str
    config: Mapping[str, str] = {}
    partitions: int = 0
    replicas: int = 0


def changes(wanted: Wanted, found: TopicFacts | None, *, add_partitions: bool) -> Iterator[Change]:
    """What there is to do for a topic.

    Args:
        wanted: how it is to be.
        found: how it is; None when it is not there.
        add_partitions: whether partitions may be added.
    """
    if found is None:
        number = f"{counted(wanted.partitions, 'partition')}, {counted(wanted.replicas, 'replica')}"
        properties = ", ".join(_setting(name, value) for name, value in sorted(wanted.config.items()))
        yield Change(
            wanted.name,
            "create",
            f"create it: {number}, {properties}",
            "it is not there",
            wanted.config,
            wanted.partitions,
            wanted.replicas,
        )
        return
    yield from _partitions(wanted, found, add_partitions=add_partitions)
    replicas = min((len(part.replicas) for part in found.partitions), default=wanted.replicas)
    if replicas < wanted.replicas:
        yield Change(
            wanted.name,
            "operator",
            f"give it {counted(wanted.replicas, 'replica')}: it has {replicas}",
            "a broker that is lost takes records with it; kafka-reassign-partitions moves data, which takes its time",
        )
    if found.config is None:
        yield Change(
            wanted.name, "operator", "look at its configuration", "it may not be read here: DESCRIBE_CONFIGS is missing"
        )
        return
    for name, value in sorted(wanted.config.items()):
        yield from _property(wanted.name, name, value, found.config.get(name), min(replicas, wanted.replicas))


def hidden(wanted: Wanted) -> Change:
    """What there is to do for a topic that we may not see."""
    return Change(
        wanted.name, "operator", "look at it", "it may not be seen here: DESCRIBE is missing, or there is none"
    )


def _partitions(wanted: Wanted, found: TopicFacts, *, add_partitions: bool) -> Iterator[Change]:
    there = len(found.partitions)
    if there >= wanted.partitions:
        return
    text = f"add partitions: it has {there}, {wanted.partitions} are wanted"
    why = "keys go to other partitions from then on: records with the same key are not in order across that moment"
    if add_partitions:
        yield Change(wanted.name, "add_partitions", text, why, partitions=wanted.partitions)
    else:
        yield Change(wanted.name, "operator", text, f"{why}; --add-partitions does it")


def _setting(name: str, value: str) -> str:
    """A property and its value; of days also how many."""
    days, rest = divmod(int(value), _DAY_MS) if name.endswith(".ms") and _is_number(value) else (0, 0)
    return f"{name}={value} ({counted(days, 'day')})" if days > 0 and not rest else f"{name}={value}"


def _property(topic: str, name: str, value: str, there: str | None, replicas: int) -> Iterator[Change]:
    if there == value:
        return
    text = f"set {_setting(name, value)}: it is {there}"
    if name in _RAISED and _is_number(value) and _is_number(there):
        if _amount(name, value) < _amount(name, str(there)):
            return  # more is kept than is wanted, which nobody loses by
        if name == "min.insync.replicas" and int(value) > replicas:
            yield Change(
                topic, "operator", text, f"with {counted(replicas, 'replica')} nothing would be acknowledged any more"
            )
            return
        yield Change(topic, "configure", text, "more is wanted", {name: value})
    elif there is None:
        yield Change(topic, "operator", text, "this cluster knows no such property")
    else:
        yield Change(topic, "operator", text, "records may be lost or refused by that: look before")


def _is_number(text: str | None) -> bool:
    return text is not None and text.lstrip("-").isdigit()


def _amount(name: str, text: str) -> float:
    number = int(text)
    return float("inf") if number < 0 and name in _WITHOUT_LIMIT else number
