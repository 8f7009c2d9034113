"""Any Python value as one that JSON can carry, redacted."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import math
import signal
import sys
import time
import types
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import orjson
import pytest
from hypothesis import given

from otel_kafka_exporter.records import values
from otel_kafka_exporter.records.redaction import REDACTED, redact_patterns
from otel_kafka_exporter.records.values import CIRCULAR, MAX_DEPTH, TOO_DEEP, TOO_MANY, Cleaner, clean_text, text_of
from tests.records import cleaner, strict_json
from tests.strategies import QUICK, SECRET, Login, Pair, Rude, any_value, value_with_secrets


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):
    ONE = "one"


class Number(enum.IntEnum):
    TWO = 2


class LoudText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "loud"


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
        (memoryview(b"abc"), "YWJj"),
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


class Alike:
    """An object that is another key than its twins and has the same text."""

    def __str__(self) -> str:
        return "alike"


def test_keys_of_the_same_text_take_linear_time() -> None:
    """Thousands of keys that become the same text cost no more than thousands of others."""
    mapping = {Alike(): number for number in range(5000)}
    started = time.perf_counter()
    cleaned = cleaner().clean(mapping)
    assert time.perf_counter() - started < 1
    assert sorted(cleaned.values()) == list(range(5000))


def nested(depth: int, innermost: object, wrap: Any = lambda value: [value]) -> Any:
    value = innermost
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap",
    [lambda value: [value], lambda value: {"a": value}, lambda value: (value,), lambda value: Pair("x", value)],
    ids=["lists", "mappings", "tuples", "named tuples"],
)
def test_depth(wrap: Any) -> None:
    """Ten levels are kept below a context, whatever they are made of, and what lies deeper is a marker."""

    def said(value: object) -> str:
        return orjson.dumps(value).decode()

    assert said(cleaner().clean_mapping({"k": nested(MAX_DEPTH, "leaf", wrap)})).count("leaf") == 1
    deeper = cleaner().clean_mapping({"k": nested(MAX_DEPTH + 1, "leaf", wrap)})
    assert said(deeper) == said(cleaner().clean_mapping({"k": nested(MAX_DEPTH, TOO_DEEP, wrap)}))
    assert said(cleaner().clean(nested(MAX_DEPTH, "leaf", wrap))).count("leaf") == 1
    assert "leaf" not in said(cleaner().clean(nested(MAX_DEPTH + 1, "leaf", wrap)))


def test_ten_thousand_deep() -> None:
    """A value nested ten thousand deep is cut, and no recursion limit is hit."""
    for wrap in (lambda value: [value], lambda value: {"a": value}):
        assert TOO_DEEP in str(cleaner().clean(nested(10_000, SECRET, wrap)))


def test_cycles() -> None:
    """A value that contains itself has a marker there; one that is merely used twice does not."""
    cyclic: list[Any] = [1]
    cyclic.append({"again": cyclic})
    assert cleaner().clean(cyclic) == [1, {"again": CIRCULAR}]
    twice = [1]
    assert cleaner().clean([twice, twice]) == [[1], [1]]


@pytest.mark.parametrize("width", [2, 3, 30])
def test_exponential_sharing(width: int) -> None:
    """A small value that shares its parts ends in a marker instead of unfolding for ever."""
    value: Any = "leaf"
    for _ in range(200):
        value = [value] * width
    started = time.perf_counter()
    text = str(cleaner().clean(value))
    assert TOO_DEEP in text or TOO_MANY in text
    assert time.perf_counter() - started < 2


class Wordy:
    """Something with a long text."""

    def __str__(self) -> str:
        return "x" * 10_000


@pytest.mark.parametrize(
    "part",
    ["x" * 10_000, b"x" * 10_000, {"x" * 10_000: 1}, 2**40_000, Wordy(), {Wordy(): 1}, memoryview(b"x" * 10_000)],
    ids=["text", "bytes", "key", "integer", "str()", "str() of a key", "memoryview"],
)
def test_shared_large_parts_do_not_unfold(part: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is one of characters too: a large part that a list has a thousand times does not unfold."""
    monkeypatch.setattr(values, "MAX_NODES", 10_000)
    cleaned = cleaner().clean([part] * 1000)
    assert len(orjson.dumps(cleaned)) < 2_000_000
    assert cleaned[-1] == TOO_MANY


def test_budget_counts_redacted_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless mapping ends at the budget, even if all its values are redacted."""
    monkeypatch.setattr(values, "MAX_NODES", 100)
    read = 0

    class Endless(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            return 1

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[str]:
            nonlocal read
            for read in range(1000):
                yield f"{read}.password"

    cleaner().clean(Endless())
    assert read < 999


def test_endless_sequences_end() -> None:
    """A sequence that is longer than any record is cut with a marker."""
    cleaned = cleaner().clean(range(10**12))
    assert cleaned[:2] == [0, 1]
    assert cleaned[-1] == TOO_MANY


class Falsy(list[int]):
    def __bool__(self) -> bool:
        return False


def test_sequences_that_are_false() -> None:
    """A sequence's elements are kept whatever its truth value is."""
    assert cleaner().clean(Falsy([1, 2])) == [1, 2]


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("method", ["__str__", "__repr__", "__class__", "__iter__", "__len__", "__getattr__", "items"])
def test_rude_values(method: str, error: type[BaseException]) -> None:
    """A value that raises, whatever it raises and wherever, costs only itself."""

    def rude(*_: object) -> NoReturn:
        raise error

    body: dict[str, Any] = {method: property(rude) if method == "__class__" else rude}
    for base in (object, dict, list, str, int, float, Sequence, Mapping):
        if base in (Sequence, Mapping):
            body = dict.fromkeys(("__getitem__", "__len__", "__iter__"), rude) | body
        value = type("Rude", (base,), dict(body))()
        cleaned = cleaner().clean({"rude": value, "polite": 1})
        assert cleaned["polite"] == 1
        strict_json(orjson.dumps(cleaned))
        assert cleaner().clean_mapping({"rude": [value]}).keys() == {"rude"}


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_unprintable_names_its_type(error: type[BaseException]) -> None:
    """The marker of a value that cannot say what it is names its type."""
    assert text_of(Rude(error)) == "[UNPRINTABLE Rude]"
    assert cleaner().clean({Rude(error): Rude(error)}) == {"[UNPRINTABLE Rude]": "[UNPRINTABLE Rude]"}


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_types_without_a_name(error: type[BaseException]) -> None:
    """A value that can neither be printed nor named costs only itself."""

    def rude(*_: object) -> NoReturn:
        raise error

    meta = type("Meta", (type,), {"__name__": property(rude)})
    value = meta("Nameless", (), {"__str__": rude})()
    assert cleaner().clean([value, 1])[1] == 1


def test_control_c_is_not_swallowed() -> None:
    """Ctrl-C in the middle of a conversion stops the program."""
    with pytest.raises(KeyboardInterrupt):
        cleaner().clean([Rude(KeyboardInterrupt)])


class Terminated:
    """A value in whose text a SIGTERM arrives, as it may at any moment."""

    def __str__(self) -> str:
        signal.raise_signal(signal.SIGTERM)
        return "terminated"


def on_sigterm(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


@pytest.mark.parametrize(
    "handler", [on_sigterm, lambda *_: sys.exit(143), functools.partial(on_sigterm)], ids=["two", "any", "partial"]
)
@pytest.mark.parametrize("read", [text_of, cleaner().clean], ids=["text", "value"])
def test_a_signal_handler_ends_the_program(read: Callable[[object], object], handler: Callable[..., None]) -> None:
    """What a signal handler raises in the middle of a conversion to end the program is not taken for the value's."""
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit) as raised:
            read(Terminated())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert raised.value.code == 143


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_outermost_mapping_may_be_rude(error: type[BaseException]) -> None:
    """A context that raises when it is read is survived too."""

    class Bad(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            raise error

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[str]:
            yield "a"

    assert isinstance(cleaner().clean_mapping(Bad()), dict)


class Growing:
    """A key that changes the mapping that it is in while it is read, as another thread may at any time."""

    def __init__(self, mapping: dict[Any, Any]) -> None:
        self._mapping = mapping

    def __str__(self) -> str:
        self._mapping[len(self._mapping)] = 1
        return "growing"


def mapping_that_changes() -> Any:
    mapping: dict[Any, Any] = {"password": SECRET}
    mapping[Growing(mapping)] = 1
    mapping["token"] = SECRET
    return mapping


class NoItems(dict[str, str]):
    def items(self) -> NoReturn:
        raise RuntimeError


class NoIteration(list[dict[str, str]]):
    def __iter__(self) -> NoReturn:
        raise RuntimeError


@dataclasses.dataclass
class Lazy:
    """Like a row whose relation can no longer be loaded."""

    password: str
    relation: int = dataclasses.field(default=0, repr=False)

    def __getattribute__(self, name: str) -> Any:
        if name == "relation":
            raise RuntimeError("detached")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(mapping_that_changes(), id="a dict that changes meanwhile"),
        pytest.param(NoItems(password=SECRET), id="a dict without items"),
        pytest.param(NoIteration([{"password": SECRET}]), id="a list that cannot be read"),
        pytest.param({"a": [NoItems(password=SECRET)]}, id="further down"),
        pytest.param({"users": {1: {"password": SECRET}}.values()}, id="the values of a dict"),
        pytest.param(Lazy(SECRET), id="a dataclass with a field that raises"),
    ],
)
def test_secrets_in_what_cannot_be_walked(value: Any) -> None:
    """What cannot be taken apart does not show by its `str()` what its parts would have hidden."""
    assert SECRET not in str(cleaner().clean(value))


@pytest.mark.parametrize(
    "secret", [SECRET, [SECRET], {"a": SECRET}, ({SECRET},), SECRET.encode(), Login(SECRET, 1), None, 7, [], {}]
)
def test_redaction_at_every_depth(secret: Any) -> None:
    """The value of a sensitive key is hidden whole, of whatever type, in mappings, lists, tuples and lists in lists."""
    inside = {"user": "ann", "password": secret}
    hidden = {"user": "ann", "password": REDACTED}
    given = {"password": secret, "a": inside, "b": [inside, (inside, [[inside]])], "c": {"d": {"apiKey": secret}}}
    expected = {
        "password": REDACTED,
        "a": hidden,
        "b": [hidden, [hidden, [[hidden]]]],
        "c": {"d": {"apiKey": REDACTED}},
    }
    assert cleaner().clean(given) == expected
    assert cleaner().clean_mapping(given) == expected


def test_text_filter() -> None:
    """The pattern pass goes over every text value, at every depth and from every kind of object, and not over keys."""
    key = "AKIAIOSFODNN7EXAMPLE"
    filtering = cleaner(text_filter=redact_patterns)
    given = {key: key, "a": [key, (key,), {"b": f"x {key}"}], "error": ValueError(key), "word": LoudText(key)}
    expected = {key: REDACTED, "a": [REDACTED, [REDACTED], {"b": "x [REDACTED]"}], "error": REDACTED, "word": REDACTED}
    assert filtering.clean(given) == expected
    assert filtering.text(key) == REDACTED
    assert str in cleaner().unchanged
    assert str not in filtering.unchanged


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


@QUICK
@given(value_with_secrets)
def test_no_secret_comes_through(value: object) -> None:
    """No value of a sensitive key is in what comes out, wherever it was."""
    assert SECRET not in orjson.dumps(cleaner().clean(value)).decode()
    assert SECRET not in orjson.dumps(cleaner().clean_mapping({"a": value})).decode()
    assert base64.b64encode(SECRET.encode()) not in orjson.dumps(cleaner().clean(value))


@pytest.mark.parametrize("text", ["", "a", "é\U0001f600", "\ufffd", "\x01\x7f\x80"])
def test_clean_text_leaves_the_rest(text: str) -> None:
    """Text without NUL and lone surrogates stays as it is."""
    assert clean_text(text) == text
