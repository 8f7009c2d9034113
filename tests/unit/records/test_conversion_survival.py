"""Whatever a record holds, it becomes an envelope that JSON can carry, or one conversion error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import pytest

from otel_kafka_exporter.errors import ConversionError
from tests.records import AUDIT, cleaner, converted, envelope_of, hand_made, on_the_wire, sdk_record


@pytest.mark.parametrize(
    "attributes",
    [
        {"a\ud800": 1} | {"a\ud801": 2},
        {"a\0": 1, "a\ufffd": 2},
        {1: 1, "1": 2},
        {b"a": 1, "a": 2},
        {"a": {"b\ud800": 1, "b\0": 2}},
    ],
    ids=ascii,
)
def test_no_attribute_is_lost_to_another(attributes: dict[Any, Any]) -> None:
    """Two attributes whose names become the same text are both on the wire."""
    wire = on_the_wire(hand_made(attributes))["payload"]["context"]
    wire = wire.get("a", wire) if isinstance(wire.get("a"), dict) else wire
    assert sorted(wire.values()) == [1, 2]


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": 2**200, "b": float("nan"), "c": "\0\ud800", "d": b"\0", "e": float("inf")},
        {"a": (2**200, float("nan"), "\0\ud800", b"\0"), "e": None},
        {"k\0\ud800": "v"},
    ],
    ids=ascii,
)
def test_values_of_the_sdk_that_json_cannot_carry(attributes: dict[str, Any]) -> None:
    """What the SDK lets through (1.45 more than 1.44) and JSON cannot carry becomes what the contract says."""
    record = sdk_record(body="\0\ud800", attributes=attributes)
    wire = on_the_wire(record)
    assert wire["payload"]["message"] == "\ufffd\ufffd"
    assert wire["payload"]["context"] == cleaner().clean(dict(record.log_record.attributes or {}))


class NotAMapping:
    """Attributes as no SDK has them."""


class RudeMapping(Mapping[str, Any]):
    """Attributes that cannot be read."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __getitem__(self, key: str) -> NoReturn:
        raise self._error

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise self._error


@pytest.mark.parametrize(
    "record",
    [
        hand_made(NotAMapping()),
        hand_made(RudeMapping(ValueError)),
        hand_made(RudeMapping(RecursionError)),
        hand_made("text"),
        hand_made(resource=NotAMapping()),
        None,
        "record",
    ],
    ids=["no mapping", "rude", "recursion", "text", "no resource", "None", "no record"],
)
def test_what_is_no_record(record: Any) -> None:
    """What no SDK makes is one conversion error, and nothing else."""
    with pytest.raises(ConversionError) as raised:
        converted(record)
    assert raised.value.field == "record"


class ExitingInt(int):
    def __str__(self) -> str:
        raise SystemExit(3)


class ExitingText(str):
    __slots__ = ()

    def strip(self, *_: object) -> NoReturn:
        raise SystemExit(3)

    def __eq__(self, _: object) -> NoReturn:
        raise SystemExit(3)

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({**AUDIT, "omni.audit.actor": ExitingInt(7)}, id="an integer as actor"),
        pytest.param({**AUDIT, "omni.audit.actor": ExitingText("ann")}, id="a text as actor"),
        pytest.param({**AUDIT, "omni.audit.outcome": ExitingText("success")}, id="an outcome"),
        pytest.param({**AUDIT, "omni.category": ExitingText("audit")}, id="a category"),
        pytest.param({**AUDIT, "omni.correlation_id": ExitingText("x")}, id="an ID"),
        pytest.param({**AUDIT, "more": ExitingInt(7)}, id="in context"),
    ],
)
def test_sys_exit_costs_one_record_at_most(attributes: dict[str, Any]) -> None:
    """A value that calls sys.exit() gives an envelope or a conversion error: it cannot end the export thread."""
    record = sdk_record(event_name="omni.audit", attributes=attributes)
    try:
        assert envelope_of(record).payload
    except ConversionError as error:
        assert error.field  # noqa: PT017 - either outcome keeps the promise


@pytest.mark.parametrize(
    "field", ["severity_number", "severity_text", "timestamp", "event_name", "body", "trace_flags"]
)
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_rude_fields(field: str, error: type[BaseException]) -> None:
    """A field that raises, whatever is asked of it, costs one record at most."""

    def rude(*_: object) -> NoReturn:
        raise error

    methods = dict.fromkeys(("__str__", "__repr__", "__hash__", "__eq__", "__bool__", "__getattr__", "__len__"), rude)
    try:
        assert envelope_of(hand_made(**{field: type("Rude", (), dict(methods))()})).payload
    except ConversionError as raised:
        assert raised.field  # noqa: PT017 - either outcome keeps the promise
