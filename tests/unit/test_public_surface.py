"""What the package offers: its names, its exceptions, its types."""

from __future__ import annotations

import inspect
import re
import types
from importlib import resources
from pathlib import Path

import pytest

import otel_kafka_exporter
from otel_kafka_exporter import errors
from scripts.public_surface import surface

PUBLIC = [
    *("ConversionError", "DecodeError", "DeliveryStats", "KafkaLogExporter", "OnexEnvelopeV1", "OtelKafkaError"),
    *("DeliveryOutcome", "Outcome", "SettingsError", "decode", "emit_audit_event", "emit_security_event"),
]


def test_the_surface_is_the_committed_one() -> None:
    """No name, signature, setting's default or entry point changes without a change of the committed text."""
    committed = Path(__file__).with_name("public_surface.txt").read_text(encoding="utf-8")
    assert surface().splitlines() == committed.splitlines(), "see what changed; if it is meant: make surface"


def test_all_is_sorted() -> None:
    """`__all__` is sorted, so that a change of it is easy to read, and has no name twice."""
    names = otel_kafka_exporter.__all__
    assert names == sorted(set(names))


def test_all_is_complete() -> None:
    """What can be imported from the package without an underscore is in `__all__`, and the other way round."""
    found = {
        name
        for name, value in vars(otel_kafka_exporter).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert found | {"__version__"} == set(otel_kafka_exporter.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_promised_names(name: str) -> None:
    """The names that users rely on are there, and say of themselves what they are."""
    assert name in otel_kafka_exporter.__all__
    assert inspect.getdoc(getattr(otel_kafka_exporter, name))


def test_every_exception_is_public() -> None:
    """Whoever can get an exception of ours can name it, and all of them are caught by one name."""
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert found <= set(otel_kafka_exporter.__all__)
    for name in found:
        error = getattr(otel_kafka_exporter, name)
        assert issubclass(error, otel_kafka_exporter.OtelKafkaError)
        assert (
            error is otel_kafka_exporter.OtelKafkaError
            or issubclass(error, (ValueError, otel_kafka_exporter.DeliveryError, TimeoutError))
            or name in {"OutboxError", "NoPipelineError"}
        )


def test_the_tree_of_exceptions_is_drawn_as_it_is() -> None:
    """The drawing of the exceptions shows each of them."""
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert set(re.findall(r"\b\w+(?:Error|Timeout)\b", errors.__doc__ or "")) - {"ValueError", "TimeoutError"} == found


def test_version() -> None:
    """The version is one that package indexes accept."""
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", otel_kafka_exporter.__version__)


def test_the_package_is_typed() -> None:
    """Type checkers are told to use the package's own annotations."""
    assert resources.files(otel_kafka_exporter).joinpath("py.typed").is_file()


def test_the_exporter_takes_names_only() -> None:
    """Settings are given to the exporter by name."""
    parameters = inspect.signature(otel_kafka_exporter.KafkaLogExporter).parameters.values()
    assert {parameter.kind for parameter in parameters} <= {
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    }


def test_envelope() -> None:
    """An envelope has the ten keys in their order, cannot be changed, and can be compared."""
    assert otel_kafka_exporter.OnexEnvelopeV1._fields == (
        *("event_type", "event_id", "timestamp", "tenant_id", "namespace", "source", "correlation_id"),
        *("causation_id", "schema_ref", "payload"),
    )
    envelope = otel_kafka_exporter.OnexEnvelopeV1._make([*"abcdefghi", {}])
    with pytest.raises(AttributeError):
        envelope.event_id = "x"  # type: ignore[misc]  # that it fails is the promise
    assert envelope == envelope._replace()
    assert envelope != envelope._replace(event_id="x")


def test_stats() -> None:
    """Stats have a count for each state that a record can be in."""
    assert otel_kafka_exporter.DeliveryStats._fields == (
        *("accepted", "delivered", "spooled", "dead_lettered", "in_flight", "dropped", "truncated"),
    )
    assert {outcome.value for outcome in otel_kafka_exporter.DeliveryOutcome} == {
        "delivered",
        "spooled",
        "dead_lettered",
        "dropped",
    }
