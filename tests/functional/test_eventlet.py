"""Workers under eventlet: what waits for Kafka or the disk holds up no greenlet, and nothing is lost."""

from __future__ import annotations

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka

from .greenlets import needs_eventlet, resources, working

pytestmark = needs_eventlet


@pytest.mark.parametrize("patches", ["before", "after"])
@pytest.mark.parametrize("way_in", ["direct", "batch"])
def test_greenlets_go_on_while_kafka_is_away(embedded_kafka: EmbeddedKafka, way_in: str, patches: str) -> None:
    """No greenlet stands still while Kafka is away for three seconds, and all events arrive once it is back."""
    with working(embedded_kafka, way_in, patches, "eventlet") as worker:
        assert worker.do("receipt", 30).result
        worker.do("load", 0.5)
        embedded_kafka.down()
        emitted = worker.do("load", 3).result
        embedded_kafka.up()
        assert worker.do("flush", 30).result
        assert worker.do("settle", 30).result
        worker.do("shutdown")
        worker.end()
    assert resources(embedded_kafka) == list(range(1, emitted + 1))


@pytest.mark.parametrize("patches", ["before", "after"])
def test_a_greenlet_that_waits_lets_the_others_go_on(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch, patches: str
) -> None:
    """Who waits for a receipt, a flush or a shutdown while nothing is acknowledged holds up nobody but itself."""
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DELIVERY_WAIT", "60")
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_SHUTDOWN_TIMEOUT", "1.5")
    with working(embedded_kafka, "direct", patches, "eventlet") as worker:
        assert worker.do("receipt", 30).result
        embedded_kafka.down()
        for command, seconds in (("receipt", 1.5), ("flush", 1.5), ("shutdown", 0)):
            said = worker.do(command, seconds)
            assert not said.result
            assert said.took > 1
        worker.end()


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "away"])
def test_a_publisher_in_a_greenlet(embedded_kafka: EmbeddedKafka, *, is_there: bool) -> None:
    """A publisher starts, publishes and stops on an event loop in a greenlet, and holds up no other one."""
    if not is_there:
        embedded_kafka.down()
    with working(embedded_kafka, greenlets="eventlet") as worker:
        assert worker.do("publish", 3).result == [True, True]
        worker.do("shutdown")
        worker.end()


def test_greenlets_share_a_slow_disk(embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a disk takes two seconds for a flush, other greenlets go on, and what they write shares the next one."""
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DURABILITY", "power")
    with working(embedded_kafka, greenlets="eventlet") as worker:
        assert worker.do("receipt", 30).result
        said = worker.do("slow disk", 2)
        assert said.took > 2
        assert said.result <= 5
        worker.do("shutdown")
        worker.end()
    assert resources(embedded_kafka) == list(range(1, 12))
