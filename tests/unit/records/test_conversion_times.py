"""An envelope has the time of its record, or the time it was observed, to the microsecond."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.records.fields import utc_text
from tests.records import TIME, TIME_TEXT, cleaner, converted, envelope_of, hand_made, on_the_wire


@pytest.mark.parametrize(
    ("time", "observed", "expected"),
    [
        (TIME, 1, TIME_TEXT),
        (None, TIME, TIME_TEXT),
        (0, TIME, TIME_TEXT),
        (1, TIME, "1970-01-01T00:00:00.000000Z"),
        (999, TIME, "1970-01-01T00:00:00.000000Z"),
        (1_000, TIME, "1970-01-01T00:00:00.000001Z"),
        (951_782_400 * 10**9 - 1, TIME, "2000-02-28T23:59:59.999999Z"),
        (951_782_400 * 10**9, TIME, "2000-02-29T00:00:00.000000Z"),
        (253_402_300_799_999_999_999, TIME, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_time(time: Any, observed: Any, expected: str) -> None:
    """The record's time, else the time it was observed, with six digits and Z, truncated and never rounded up."""
    result = converted(hand_made(timestamp=time, observed_timestamp=observed))
    assert result.envelope.timestamp == expected
    assert result.envelope.payload["context"] == {}
    assert result.milliseconds == (time or observed) // 10**6
    assert uuid.UUID(result.envelope.event_id).int >> 80 == result.milliseconds


@pytest.mark.parametrize(
    "time",
    [-1, -(2**80), 253_402_300_800_000_000_000, 2**200, 1.7e18, "1700000000123456789", True, [1], b"1", float("nan")],
)
def test_times_that_do_not_count(time: Any) -> None:
    """A time that is negative, beyond the year 9999 or of another type gives way to the observed one, and is kept."""
    record = hand_made(timestamp=time)
    assert envelope_of(record).timestamp == TIME_TEXT
    assert on_the_wire(record)["payload"]["context"] == {"otel.timestamp": cleaner().clean(time)}


@pytest.mark.parametrize("observed", [None, 0, -1, "x", 2**200, 1.5])
def test_no_time_at_all(observed: Any) -> None:
    """A record without any usable time is a conversion error that names the field."""
    with pytest.raises(ConversionError) as raised:
        converted(hand_made(timestamp=None, observed_timestamp=observed))
    assert raised.value.field == "timestamp"


def test_times_of_one_second_and_others() -> None:
    """Times are right whichever second the one before them was in."""
    moment = dt.datetime(2024, 2, 29, 23, 59, 58, tzinfo=dt.timezone.utc)
    for step in (0, 1, 1_000_000, 1, -1_000_000, 86_400_000_000, 3):
        moment += dt.timedelta(microseconds=step)
        nanoseconds = int(moment.timestamp()) * 10**9 + moment.microsecond * 1000 + 999
        assert utc_text(nanoseconds) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
