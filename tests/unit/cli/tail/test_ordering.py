"""Records of many partitions in the order of their times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.cli.tail import ordering
from otel_kafka_exporter.cli.tail.ordering import WINDOW_SECONDS, Ordered, Ordering, Place
from otel_kafka_exporter.cli.tail.record import Record

A, B = ("topic", 0), ("topic", 1)


def at(milliseconds: int, place: Place = A, value: bytes = b"") -> Record:
    return Record(*place, 0, milliseconds, None, [], value)


def times(found: list[Ordered]) -> list[int]:
    return [each.record.milliseconds for each in found]


def test_history_waits_for_the_partition_that_is_behind() -> None:
    """A record is given out once every partition has come past its time, a second's slack included, and not before."""
    order = Ordering([A, B])
    order.add(at(10_000), 0)
    order.passed(A, 20_000)
    assert list(order.ready(0)) == []
    order.add(at(9_000, B), 0)
    order.passed(B, 10_500)
    assert times(list(order.ready(0))) == [9_000]
    order.passed(B, 11_000)
    assert times(list(order.ready(0))) == [10_000]


def test_at_the_end_of_history_nothing_waits() -> None:
    """A partition that is at its end holds nobody up, and what was held comes at once."""
    order = Ordering([A, B])
    order.add(at(2), 0)
    order.add(at(1, B), 0)
    order.finished(A)
    assert order.is_history
    order.finished(B)
    assert not order.is_history
    assert times(list(order.ready(0))) == [1, 2]


def test_while_following_a_record_waits_for_a_moment() -> None:
    """What arrives within 100 ms is put in order; the reader knows how long that takes."""
    order = Ordering([])
    assert order.wait(50) == float("inf")
    order.add(at(2), 50)
    order.add(at(1), 50 + WINDOW_SECONDS / 2)
    assert list(order.ready(50)) == []
    assert order.wait(50) == pytest.approx(WINDOW_SECONDS)
    assert times(list(order.ready(50 + WINDOW_SECONDS))) == [1, 2]
    assert order.wait(51) == float("inf")


def test_what_comes_after_its_turn_is_late() -> None:
    """A record whose time is before one that was given out already says so."""
    order = Ordering([])
    for milliseconds in (2, 3, 1, 3, 4):
        order.add(at(milliseconds), 0)
        [found] = order.ready(1)
        assert found.late is (milliseconds == 1)


def test_a_record_of_the_future_makes_nobody_late() -> None:
    """A clock that is wrong somewhere does not mark the records of all others."""
    order = Ordering([], clock=lambda: 100.0)
    order.add(at(3_600_000), 0)
    order.add(at(99_000), 1)
    assert [found.late for found in order.ready(9)] == [False, False]
    order.add(at(100_000), 10)
    assert [found.late for found in order.ready(19)] == [False]


def test_a_record_of_the_future_holds_nothing_in_memory() -> None:
    """While one record of history waits for its time, what is remembered of the others does not grow."""
    order = Ordering([A], clock=lambda: 100.0)
    order.add(at(10**12), 0)
    for milliseconds in range(0, 1_000_000, 1_000):
        order.add(at(milliseconds), 0)
        order.passed(A, milliseconds + 1_000)
        assert times(list(order.ready(0))) == [milliseconds]
    assert (len(order._heap), len(order._given), len(order._arrivals)) == (1, 0, 0)


def test_memory_goes_before_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """When one partition holds up all others for long, those are named that have to pause; then they are given out."""
    monkeypatch.setattr(ordering, "MAX_BYTES", 1_000)
    order = Ordering([A, B])
    for number in range(20):
        order.add(at(5_000 + number, A, b"x" * 100), 0)
        order.passed(A, 5_000 + number)
    assert order.is_full
    assert order.ahead() == [A]
    order.passed(B, 1)
    assert list(order.ready(0)) == []
    order.add(at(6_000, A, b"x" * 100), 0)
    assert times(list(order.ready(0))) == [5_000]


@given(
    st.lists(st.tuples(st.sampled_from([A, B, ("other", 0)]), st.integers(0, 900)), max_size=40),
)
def test_history_that_is_in_order_within_a_second_comes_in_order(
    records: list[tuple[Place, int]],
) -> None:
    """However partitions take turns, and out of order by less than a second each, the whole is by time and complete."""
    order = Ordering([A, B, ("other", 0)])
    found: list[Ordered] = []
    newest = dict.fromkeys([A, B, ("other", 0)], 0)
    for place, milliseconds in records:
        order.add(at(milliseconds, place), 0)
        newest[place] = max(newest[place], milliseconds)
        order.passed(place, newest[place])
        found += order.ready(0)
    for place in newest:
        order.finished(place)
    found += order.ready(0)
    assert times(found) == sorted(milliseconds for _, milliseconds in records)
    assert not any(each.late for each in found)


@given(st.lists(st.tuples(st.integers(0, 1_000), st.floats(0, 0.2)), max_size=40))
def test_while_following_nothing_is_lost_and_lateness_is_true(records: list[tuple[int, float]]) -> None:
    """Each record comes once, within the window, and is late just when a later one came before it."""
    order = Ordering([])
    now = 0.0
    found: list[Ordered] = []
    for milliseconds, pause in records:
        now += pause
        order.add(at(milliseconds), now)
        found += order.ready(now)
    found += order.ready(now + 1.01 * WINDOW_SECONDS)
    assert sorted(times(found)) == sorted(milliseconds for milliseconds, _ in records)
    newest = -1
    for each in found:
        assert each.late is (each.record.milliseconds < newest)
        newest = max(newest, each.record.milliseconds)
    assert (order._heap, order._given, len(order._arrivals), order._bytes) == ([], set(), 0, 0)
