"""Counting what becomes of records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.delivery.accounting import Ledger
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
@given(st.lists(st.integers(0, 5), min_size=5, max_size=5), st.dictionaries(st.sampled_from("ab"), st.integers(0, 5)))
def test_what_is_in_no_other_state_is_in_flight(counts: list[int], dropped: dict[str, int]) -> None:
    """Accepted is the sum of the states."""
    ledger = Ledger()
    in_flight, ledger.delivered, ledger.spooled, ledger.dead_lettered, ledger.truncated = counts
    ledger.dropped.update(dropped)
    ledger.accepted = sum(counts[:4]) + sum(dropped.values())
    assert ledger.stats().in_flight == in_flight
