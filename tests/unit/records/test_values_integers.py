"""With the bounds of what JavaScript reads, larger integers are text wherever they are, and all else is as before."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.otel import cleaner_of
from otel_kafka_exporter.records.publications import Publication, PublicationBuilder
from otel_kafka_exporter.records.scalars import EXACT_INTEGERS
from otel_kafka_exporter.records.values import Cleaner
from otel_kafka_exporter.settings import Settings
from tests.records import cleaner, hand_made, kafka_record, on_the_wire, payload_of
from tests.strategies import any_value
from tests.unit.records.test_publications import builder


def exact() -> Cleaner:
    return Cleaner(cleaner().is_sensitive, integers=EXACT_INTEGERS)


class Big(IntEnum):
    """An integer of an application's own type."""

    ID = 2**60


CASES: list[tuple[Any, Any]] = [
    (2**53 - 1, 2**53 - 1),
    (2**53, "9007199254740992"),
    (-(2**53) + 1, -(2**53) + 1),
    (-(2**53), "-9007199254740992"),
    (2**64, "18446744073709551616"),
    (Big.ID, str(2**60)),
    (True, True),
    (7, 7),
    ([1, 2**60, {"id": 2**60}], [1, str(2**60), {"id": str(2**60)}]),
    ({"a": [2**60, 1.5, "x", None]}, {"a": [str(2**60), 1.5, "x", None]}),
]


@pytest.mark.parametrize(("value", "expected"), CASES)
def test_in_a_context_and_in_a_message(value: Any, expected: Any) -> None:
    """An integer that JavaScript would round is text, in a context and in a message that is no text, at every depth."""
    for attributes in ({"value": value}, {"value": value, "omni.code": "C"}):
        assert on_the_wire(hand_made(attributes), exact())["payload"]["context"] == {"value": expected}
    message = payload_of(hand_made(body={"value": value}), exact())["message"]
    assert json.loads(message) == {"value": expected}


def test_a_publishers_context() -> None:
    """The same of what a publisher is given."""
    fields = ("shop", "shop-1", "INFO", "l", "C")
    given_ = Publication("application", fields, "m", None, {"id": 2**60, "n": 1}, None, None, None)
    using: PublicationBuilder = builder(exact())
    assert using.convert(given_).context == {"id": str(2**60), "n": 1}


@given(any_value)
def test_every_reader_reads_the_same(value: Any) -> None:
    """Whatever is logged, no integer in it is one that a reader with floating-point numbers rounds."""
    numbers: list[int] = []

    def integer(text: str) -> int:
        numbers.append(int(text))
        return numbers[-1]

    json.loads(kafka_record(hand_made({"value": value}), exact()).value, parse_int=integer)
    assert all(number == int(float(number)) for number in numbers)


def test_the_setting() -> None:
    """`large_integers=text` asks for it; otherwise integers of 64 bits are numbers, as they were."""
    servers = {"bootstrap_servers": "localhost:9092"}
    as_text = cleaner_of(Settings.load({**servers, "large_integers": "text"}))
    assert as_text.clean(2**60) == str(2**60)
    assert cleaner_of(Settings.load(servers)).clean(2**60) == 2**60
    with pytest.raises(SettingsError, match="number or text"):
        Settings.load({**servers, "large_integers": "maybe"})
