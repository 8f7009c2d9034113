"""What a record's resource and scope say goes into its envelope, also where they are missing or take turns."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.ids import uuid7
from otel_kafka_exporter.records.redaction import REDACTED
from tests.records import cleaner, converted_by, envelope_of, hand_made, now, on_the_wire, payload_of
from tests.strategies import SECRET
from tests.unit.records.texts import Text


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ("shop", "shop"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "unknown_service"),
        ("a\0b", "unknown_service"),
        (" ", "unknown_service"),
        (7, "unknown_service"),
        ("é" * 256, "é" * 256),
    ],
)
def test_service_name(given: Any, source: str) -> None:
    """The source is a service name of at most 256 characters; one that does not count is kept in context."""
    record = hand_made({}, resource=Resource({"service.name": given}))
    envelope = envelope_of(record)
    payload: dict[str, Any] = dict(envelope.payload)
    assert (envelope.source, payload["service_name"]) == (source, source)
    assert on_the_wire(record)["payload"]["context"] == (
        {} if given == source else {"service.name": cleaner().clean(given)}
    )


def test_without_a_resource_or_a_scope() -> None:
    """A record without resource and scope is an envelope too."""
    payload = payload_of(hand_made(None, resource=None, scope=None))
    assert (payload["service_name"], payload["instance_id"], payload["logger"]) == ("unknown_service", "", "")


@pytest.mark.parametrize(
    ("name", "logger", "context"),
    [
        ("a.b", "a.b", {}),
        ("", "", {}),
        ("x" * 256, "", {"otel.scope.name": "x" * 256}),
        (7, "", {"otel.scope.name": 7}),
        (Text("a.b"), "a.b", {}),
    ],
)
def test_logger(name: Any, logger: str, context: dict[str, Any]) -> None:
    """The logger is the scope's name, always text; one that cannot be is kept in context."""
    payload = payload_of(hand_made(scope=InstrumentationScope(name)))
    assert (payload["logger"], payload["context"]) == (logger, context)


@pytest.mark.parametrize(
    ("given", "instance"),
    [({}, "own"), ({"service.instance.id": "shop-1"}, "shop-1"), ({"service.instance.id": " "}, "own")],
)
def test_instance_id(given: dict[str, Any], instance: str) -> None:
    """The instance is the resource's, or the exporter's own where a resource does not say."""
    record = hand_made(resource=Resource(given))
    assert payload_of(record, instance_id="own")["instance_id"] == instance


def test_resource_context() -> None:
    """Resource attributes that the setting names are copied, redacted; a record's own attribute goes before them."""
    resource = Resource(
        {"service.name": "shop", "k8s.pod.name": "p", "region": "eu", "db.password": SECRET, "other": 1}
    )
    names = ("k8s.pod.name", "region", "db.password", "missing", "service.name")
    context = payload_of(hand_made({"region": "us"}, resource=resource), resource_context=names)["context"]
    assert context == {"k8s.pod.name": "p", "region": "us", "db.password": REDACTED, "service.name": "shop"}
    assert payload_of(hand_made({}, resource=resource))["context"] == {}


def test_resources_in_turns() -> None:
    """Each record has its own resource's names, also when two resources take turns in one converter."""
    converter = Converter(cleaner(), uuid7, now)
    first, second = Resource({"service.name": "a"}), Resource({"service.name": "b"})
    found = [
        converted_by(converter, hand_made(resource=resource)).envelope.source for resource in (first, second, first)
    ]
    assert found == ["a", "b", "a"]
