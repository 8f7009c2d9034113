"""What is found out for many values at once is what each of them by itself would have become."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.records import values
from otel_kafka_exporter.records.redaction import REDACTED
from otel_kafka_exporter.records.values import TOO_MANY, Cleaner
from tests.records import cleaner
from tests.strategies import QUICK, SECRET, any_key, any_text, any_value, json_value, value_with_secrets
from tests.unit.records.plain_walk import PlainWalk
from tests.unit.records.texts import LoudText, Text

#: Cleaners of more than one value, as in life: what one has learnt must not harm the next.
CLEANER = cleaner()
NODES = 250_000

_kinds = (
    *(any_text, st.text("ab\0\ud800é", max_size=3), st.integers(), st.floats(), st.booleans(), st.none()),
    *(st.sampled_from([2**64 - 1, 2**64, -(2**63), -(2**63) - 1]), st.just("x" * 64), st.binary(max_size=3)),
    st.sampled_from(["a://b", "a://b:c@d", "token", b"token", Text("a://b@c"), "://", "@"]),
)
_scalar = st.one_of(*_kinds)
_alike = st.one_of(*(st.lists(kind, max_size=9) for kind in _kinds), st.lists(_scalar, max_size=9))
_names = st.one_of(
    any_key,
    st.sampled_from(
        [
            "a",
            "b",
            "token",
            "é",
            "a\0",
            "x" * 64,
            "n" * 200,
            "1",
            "name",
            "value",
            "key",
            "a://b@c",
            Text("a"),
            LoudText("password"),
        ]
    ),
)
#: What is quick is what has no odd value in it; what is odd comes one at a time.
structure = st.recursive(
    st.one_of(_alike, _scalar),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(_names, inner, max_size=5)
    ),
    max_leaves=8,
)


def same(value: Any, nodes: int = NODES, using: Cleaner = CLEANER) -> None:
    """A value in the middle of a context, and by itself, twice, so that the names in it are known the second time."""
    for _ in range(2):
        assert repr(using.clean(value)) == repr(PlainWalk(nodes).value(value, 1))
        assert repr(using.clean_mapping({"k": value})) == repr(PlainWalk(nodes).value({"k": value}, 0))


@QUICK
@given(st.one_of(structure, json_value, any_value, value_with_secrets))
def test_any_value(value: Any) -> None:
    """Whatever a value is made of, it becomes what its parts become."""
    same(value)


@pytest.mark.parametrize("nodes", [1, 2, 3, 5, 8, 13, 21, 40])
@QUICK
@given(value=structure)
def test_the_budget_ends_at_the_same_place(nodes: int, value: Any) -> None:
    """A value that is too large ends in a marker exactly where one that is counted part by part would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "MAX_NODES", nodes)
        same(value, nodes)


@pytest.mark.parametrize("nodes", range(1, 14))
def test_long_names_and_texts_take_more_of_the_budget(nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name or a text of many characters costs as much when it is known as when it is new."""
    monkeypatch.setattr(values, "MAX_NODES", nodes)
    same({"n" * 200: 1, "b": 2, "m" * 64: 3}, nodes)
    same(["x" * 63, "y" * 200, "z"], nodes)


@pytest.mark.parametrize("wrap", [list, tuple, lambda row: dict(zip("abcdefghij", row, strict=False))])
def test_one_odd_value_among_many(wrap: Any) -> None:
    """One value that has to change is changed at every place among others that do not."""
    for odd in ("\0", "\ud800", 2**64, float("nan"), float("-inf"), b"x", {"token": SECRET}, Text("\0"), [2**64]):
        for at in range(9):
            for usual in (1, "a", 1.5, None):
                row: list[Any] = [usual] * 9
                row[at] = odd
                same(wrap(row))


@pytest.mark.parametrize("more", [2, 1, 0, -1])
def test_every_depth(more: int) -> None:
    """Containers of nothing but texts and numbers, empty ones too, end where others do."""
    for innermost in ([], {}, [1], {"a": 1}, (), ("a",)):
        value: Any = innermost
        for number in range(values.MAX_DEPTH - more):
            value = [value] if number % 2 else {"a": value}
        same(value)


def test_what_is_cleaned_is_ones_own() -> None:
    """An application may change its containers while the record is on its way: nothing of them is in the result."""
    given: dict[str, Any] = {"list": [1, 2], "texts": ["a"], "rows": [{"a": 1}], "nested": {"b": [1.5]}, "none": []}
    cleaned = CLEANER.clean_mapping(given)
    before = repr(cleaned)
    given["list"].append({"token": SECRET})
    given["texts"].clear()
    given["rows"][0]["token"] = SECRET
    given["nested"]["b"].append(SECRET)
    given["none"].append(SECRET)
    assert repr(cleaned) == before


def test_a_name_that_is_known_from_elsewhere() -> None:
    """A name that was harmless is still told from one that is equal to it, and from one that it collides with."""
    using = cleaner()
    using.clean([{"a": 1, "1": 2}] * 2)
    assert using.clean({1: "x", "1": "y"}) == {"1": "x", "1_": "y"}
    assert using.clean({Text("a"): 1}) == {"a": 1}
    assert {*map(type, using.clean({Text("a"): 1}))} == {str}
    assert using.clean([{"a": 1, "a.token": SECRET}]) == [{"a": 1, "a.token": REDACTED}]


def test_names_are_remembered_in_bounds() -> None:
    """Ever new names of members leave no more than a few thousand behind."""
    using = cleaner()
    for number in range(10_000):
        using.clean({f"name{number}": 1})
    assert 0 < len(using.harmless) <= 4096


def test_what_raises_has_been_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of a mapping before it raises counts, so that a thousand of them still end at the budget."""
    monkeypatch.setattr(values, "MAX_NODES", 1000)

    class Raises(dict[str, int]):
        def items(self) -> Any:
            for number in range(100):
                yield f"{number}", number
            raise ValueError

    cleaned = cleaner().clean([Raises() for _ in range(1000)])
    assert len(cleaned) < 20
    assert cleaned[-1] == TOO_MANY
