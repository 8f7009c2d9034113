"""However deep, wide, endless or shared a value is, it ends in a marker, soon."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest

from otel_kafka_exporter.records import values
from otel_kafka_exporter.records.values import CIRCULAR, MAX_DEPTH, TOO_DEEP, TOO_MANY
from tests.records import cleaner
from tests.strategies import SECRET, Pair


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
