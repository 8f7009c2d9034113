"""No sensitive value comes through, at whatever depth and in whatever object it is."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, NoReturn

import orjson
import pytest
from hypothesis import given

from otel_kafka_exporter.records.redaction import REDACTED
from otel_kafka_exporter.records.secret_texts import redact_patterns
from tests.records import cleaner
from tests.strategies import QUICK, SECRET, Login, value_with_secrets
from tests.unit.records.texts import LoudText


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


@QUICK
@given(value_with_secrets)
def test_no_secret_comes_through(value: object) -> None:
    """No value of a sensitive key is in what comes out, wherever it was."""
    assert SECRET not in orjson.dumps(cleaner().clean(value)).decode()
    assert SECRET not in orjson.dumps(cleaner().clean_mapping({"a": value})).decode()
    assert base64.b64encode(SECRET.encode()) not in orjson.dumps(cleaner().clean(value))


@pytest.mark.parametrize(
    "value",
    [
        [["authorization", SECRET]],
        [("x-a", "1"), ("Authorization", SECRET)],
        ((b"authorization", SECRET.encode()), (b"accept", b"*/*")),
        {"headers": [[b"set-cookie", SECRET.encode()]]},
        [[["x-api-key", SECRET]]],
        {"authorization": SECRET}.items(),
        [{"name": "DB_PASSWORD", "value": SECRET}],
        {"env": [{"value": {"deep": SECRET}, "key": "dbPassword"}]},
        [["password", [SECRET]]],
    ],
)
def test_pairs(value: Any) -> None:
    """A pair in a list hides by its first element, as a mapping does by its key, also where it is made of bytes."""
    shown = orjson.dumps(cleaner().clean_mapping({"k": value})).decode()
    assert REDACTED in shown
    assert SECRET not in shown
    assert base64.b64encode(SECRET.encode()).decode() not in shown


@pytest.mark.parametrize(
    "value",
    [
        [["user", "bob"]],
        ["password", "email"],
        [["password", "email", "user"]],
        [{"name": "replicas", "value": "3"}],
        [["session_id", "x"]],
    ],
)
def test_what_is_no_pair_of_a_secret(value: Any) -> None:
    """Lists of names, lists of more than two, and pairs of other keys stay as they are."""
    assert cleaner().clean_mapping({"k": value}) == {"k": value}


@pytest.mark.parametrize(
    "value",
    [
        f"postgresql://svc:{SECRET}@db/shop",
        ["a", f"https://{SECRET}@h"],
        {"deep": [{"url": f"https://u:{SECRET}@h"}]},
        {f"https://u:{SECRET}@h": 1},
        [{f"https://u:{SECRET}@h"}],
        ValueError(f"cannot reach redis://:{SECRET}@cache"),
        LoudText(f"https://u:{SECRET}@h"),
    ],
)
def test_userinfo_in_any_text(value: Any) -> None:
    """The userinfo of a URL is hidden in every text and every key, at every depth, without a setting."""
    for _ in range(2):
        shown = orjson.dumps(cleaner().clean_mapping({"k": value})).decode()
        assert f"{REDACTED}@" in shown
        assert SECRET not in shown
