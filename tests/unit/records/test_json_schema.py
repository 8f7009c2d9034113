"""The JSON Schema of the envelope says what is written, and refuses what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.records import envelope_pb2
from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.encoding import encode_json
from otel_kafka_exporter.records.envelope import PAYLOAD_KEYS, OnexEnvelopeV1
from otel_kafka_exporter.records.ids import uuid7
from tests.records import cleaner, now
from tests.strategies import QUICK, any_value, records
from tests.unit.records.envelopes import ENVELOPES

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs" / "schema" / "onex-envelope-v1.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)
CONVERTER = Converter(cleaner(), uuid7, now)


def test_it_is_a_schema() -> None:
    """It keeps the rules of JSON Schema 2020-12 itself."""
    Draft202012Validator.check_schema(SCHEMA)


@QUICK
@given(records(any_value))
def test_whatever_is_written_is_valid(record: Any) -> None:
    """Every envelope that a log record becomes keeps the schema."""
    try:
        envelope = CONVERTER.convert(record).envelope
    except ConversionError:
        return
    VALIDATOR.validate(json.loads(encode_json(envelope)))


@pytest.mark.parametrize("category", ENVELOPES)
def test_what_is_no_envelope_is_not(category: Any) -> None:
    """Each key and each field of the payload has to be there, and of its type."""
    document = json.loads(encode_json(ENVELOPES[category]))
    VALIDATOR.validate({**document, "of_a_newer_writer": 1})
    for name in document:
        assert not VALIDATOR.is_valid({key: value for key, value in document.items() if key != name})
        assert not VALIDATOR.is_valid({**document, name: 7})
    for name, value in document["payload"].items():
        payload = {key: each for key, each in document["payload"].items() if key != name}
        assert not VALIDATOR.is_valid({**document, "payload": payload})
        assert not VALIDATOR.is_valid({**document, "payload": {**payload, name: 7}})
        if name in ("level", "outcome", "decision"):
            assert not VALIDATOR.is_valid({**document, "payload": {**payload, name: f"{value}x"}})


def test_all_descriptions_of_the_envelope_have_the_same_fields() -> None:
    """The JSON Schema, the proto and the code name the same fields, in the same order."""
    proto = envelope_pb2.DESCRIPTOR.message_types_by_name
    assert tuple(SCHEMA["properties"]) == OnexEnvelopeV1._fields
    plain = [field.name for field in proto["Envelope"].fields if field.containing_oneof is None]
    assert plain == list(OnexEnvelopeV1._fields[:-1])
    for category, keys in PAYLOAD_KEYS.items():
        assert tuple(SCHEMA["$defs"][category]["properties"]) == keys
        assert tuple(SCHEMA["$defs"][category]["required"]) == keys
        assert tuple(field.name for field in proto[f"{category.title()}Payload"].fields) == keys
