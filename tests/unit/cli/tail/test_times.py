"""Points in time as people write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.cli.tail.times import parse_time

NOW = datetime(2026, 11, 26, 16, 30, 15, 250_000, tzinfo=timezone.utc)


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", "2026-11-26T16:20:15.250+00:00"),
        ("10m ago", "2026-11-26T16:20:15.250+00:00"),
        ("1h30m", "2026-11-26T15:00:15.250+00:00"),
        ("1.5h", "2026-11-26T15:00:15.250+00:00"),
        ("500ms", "2026-11-26T16:30:14.750+00:00"),
        ("2d", "2026-11-24T16:30:15.250+00:00"),
        ("1w", "2026-11-19T16:30:15.250+00:00"),
        ("now", "2026-11-26T16:30:15.250+00:00"),
        ("today", "2026-11-26T00:00:00+00:00"),
        ("Yesterday", "2026-11-25T00:00:00+00:00"),
        ("9:05", "2026-11-26T09:05:00+00:00"),
        ("22:00:07", "2026-11-26T22:00:07+00:00"),
        ("2026-11-25", "2026-11-25T00:00:00+00:00"),
        ("2026-11-25T22:00", "2026-11-25T22:00:00+00:00"),
        ("2026-11-25 22:00:01", "2026-11-25T22:00:01+00:00"),
        ("2026-11-25T22:00:01.5Z", "2026-11-25T22:00:01.500+00:00"),
        ("2026-11-25T22:00:01.123456789Z", "2026-11-25T22:00:01.123+00:00"),
        ("2026-11-25T22:00+02:00", "2026-11-25T20:00:00+00:00"),
    ],
)
def test_what_people_write_is_understood(text: str, expected: str) -> None:
    """Durations count back from now, a clock is today's, words and ISO 8601 are what they say."""
    assert parse_time(text, NOW, timezone.utc) == milliseconds(expected)


def test_the_beginning_is_before_everything() -> None:
    """`beginning` is no time that a record could be older than."""
    assert parse_time("beginning", NOW) == 0
    assert parse_time("9999w", NOW) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "10",
        "10x",
        "m",
        "25:00",
        "12:61",
        "2026-13-01",
        "2026-11-25T",
        "-5m",
        "1h 30m",
        "99999999999w9",
        f"{'9' * 400}d",
    ],
)
def test_anything_else_is_an_error_that_names_examples(text: str) -> None:
    """What is no time says what one looks like."""
    with pytest.raises(ValueError, match="a time such as 10m, 1h30m"):
        parse_time(text, NOW, timezone.utc)


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_without_a_zone_it_is_the_machines_by_the_rules_of_that_day() -> None:
    """In winter a time in summer is one of summer time."""
    assert parse_time("2026-11-25T22:00", NOW) == milliseconds("2026-11-25T21:00:00+00:00")
    assert parse_time("2026-07-25T22:00", NOW) == milliseconds("2026-07-25T20:00:00+00:00")
    assert parse_time("today", NOW) == milliseconds("2026-11-25T23:00:00+00:00")


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-720, 720))  # noqa: DTZ001 - its zone follows
def test_every_iso_time_comes_back(moment: datetime, minutes: int) -> None:
    """A time with its offset, however it is written, is that time, whatever the zone."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert abs(parse_time(aware.isoformat(), NOW) - aware.timestamp() * 1000) <= 1


@given(st.text(max_size=20))
def test_no_text_is_a_traceback(text: str) -> None:
    """Any text is a time from 1970 on, or the one error."""
    try:
        found = parse_time(text, NOW)
    except ValueError as error:
        found, problem = 0, str(error)
    else:
        problem = "a time such as"
    assert found >= 0
    assert problem.startswith("a time such as")
