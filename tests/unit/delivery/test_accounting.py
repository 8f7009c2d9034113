"""Counting what becomes of records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.delivery.accounting import Ledger
from otel_kafka_exporter.delivery.steps import COUNTED_AS, TABLE, Event, State
from otel_kafka_exporter.process.outcome import DeliveryStats
from tests.strategies import QUICK


def test_nothing_yet() -> None:
    """A new ledger has counted nothing."""
    assert Ledger().stats() == DeliveryStats(0, 0, 0, 0, 0, {}, 0)


def test_stats_are_of_their_moment() -> None:
    """Stats that were taken do not change, neither by what comes later nor by who holds them."""
    ledger = Ledger()
    ledger.accepted = 3
    ledger.dropped["a"] += 1
    before = ledger.stats()
    ledger.dropped["a"] += 1
    assert before.dropped == {"a": 1}
    with pytest.raises(TypeError):
        before.dropped["a"] = 7  # type: ignore[index]  # that it cannot be written to is the promise


@QUICK
@given(st.lists(st.tuples(st.sampled_from(sorted(TABLE)), st.integers(1, 5)), max_size=20))
def test_each_count_is_counted_for_itself(steps: list[tuple[tuple[State, Event], int]]) -> None:
    """Records that enter in a state, and leave it, leave the other counts alone; accepted is the sum."""
    ledger = Ledger()
    for (state, _), records in steps:
        before = dict(ledger.counts)
        ledger.enter(state, records)
        ledger.enter(state, 1)
        ledger.leave(state, "reason", 1)
        before[COUNTED_AS[state]] += records
        assert ledger.counts == before
    stats = ledger.stats()
    assert stats.accepted == sum(ledger.counts.values()) + sum(stats.dropped.values())
    assert stats.dropped.get("reason", 0) == len(steps)
