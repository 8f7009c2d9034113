"""What is written of a statement and its gaps is, byte for byte, what the envelope as an object would be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.records.conversion import Converter
from otel_kafka_exporter.records.decoding import decode
from otel_kafka_exporter.records.encoding import encode_json
from otel_kafka_exporter.records.envelope import OnexEnvelopeV1
from otel_kafka_exporter.records.envelope_pb2 import Envelope
from otel_kafka_exporter.records.kafka_record import KafkaRecord, KafkaRecordBuilder
from otel_kafka_exporter.records.protobuf_encoding import encode_protobuf, write_protobuf
from otel_kafka_exporter.records.publications import PARAMETERS, Publication, PublicationBuilder
from otel_kafka_exporter.records.redaction import REDACTED
from otel_kafka_exporter.records.secret_texts import redact_patterns
from otel_kafka_exporter.records.statements import Converted, write_json
from otel_kafka_exporter.records.values import Cleaner
from tests.records import AUDIT, SECURITY, SPAN_ID, TIME, TRACE_ID, cleaner, hand_made, now, strict_json
from tests.strategies import QUICK, SECRET, any_text, any_value, clean_text, hostile_value, records
from tests.unit.records.texts import UID, Text

OPTIONS: list[dict[str, Any]] = [
    {},
    {"namespace": 'n"\\', "tenant_id": "é\n", "resource_context": ("region", "a", "token")},
]
FILTERS = (None, redact_patterns)


def converter(at: int) -> Converter:
    """One whose event IDs are always the same, so that two of them write the same bytes."""
    return Converter(cleaner(text_filter=FILTERS[at // 2]), lambda _: UID, now, **OPTIONS[at % 2])


SEASONED = [converter(at) for at in range(4)]
KAFKA = KafkaRecordBuilder(application_key="correlation_id")


def written(using: Converter, record: Any) -> bytes | str:
    """A record's bytes, which are those of its envelope; or its error."""
    try:
        converted = using.convert(record)
    except ConversionError as error:
        return str(error)
    value = write_json(converted)
    assert value == encode_json(converted.envelope)
    strict_json(value)
    # Bytes may differ: a map has no order.
    of_pieces, of_envelope = write_protobuf(converted), encode_protobuf(converted.envelope)
    assert Envelope.FromString(of_pieces) == Envelope.FromString(of_envelope)
    assert b"\0" not in of_pieces or not holds_nul(decode(of_pieces))
    return value


def holds_nul(envelope: OnexEnvelopeV1) -> bool:
    """Whether any text of an envelope does, names included."""
    return "\\u0000" in json.dumps(envelope).replace("\\\\", "")


_text = st.one_of(any_text, st.sampled_from(["\0", "\ud800", "\\u0000", '"\\', "é"]))
# Two sets of attributes of the same names and types, since what one record teaches is for the next.
_values: dict[str, st.SearchStrategy[Any]] = {
    "a": _text,
    "é": st.integers(),
    "b\0": st.floats(),
    "token": st.just(SECRET),
    "db.password": st.just([SECRET]),
    "otel.severity_text": st.booleans(),
    "otel.event.name": clean_text,
    "message": st.none(),
    "list": st.lists(st.one_of(st.integers(), any_text), max_size=3),
    "row": st.fixed_dictionaries({"sku": _text, "token": st.just(SECRET)}),
    "omni.code": st.sampled_from(["CODE", " ", 7]),
    "omni.tenant_id": st.sampled_from(["acme", 'a"b', "", None]),
    "omni.correlation_id": st.sampled_from(["order", 'x"\\', 7]),
    "omni.causation_id": st.sampled_from(["cause", "\n"]),
    "log.record.uid": st.sampled_from([UID, "none"]),
}
_base = st.sampled_from(
    [({}, None), ({}, None), ({}, "order.placed"), (AUDIT, "omni.audit"), (SECURITY, "omni.security")]
)


@st.composite
def alike(draw: st.DrawFn) -> list[Any]:
    """Records of one place in the code."""
    base, event_name = draw(_base)
    names = draw(st.lists(st.sampled_from([*_values]), unique=True, max_size=4))
    fields = {
        "event_name": draw(st.sampled_from([event_name, event_name, "a" * 256, "\0", Text("x"), 1, True])),
        "severity_number": draw(st.sampled_from([SeverityNumber.INFO, SeverityNumber.FATAL, None, 9, 9.0, True])),
        "severity_text": draw(st.sampled_from(["INFO", "CRITICAL", None, "\ud800", "x" * 300, 7])),
    }
    scope = draw(st.sampled_from([None, InstrumentationScope("shop"), InstrumentationScope("l" * 256)]))
    resource = Resource(draw(st.sampled_from([{}, {"service.name": "shop", "region": "\ud800", "token": SECRET}])))
    return [
        hand_made(
            {**base, **{name: draw(_values[name]) for name in names}},
            resource=resource,
            scope=scope,
            body=draw(st.one_of(st.none(), _text, st.just({"token": SECRET}))),
            timestamp=draw(st.sampled_from([TIME, TIME, None, 0, -1])),
            trace_id=draw(st.sampled_from([0, TRACE_ID])),
            span_id=SPAN_ID,
            trace_flags=1,
            **fields,
        )
        for _ in range(4)
    ]


@QUICK
@given(batch=alike(), at=st.integers(0, 3))
def test_what_a_converter_has_learnt_changes_nothing(batch: list[Any], at: int) -> None:
    """Records of one place are each the same bytes from a converter that knows the place and from a new one."""
    for record in batch:
        value = written(SEASONED[at], record)
        assert value == written(converter(at), record)
        assert SECRET.encode() not in (value if isinstance(value, bytes) else value.encode())


@QUICK
@given(record=records(any_value), at=st.integers(0, 3))
def test_any_record(record: Any, at: int) -> None:
    """The same holds of any record, seen for the first, the second and the third time."""
    first = written(converter(at), record)
    assert [written(SEASONED[at], record) for _ in range(3)] == [first] * 3


@QUICK
@given(st.lists(records(any_value), min_size=2, max_size=4))
def test_any_records_in_turns(batch: list[Any]) -> None:
    """Records of several resources and places in turns have nothing of each other."""
    using = converter(0)
    expected = [written(converter(0), record) for record in batch]
    for _ in range(3):
        assert [written(using, record) for record in batch] == expected


_context = st.one_of(st.none(), st.dictionaries(st.sampled_from(["a", "token", "b"]), any_value), hostile_value)
_name = st.sampled_from(["shop", "é", 'a"b'])
_fields: dict[str, st.SearchStrategy[tuple[object, ...]]] = {
    "application": st.tuples(_name, _name, st.sampled_from(["INFO", "critical"]), _name, _name),
    "audit": st.tuples(_name, _text, st.one_of(_name, st.integers()), st.just("success")),
    "security": st.tuples(_text, _name, _name, st.just("deny")),
}


@st.composite
def publications(draw: st.DrawFn) -> Publication:
    category = draw(st.sampled_from([*PARAMETERS]))
    wrong = st.tuples(*[any_value] * len(PARAMETERS[category]))
    return Publication(
        category,
        draw(st.one_of(_fields[category], _fields[category], wrong)),
        draw(st.one_of(_text, any_value)),
        draw(st.sampled_from(["acme", 'a"', None, 7])),
        draw(_context),
        draw(st.sampled_from([None, "order", '"\\', 7])),
        draw(st.sampled_from([None, "cause", "\n"])),
        draw(st.sampled_from([None, UID])),
    )


def publisher() -> PublicationBuilder:
    return PublicationBuilder(
        KAFKA, cleaner(), lambda _: UID, lambda: TIME, namespace="omninode", tenant_id="é", source='s"'
    )


PUBLISHER = publisher()


def published(using: PublicationBuilder, publication: Publication) -> bytes | str:
    try:
        converted = using.convert(publication)
    except ConversionError as error:
        return str(error)
    value = write_json(converted)
    assert value == encode_json(converted.envelope)
    strict_json(value)
    return value


@QUICK
@given(publications())
def test_any_publication(publication: Publication) -> None:
    """What a publisher is given is the bytes of its envelope, too, the first time and later."""
    first = published(publisher(), publication)
    assert [published(PUBLISHER, publication) for _ in range(2)] == [first] * 2


def learnt(attributes: dict[str, Any], **fields: Any) -> tuple[Converter, Converted]:
    """A converter that knows a place, and what it makes of a record of it."""
    using = converter(0)
    for _ in range(3):
        converted = using.convert(hand_made(attributes, **fields))
    return using, converted


def test_redaction_is_a_fact_of_the_statement() -> None:
    """Once a place is known nobody asks again which of its names are sensitive, and its values are hidden as before."""
    asked: list[str] = []

    def is_sensitive(key: str) -> bool:
        asked.append(key)
        return key == "password"

    counting = Converter(Cleaner(is_sensitive), lambda _: UID, now)
    record = hand_made({"password": SECRET, "a": 1}, severity_number=SeverityNumber.FATAL, severity_text="CRITICAL")
    counting.convert(record)
    counting.convert(record)
    asked.clear()
    found = counting.convert(record)
    assert asked == []
    assert found.context == {"password": REDACTED, "a": 1, "otel.severity_text": "CRITICAL"}


@pytest.mark.parametrize(
    ("attributes", "fields"),
    [
        ({"a": 1}, {}),
        ({"a": 1.5, "token": SECRET}, {"trace_id": TRACE_ID, "span_id": SPAN_ID}),
        ({}, {"event_name": "order.placed", "severity_text": "CRITICAL"}),
        ({"omni.code": "C", "a": [1]}, {}),
        (AUDIT, {"event_name": "omni.audit", "body": "more"}),
    ],
    ids=["plain", "traced", "event", "special", "audit"],
)
def test_records_of_a_statement_share_nothing_that_changes(attributes: dict[str, Any], fields: dict[str, Any]) -> None:
    """Changing the context of one record changes neither the next one's nor what was given."""
    given = dict(attributes)
    using, first = learnt(given, **fields)
    before = write_json(first)
    first.context["b"] = SECRET
    second = using.convert(hand_made(given, **fields))
    assert second.statement is first.statement
    assert write_json(second) == before
    assert given == attributes


def test_what_is_equal_and_not_the_same() -> None:
    """Records whose fields are equal in Python and differ in JSON are told apart."""
    using = converter(0)
    for _ in range(3):
        names = [using.convert(hand_made({}, event_name=name)).context for name in (1, True, 1.0, "1", None)]
        assert [repr(each.get("otel.event.name")) for each in names] == ["1", "True", "1.0", "None", "None"]
        values = [using.convert(hand_made({"a": value})).context for value in (1, True, 1.0, "1")]
        assert [repr(each["a"]) for each in values] == ["1", "True", "1.0", "'1'"]


def test_names_of_a_type_of_their_own() -> None:
    """A name that is equal to one that is known, and of a type that orjson refuses as a key, is written as its text."""
    using = converter(0)
    expected = written(using, hand_made({"a": 1, "b": 2}))
    for _ in range(3):
        assert written(using, hand_made({"a": 1, "b": 2})) == expected
        assert written(using, hand_made({Text("a"): 1, "b": 2})) == expected


@pytest.mark.parametrize("field", ["severity_number", "severity_text", "event_name", "scope"])
def test_what_is_kept_is_small(field: str) -> None:
    """A field as long as an application likes to make it leaves no statement behind, however often it comes."""
    using = converter(0)
    long = "x" * 20_000
    for _ in range(3):
        using.convert(hand_made({}, **{field: InstrumentationScope(long) if field == "scope" else long}))
    assert not using._known[1]


def test_what_is_kept_is_bounded() -> None:
    """Ever new places, tenants and codes, each seen three times, leave a bounded number behind."""
    using, kafka = Converter(cleaner(), lambda _: UID, now), KafkaRecordBuilder()
    for number in range(5_000):
        for attributes in ({f"name{number}": 1}, {"omni.tenant_id": f"t{number}"}, {"omni.code": f"C{number}"}):
            for _ in range(3):
                kafka.build(using.convert(hand_made(attributes)))
    assert 0 < len(using._known[1]) <= 4096
    assert 0 < len(using._statements._known) <= 1024
    assert 0 < len(kafka._addresses) <= 1024


def test_ever_new_resources() -> None:
    """Each record has its own resource's names, however many there are, and only a few of them are kept."""
    using = converter(0)
    for number in range(100):
        resource = Resource(
            {"service.name": f"shop-{number}"}
        )  # gone in the next turn, when another may have its place
        for _ in range(3):
            assert using.convert(hand_made({}, resource=resource)).envelope.source == f"shop-{number}"
    assert 0 < len(using._resources) <= 8


def test_names_that_come_once_are_not_kept() -> None:
    """A record whose names nobody has used before leaves no statement behind, which would cost more than it saves."""
    using = converter(0)
    using.convert(hand_made({"a": 1}))
    assert not using._known[1]
    using.convert(hand_made({"a": 2}))
    assert len(using._known[1]) == 1


def test_headers_and_key_are_of_the_record() -> None:
    """Of a known statement, key and IDs in headers are each record's own."""
    using = converter(0)
    for number in range(4):
        record: KafkaRecord = KAFKA.build(using.convert(hand_made({"omni.correlation_id": f"order-{number}"})))
        assert record.key == f"order-{number}".encode()
        assert dict(record.headers)["x-correlation-id"] == record.key == dict(record.headers)["x-causation-id"]


STRANGE = ("\0", "\ud800", "\\u0000", "\\\0", '"', "\n", "é", "\U0001f600", 'a"\\\x01b')


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strange_texts_at_every_place(text: str) -> None:
    """What JSON escapes or cannot carry is written of a known statement as of an envelope, wherever it stands."""
    places: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"a": text}, {}),
        ({text: 1}, {}),
        ({"a": 1}, {"body": text}),
        ({}, {"event_name": text, "severity_text": text, "scope": InstrumentationScope(text)}),
        *(({name: text}, {}) for name in ("omni.code", "omni.tenant_id", "omni.correlation_id", "omni.causation_id")),
        ({**AUDIT, "omni.audit.actor": text + "x"}, {"event_name": "omni.audit"}),
        ({**SECURITY, "omni.security.resource": text + "x"}, {"event_name": "omni.security", "body": text}),
        ({}, {"resource": Resource({"service.name": text, "service.instance.id": text})}),
    ]
    for attributes, fields in places:
        using = converter(0)
        record = hand_made(attributes, **fields)
        assert len({written(using, record) for _ in range(3)}) == 1


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strange_texts_in_every_argument(text: str) -> None:
    """The same holds of a publisher's arguments."""
    shop: tuple[object, ...] = ("shop", "", "INFO", "", "CODE")
    for arguments in (
        (shop, "m", None, None, text, None, None),
        (shop, "m", None, None, None, text, None),
        (shop, "m", None, None, text, text, None),
        (shop, text, text, {"a": text, text: 1}, None, None, UID),
        ((text, text, "INFO", text, text), "m", None, None, None, None, None),
    ):
        first = published(publisher(), Publication("application", *arguments))
        assert [published(PUBLISHER, Publication("application", *arguments)) for _ in range(2)] == [first] * 2
    event = Publication("audit", ("a", text + "x", "r", "success"), None, "t", None, text, text, None)
    assert isinstance(published(PUBLISHER, event), bytes)
