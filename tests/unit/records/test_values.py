"""Any Python value becomes one that JSON can carry."""

from __future__ import annotations

import base64
import collections
import datetime as dt
import decimal
import enum
import math
import types
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given

from otel_kafka_exporter.records.redaction import REDACTED
from otel_kafka_exporter.records.values import Cleaner
from tests.records import cleaner, strict_json
from tests.strategies import QUICK, SECRET, Login, Pair, any_value
from tests.unit.records.texts import LoudText


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):
    ONE = "one"


class Number(enum.IntEnum):
    TWO = 2


class LoudInt(int):
    def __str__(self) -> str:
        return "loud"


class LoudFloat(float):
    def __str__(self) -> str:
        return "loud"

    def __float__(self) -> float:
        return 0.0


MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (False, False),
        (0, 0),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        (2**200, str(2**200)),
        (1.5, 1.5),
        (-0.0, -0.0),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        ("text", "text"),
        ("", ""),
        ("a\0b", "a\ufffdb"),
        ("a\ud800b\udfff", "a\ufffdb\ufffd"),
        ("\U0001f600", "\U0001f600"),
        (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        (b"", ""),
        (bytearray(b"abc"), "YWJj"),
        pytest.param(memoryview(b"abc"), "YWJj", id="memoryview"),
        ([], []),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({1}, [1]),
        (frozenset({"a"}), ["a"]),
        (range(3), [0, 1, 2]),
        (collections.deque([1, 2]), [1, 2]),
        (collections.UserList([1]), [1]),
        ({}, {}),
        ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        (collections.UserDict({"a": 1}), {"a": 1}),
        (Login("ann", "x"), {"user": "ann", "password": REDACTED}),
        (Pair("x", 1), {"token": REDACTED, "other": 1}),
        (Login, str(Login)),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (decimal.Decimal("1.50"), "1.50"),
        (MOMENT, "2024-01-02 03:04:05+00:00"),
        (Colour.RED, "Colour.RED"),
        (Word.ONE, "one"),
        (Number.TWO, 2),
        (LoudText("quiet"), "quiet"),
        (LoudInt(7), 7),
        (LoudFloat(1.5), 1.5),
        (ValueError("no"), "no"),
        (1j, "1j"),
    ],
    ids=repr,
)
def test_conversions(value: object, expected: object) -> None:
    """Each kind of value becomes what the contract says, of exactly JSON's types."""
    cleaned = cleaner().clean(value)
    assert cleaned == expected
    assert type(cleaned) is type(expected)


def test_integer_of_ten_thousand_digits() -> None:
    """An integer that Python refuses to write in decimal becomes text that still says its value."""
    text = cleaner().clean(10**10_000)
    assert isinstance(text, str)
    assert int(text, 16) == 10**10_000


def test_bytes_that_are_not_contiguous() -> None:
    """A view of every second byte is bytes too, and becomes their base64."""
    assert cleaner().clean(memoryview(b"abcdef")[::2]) == base64.b64encode(b"ace").decode()


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({1: "a", "1": "b"}, {"1": "a", "1_": "b"}),
        ({True: 1, None: 2, 2.5: 3}, {"True": 1, "None": 2, "2.5": 3}),
        ({b"a": 1, "a": 2}, {"a": 1, "a_": 2}),
        ({b"\xff": 1}, {"\ufffd": 1}),
        ({"\ud800": 1} | {"\ud801": 2} | {"\0": 3}, {"\ufffd": 1, "\ufffd_": 2, "\ufffd-": 3}),
        ({b"password": 1, "password": 2}, {"password": REDACTED, "password_": REDACTED}),
        ({("token",): 1}, {"('token',)": REDACTED}),
        ({LoudText("password"): 1}, {"password": REDACTED}),
    ],
    ids=repr,
)
def test_keys(mapping: dict[Any, Any], expected: dict[str, Any]) -> None:
    """Keys that are not text become text, none is lost to another, and what is sensitive stays so."""
    assert cleaner().clean(mapping) == expected
    assert cleaner().clean_mapping(mapping) == expected


class Falsy(list[int]):
    def __bool__(self) -> bool:
        return False


def test_sequences_that_are_false() -> None:
    """A sequence's elements are kept whatever its truth value is."""
    assert cleaner().clean(Falsy([1, 2])) == [1, 2]


def test_values_given_are_not_changed() -> None:
    """What the application still holds stays as it was."""
    given = {"password": SECRET, "a": [{"token": SECRET}]}
    cleaner().clean(given)
    cleaner().clean_mapping(given)
    assert given == {"password": SECRET, "a": [{"token": SECRET}]}


@QUICK
@given(any_value)
def test_any_value(value: object) -> None:
    """Whatever comes in, strict JSON comes out, and cleaning that again changes nothing."""
    cleaned = Cleaner(lambda _: False).clean(value)
    assert strict_json(orjson.dumps(cleaned)) == cleaned
    assert Cleaner(lambda _: False).clean(cleaned) == cleaned
