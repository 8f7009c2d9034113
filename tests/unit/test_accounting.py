"""Counting what becomes of records."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.accounting import Ledger
from otel_kafka_exporter.outcome import DeliveryStats
from tests.strategies import QUICK


def accepted(stats: DeliveryStats) -> int:
    return stats.delivered + stats.spooled + stats.dead_lettered + stats.in_flight + sum(stats.dropped.values())


def test_nothing_yet() -> None:
    """A new ledger has counted nothing, and has nothing to wait for."""
    ledger = Ledger()
    assert ledger.stats() == DeliveryStats(0, 0, 0, 0, 0, {}, 0)
    assert ledger.wait_until_settled(0)


def test_outcomes() -> None:
    """Records are in flight until they have their outcome; cuts are counted beside them."""
    ledger = Ledger()
    ledger.accept(10)
    assert ledger.stats() == DeliveryStats(10, 0, 0, 0, 10, {}, 0)
    ledger.settle(4, Counter(queue_full=2, closed=1), 5)
    ledger.settle(1, Counter(queue_full=1), 0)
    assert ledger.stats() == DeliveryStats(10, 5, 0, 0, 1, {"queue_full": 3, "closed": 1}, 5)


def test_stats_are_of_their_moment() -> None:
    """Stats that were taken do not change, neither by what comes later nor by who holds them."""
    ledger = Ledger()
    ledger.accept(3)
    ledger.settle(0, Counter(a=1), 0)
    before = ledger.stats()
    ledger.settle(0, Counter(a=1), 0)
    assert before.dropped == {"a": 1}
    with pytest.raises(TypeError):
        before.dropped["a"] = 7  # type: ignore[index]  # that it cannot be written to is the promise


def test_what_was_passed_is_not_kept() -> None:
    """A caller may go on with its counter of dropped records."""
    ledger, dropped = Ledger(), Counter(a=1)
    ledger.accept(2)
    ledger.settle(0, dropped, 0)
    dropped["a"] = 100
    assert ledger.stats().dropped == {"a": 1}


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.dictionaries(st.sampled_from("ab"), st.integers(0, 5))))
)
def test_accepted_is_the_sum(steps: list[tuple[int, int, dict[str, int]]]) -> None:
    """After every step accepted is the sum of the states."""
    ledger = Ledger()
    for new, delivered, dropped in steps:
        ledger.accept(new + delivered + sum(dropped.values()))
        ledger.settle(delivered, Counter(dropped), 0)
        stats = ledger.stats()
        assert stats.accepted == accepted(stats)
    assert ledger.stats().in_flight == sum(new for new, _, _ in steps)


def test_threads() -> None:
    """Counts of many threads at once are exact, and the sum is right at every moment in between."""
    ledger = Ledger()

    def work(_: int) -> None:
        for _round in range(500):
            ledger.accept(3)
            ledger.settle(1, Counter(a=1), 1)
            stats = ledger.stats()
            assert stats.accepted == accepted(stats)
            assert stats.in_flight >= 0
            ledger.settle(1, Counter(), 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert ledger.stats() == DeliveryStats(12_000, 8_000, 0, 0, 0, {"a": 4_000}, 4_000)


def test_waiting_ends_in_time() -> None:
    """Who waits for what does not come is told so when the time is over."""
    ledger = Ledger()
    ledger.accept(1)
    started = time.monotonic()
    assert not ledger.wait_until_settled(0.05)
    assert 0.04 < time.monotonic() - started < 1


def test_waiting_ends_with_the_last_record() -> None:
    """Who waits goes on as soon as the last record has its outcome, dropped ones too, and not before."""
    ledger = Ledger()
    ledger.accept(2)
    threading.Timer(0.02, ledger.settle, (1, Counter(), 0)).start()
    threading.Timer(0.06, ledger.settle, (0, Counter(a=1), 0)).start()
    started = time.monotonic()
    assert ledger.wait_until_settled(5)
    assert 0.05 < time.monotonic() - started < 2


def test_begin_again() -> None:
    """A forked child counts its own records only, even if a thread of the parent's held the lock."""
    ledger = Ledger()
    ledger.accept(2)
    ledger.settle(1, Counter(a=1), 1)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ledger._changed:
            held.set()
            done.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)
    ledger.begin()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(ledger.stats)
        assert found.result(timeout=2) == DeliveryStats(0, 0, 0, 0, 0, {}, 0)
    done.set()
    holder.join()
