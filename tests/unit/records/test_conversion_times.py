"""An envelope has the time of its record, else the time it was observed, else the present, to the microsecond."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.statements import Converted
from otel_kafka_exporter.records.times import utc_text
from tests.records import AUDIT, TIME, TIME_TEXT, cleaner, hand_made

DAY = 86_400 * 10**9
NOW = 1_900_000_000 * 10**9
NOW_TEXT = "2030-03-17T17:46:40.000000Z"
#: Years 1999 and 2000.
LAST_WRONG, FIRST_RIGHT = 946_684_800 * 10**9 - 1, 946_684_800 * 10**9
#: Times in seconds, milliseconds and microseconds, and others that are no time of a log record.
IMPLAUSIBLE = [
    TIME // 10**9,
    TIME // 10**6,
    TIME // 10**3,
    1,
    LAST_WRONG,
    NOW + DAY + 1,
    TIME * 1000,
    -1,
    -(2**80),
    253_402_300_800_000_000_000,
    2**200,
    1.7e18,
    "1700000000123456789",
    True,
    [1],
    b"1",
    float("nan"),
]


def at(nanoseconds: int) -> Any:
    """A clock that stands."""
    return lambda: nanoseconds


def in_2030(record: Any) -> Converted:
    return Converter(cleaner(), uuid7, at(NOW)).convert(record)


@pytest.mark.parametrize(
    ("time", "observed", "expected"),
    [
        (TIME, 1, TIME_TEXT),
        (None, TIME, TIME_TEXT),
        (0, TIME, TIME_TEXT),
        (FIRST_RIGHT, TIME, "2000-01-01T00:00:00.000000Z"),
        (FIRST_RIGHT + 999, TIME, "2000-01-01T00:00:00.000000Z"),
        (FIRST_RIGHT + 1_000, TIME, "2000-01-01T00:00:00.000001Z"),
        (951_782_400 * 10**9 - 1, TIME, "2000-02-28T23:59:59.999999Z"),
        (951_782_400 * 10**9, TIME, "2000-02-29T00:00:00.000000Z"),
        (NOW + DAY, TIME, "2030-03-18T17:46:40.000000Z"),
    ],
)
@pytest.mark.parametrize("attributes", [{}, AUDIT], ids=["application", "audit"])
def test_time(time: Any, observed: Any, expected: str, attributes: dict[str, str]) -> None:
    """The record's time, else the time it was observed, with six digits and Z, truncated and never rounded up."""
    event_name = "omni.audit" if attributes else None
    result = in_2030(hand_made(attributes, timestamp=time, observed_timestamp=observed, event_name=event_name))
    assert result.envelope.timestamp == expected
    assert result.envelope.payload["context"] == {}
    assert result.milliseconds == (time or observed) // 10**6
    assert uuid.UUID(result.envelope.event_id).int >> 80 == result.milliseconds


@pytest.mark.parametrize("time", IMPLAUSIBLE, ids=repr)
@pytest.mark.parametrize("attributes", [{}, AUDIT], ids=["application", "audit"])
def test_times_that_do_not_count(time: Any, attributes: dict[str, str]) -> None:
    """A time in another unit, before 2000, more than a day ahead or of another type gives way, and is kept."""
    event_name = "omni.audit" if attributes else None
    result = in_2030(hand_made(attributes, timestamp=time, event_name=event_name))
    assert (result.envelope.timestamp, result.milliseconds) == (TIME_TEXT, TIME // 10**6)
    assert result.context == {"otel.timestamp": cleaner().clean(time)}


@pytest.mark.parametrize("observed", [None, 0, *IMPLAUSIBLE], ids=repr)
@pytest.mark.parametrize("time", [None, 0, 1_700_000_000])
def test_no_time_at_all(time: Any, observed: Any) -> None:
    """A record without any plausible time was logged now; it is not refused."""
    result = in_2030(hand_made(timestamp=time, observed_timestamp=observed))
    assert (result.envelope.timestamp, result.milliseconds) == (NOW_TEXT, NOW // 10**6)
    assert result.context == ({"otel.timestamp": time} if time else {})


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-(10**9), "1970-01-01T00:00:00.000000Z"),
        (10**9, "1970-01-01T00:00:01.000000Z"),
        (2**100, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_clock_that_is_wrong(clock: int, expected: str) -> None:
    """A machine whose clock stands in 1970, or anywhere else, refuses no record either."""
    result = Converter(cleaner(), uuid7, at(clock)).convert(hand_made(timestamp=clock, observed_timestamp=None))
    assert result.envelope.timestamp == expected
    assert uuid.UUID(result.envelope.event_id).version == 7


def test_a_clock_that_goes_on() -> None:
    """What was ahead of the clock is not, once the clock has come so far; most records ask no clock."""
    clock = [NOW]
    asked: list[int] = []

    def now() -> int:
        asked.append(clock[0])
        return clock[0]

    converter = Converter(cleaner(), uuid7, now)
    ahead = NOW + 2 * DAY
    assert converter.convert(hand_made(timestamp=ahead)).context == {"otel.timestamp": ahead}
    clock[0] = NOW + DAY
    assert converter.convert(hand_made(timestamp=ahead)).context == {}
    asked.clear()
    for _ in range(10):
        converter.convert(hand_made(timestamp=NOW))
    assert asked == []


def test_times_of_one_second_and_others() -> None:
    """Times are right whichever second the one before them was in."""
    moment = dt.datetime(2024, 2, 29, 23, 59, 58, tzinfo=dt.timezone.utc)
    for step in (0, 1, 1_000_000, 1, -1_000_000, 86_400_000_000, 3):
        moment += dt.timedelta(microseconds=step)
        nanoseconds = int(moment.timestamp()) * 10**9 + moment.microsecond * 1000 + 999
        assert utc_text(nanoseconds) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
