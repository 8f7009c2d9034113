"""What there is to do for a topic: never less than there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.cli.topics.changes import changes
from otel_kafka_exporter.cli.topics.facts import Partition, TopicFacts
from otel_kafka_exporter.cli.topics.wanted import Wanted, WantedError, parse_overrides, wanted_topics
from otel_kafka_exporter.settings import Settings

DAY = 86_400_000
SETTINGS = Settings.load({"bootstrap_servers": "a:1", "topic_prefix": "dev."}, {})


def facts(partitions: int = 3, replicas: int = 3, **config: str) -> TopicFacts:
    who = tuple(range(1, replicas + 1))
    values = {name.replace("_", "."): value for name, value in config.items()}
    return TopicFacts("t", (Partition(1, who, who),) * partitions, None, values)


def wanted(partitions: int = 3, replicas: int = 3, **config: str) -> Wanted:
    return Wanted("t", partitions, replicas, {name.replace("_", "."): value for name, value in config.items()})


def actions(want: Wanted, found: TopicFacts | None, *, add_partitions: bool = False) -> list[tuple[str, str]]:
    return [(each.action, each.text) for each in changes(want, found, add_partitions=add_partitions)]


def test_a_topic_that_is_not_there_is_made() -> None:
    """With all that is wanted of it."""
    [change] = changes(wanted(6, 3, retention_ms="1"), None, add_partitions=False)
    assert (change.action, change.partitions, change.replicas, change.config) == ("create", 6, 3, {"retention.ms": "1"})


@pytest.mark.parametrize(
    ("name", "value", "there", "expected"),
    [
        ("retention_ms", "100", "99", ["configure"]),
        ("retention_ms", "100", "100", []),
        ("retention_ms", "100", "101", []),
        ("retention_ms", "100", "-1", []),
        ("retention_ms", "-1", "100", ["configure"]),
        ("max_message_bytes", "2000", "1000", ["configure"]),
        ("max_message_bytes", "1000", "2000", []),
        ("min_insync_replicas", "2", "1", ["configure"]),
        ("min_insync_replicas", "4", "1", ["operator"]),
        ("cleanup_policy", "delete", "compact", ["operator"]),
        ("cleanup_policy", "delete", "delete", []),
        ("compression_type", "zstd", "producer", ["operator"]),
        ("no_such", "1", None, ["operator"]),
    ],
)
def test_a_property_is_raised_or_left_to_a_person(
    name: str, value: str, there: str | None, expected: list[str]
) -> None:
    """More is never made less; what may lose or refuse records is not done."""
    found = facts(3, 3, **({} if there is None else {name: there}))
    assert [action for action, _ in actions(wanted(3, 3, **{name: value}), found)] == expected


def test_partitions_are_added_when_that_is_asked_for() -> None:
    """Adding them moves keys; there are never fewer; more replicas are for a person."""
    assert actions(wanted(6), facts(3)) == [("operator", "add partitions: it has 3, 6 are wanted")]
    [change] = changes(wanted(6), facts(3), add_partitions=True)
    assert (change.action, change.partitions) == ("add_partitions", 6)
    assert actions(wanted(3), facts(6), add_partitions=True) == []
    assert actions(wanted(3, 3), facts(3, 1)) == [("operator", "give it 3 replicas: it has 1")]
    assert actions(wanted(3, 1), facts(3, 3)) == []


@given(st.integers(-1, 10), st.integers(-1, 10), st.integers(1, 5), st.integers(1, 5))
def test_nothing_is_ever_reduced(value: int, there: int, partitions: int, there_partitions: int) -> None:
    """Whatever is wanted and whatever is there, what is done by itself leaves at least as much."""
    want, found = wanted(partitions, retention_ms=str(value)), facts(there_partitions, retention_ms=str(there))
    for change in changes(want, found, add_partitions=True):
        if change.action == "add_partitions":
            assert change.partitions > there_partitions
        if change.action == "configure":
            assert there >= 0
            assert value < 0 or value > there


def test_what_is_recommended() -> None:
    """By category; never more replicas than brokers; records of the largest size fit; names with their prefix."""
    application, audit, security = wanted_topics(SETTINGS, 3, {}, dead_letters=False)
    assert [each.name for each in (application, audit, security)] == [
        f"dev.omninode.logging.{category}.v1" for category in ("application", "audit", "security")
    ]
    assert [(each.partitions, each.replicas) for each in (application, audit, security)] == [(6, 3), (3, 3), (3, 3)]
    assert [int(each.config["retention.ms"]) // DAY for each in (application, audit, security)] == [7, 30, 90]
    assert application.config["min.insync.replicas"] == "2"
    alone = wanted_topics(SETTINGS, 1, {}, dead_letters=False)[0]
    assert (alone.replicas, alone.config["min.insync.replicas"]) == (1, "1")
    large = Settings.load({"bootstrap_servers": "a:1", "max_record_bytes": 5_000_000}, {})
    assert int(wanted_topics(large, 1, {}, dead_letters=False)[0].config["max.message.bytes"]) > 5_000_000


def test_what_is_wanted_otherwise() -> None:
    """An override counts for all topics or for one, the one for one goes first; durations are milliseconds."""
    overrides = parse_overrides(
        ["partitions=12", "audit.partitions=1", "retention.ms=2d", "audit.compression.type=zstd"]
    )
    application, letters, audit, *_ = wanted_topics(SETTINGS, 3, overrides, dead_letters=True)
    assert (application.partitions, audit.partitions) == (12, 1)
    assert application.config["retention.ms"] == str(2 * DAY)
    assert ("compression.type" in application.config, audit.config["compression.type"]) == (False, "zstd")
    assert (letters.name, letters.partitions) == (application.name + ".dlq", 1)


@pytest.mark.parametrize(
    "text",
    [
        "partitions=\u00b2",
        f"partitions={'9' * 5000}",
        "retention.ms=\udcff",
        "",
        "partitions",
        "partitions=",
        "partitions=0",
        "replicas=many",
        "audit.=1",
        "x y=1",
        "=1",
        "Audit.x=1",
    ],
)
def test_what_is_no_override(text: str) -> None:
    """It is refused, and named."""
    with pytest.raises(WantedError, match="expected"):
        parse_overrides([text])


def test_what_is_said_of_a_topic_counts_rightly() -> None:
    """One replica is one, and milliseconds that are days say how many."""
    [change] = changes(wanted(2, 1, retention_ms="604800000", segment_ms="1000"), None, add_partitions=False)
    assert change.text == "create it: 2 partitions, 1 replica, retention.ms=604800000 (7 days), segment.ms=1000"
