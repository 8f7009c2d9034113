"""The outbox and its dead letters, shown and filtered as the topics are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import audit_records, exporting, records
from .tails import tail


@pytest.fixture
def outbox(embedded_kafka: EmbeddedKafka) -> Iterator[None]:
    """One record of each category that waits, one that a broker refused, and one that became no envelope."""
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        exporter.export(records(["delivered"]))
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)
        exporter.export(records(["refused\x1b[2J"], tries=3))
        exporter.export(records(["broken"], **{"omni.category": "audit"}))
        until(lambda: exporter.stats().dead_lettered == 2)
        embedded_kafka.down()
        exporter.export([*records(["waits"]), *audit_records(["an event"])])
        until(lambda: exporter.stats().spooled == 2)
        yield


@pytest.mark.usefixtures("outbox")
def test_the_outbox_is_shown_as_the_topics_are() -> None:
    """What waits and dead letters come by time, say what they are, and pass the same filters, while Kafka is away."""
    refused, broken, *waiting = tail("--outbox").lines
    assert "refused  (dead letter: invalid_record)  tries=3" in refused
    assert "(dead letter: conversion:omni.audit.action)" in broken
    assert '"body":"broken"' in broken
    assert len(waiting) == 2
    assert all("(waits)" in line for line in waiting)
    done = tail("--outbox", "--json", "-q", "context.tries>=3 or actor=bob")
    assert [document["outbox"]["stream"] for document in done.documents] == ["application.dead", "audit"]
    assert done.documents[0]["offset"] is None
    assert "4 read, 2 matched, 0 duplicates, 1 undecodable" in done.errors
    assert tail("--outbox", "--last", "1", "--category", "application", "--json").messages == ["waits"]


@pytest.mark.usefixtures("outbox")
def test_outbox_list_has_the_same_filters_and_looks() -> None:
    """`outbox list` shows what waits, or dead letters, with the options of `tail`, and no more than its limit."""
    listing = ("outbox", "list")
    assert len(tail(command=listing).lines) == 2
    [event] = tail("--category", "audit", "--fields", "context.message", command=listing).lines
    assert "bob order.delete on order/17: success  an event  (waits)  context.message=an event" in event
    assert tail("--json", "--category", "application", command=listing).messages == ["waits"]
    done = tail("--dead-letters", "--limit", "1", command=listing)
    assert len(done.lines) == 1
    assert done.errors == "... 1 more; --limit 1\n"
    letter = tail("--dead-letters", "--json", command=listing).documents[1]
    assert '"body":"broken"' in letter["value"]
