"""What the SDK's limits cut or drop decides nothing, and is said; what may be cut and would decide is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LogRecordLimits, ReadableLogRecord, ReadWriteLogRecord

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.records.otlp import to_otlp
from otel_kafka_exporter.records.sdk_limits import COUNT_SETTING, LENGTH_SETTING, WholeLogRecord
from tests.records import AUDIT, RESOURCE, SECURITY, TIME, cleaner, converted, envelope_of, kafka_record
from tests.unit.records.test_costs import builder

UID = "018bcfe5-687b-7abc-8def-0123456789ab"
TENANT = "tenant-of-forty-characters-exactly-00001"
IDS = {"omni.tenant_id": TENANT, "omni.correlation_id": "c" * 40, "omni.causation_id": "d" * 40, "log.record.uid": UID}

pytestmark = pytest.mark.filterwarnings("ignore:Log record attributes were dropped")


def limited(log: LogRecord, number: int | None = None, length: int | None = None) -> ReadableLogRecord:
    """A record as the SDK makes it with these limits."""
    unset = getattr(LogRecordLimits, "UNSET", None)  # older releases take None for that
    limits = LogRecordLimits(
        max_log_record_attributes=unset if number is None else number,
        max_log_record_attribute_length=unset if length is None else length,
    )
    return cast("ReadableLogRecord", ReadWriteLogRecord(log, RESOURCE, None, limits))


def foreign(attributes: Mapping[str, Any], **fields: Any) -> LogRecord:
    """A record that somebody else makes."""
    return LogRecord(timestamp=TIME, attributes=dict(attributes), **fields)


def ours(context: Mapping[str, Any], **fields: Any) -> LogRecord:
    """An event of our own."""
    decisive = {**AUDIT, **IDS, "omni.category": "audit"}
    return WholeLogRecord(decisive, context, timestamp=TIME, event_name="omni.audit", **fields)


def letter_of(record: ReadableLogRecord) -> tuple[str, dict[str, Any]]:
    """The category and the attributes of a record's dead letter."""
    letter = builder().letter(record)
    return letter.category, json.loads(letter.value)["attributes"]


@pytest.mark.parametrize("number", [None, 0, 1, 5, 9, 10, 11, 128])
@pytest.mark.parametrize("length", [None, 0, 1, 5, 7, 16, 32, 35, 36, 40])
def test_an_event_of_our_own_depends_on_no_limit(number: int | None, length: int | None) -> None:
    """Whatever the limits, an event of ours says who did what, whose it is and which ID it has; the rest is counted."""
    given = {f"key{index}": "x" * 40 for index in range(20)}
    envelope = envelope_of(limited(ours(given), number, length))
    assert envelope.event_type == "omninode.logging.audit.v1"
    assert (envelope.event_id, envelope.tenant_id) == (UID, TENANT)
    assert (envelope.correlation_id, envelope.causation_id) == ("c" * 40, "d" * 40)
    payload = dict(envelope.payload)
    context = payload.pop("context")
    fields = {name.removeprefix("omni.audit."): value for name, value in AUDIT.items()}
    assert payload == {"tenant_id": TENANT, "timestamp": envelope.timestamp, **fields}
    left = [name for name in context if name.startswith("key")]
    assert len(left) + context.get("otel.dropped_attributes_count", 0) == len(given)
    assert context.get("otel.truncated.attributes", []) == (left if length is not None else [])


def test_what_a_processor_changed_or_took_away_stays_so() -> None:
    """A processor that hides an actor, or takes an ID away, has its way: only what the SDK has cut is put back."""
    record = limited(ours({}), None, 40)
    attributes = cast("dict[str, Any]", record.log_record.attributes)
    attributes["omni.audit.actor"] = "hidden"
    del attributes["omni.correlation_id"], attributes["omni.causation_id"]
    envelope = envelope_of(record)
    assert dict(envelope.payload)["actor"] == "hidden"
    assert envelope.correlation_id == envelope.event_id == UID
    attributes["omni.audit.actor"] = "h" * 40  # which may be cut, too, but not from the actor
    with pytest.raises(ConversionError, match=LENGTH_SETTING):
        converted(record)


@pytest.mark.parametrize("name", [*AUDIT, *IDS, "omni.category"])
def test_what_may_be_cut_decides_nothing(name: str) -> None:
    """An ID or a field of somebody else's event that is as long as the SDK leaves any is refused, by name, and kept."""
    whole = {**AUDIT, **IDS, "omni.category": "audit", "context": "x"}
    whole[name] = whole[name].ljust(60, "-")
    record = limited(foreign(whole), None, 50)
    with pytest.raises(ConversionError, match=LENGTH_SETTING) as raised:
        converted(record)
    assert raised.value.field == name
    category, attributes = letter_of(record)
    assert category == "audit"
    assert attributes == {**whole, name: whole[name][:50]}


@pytest.mark.parametrize("name", SECURITY)
def test_what_may_be_cut_of_a_security_event(name: str) -> None:
    """The same of a security event's fields."""
    whole = {**SECURITY, name: "x" * 60}
    with pytest.raises(ConversionError, match=LENGTH_SETTING) as raised:
        converted(limited(foreign(whole, event_name="omni.security"), None, 50))
    assert raised.value.field == name


def test_what_fits_decides() -> None:
    """One character less than the limit is whole."""
    whole = {**AUDIT, **IDS, "omni.category": "audit"}
    assert envelope_of(limited(foreign(whole), None, 41)).tenant_id == TENANT
    with pytest.raises(ConversionError, match="tenant_id"):
        converted(limited(foreign(whole), None, 40))


def test_what_a_context_has_lost_is_said() -> None:
    """A context names attributes that may be cut, at any depth, and says how many were dropped; both are counted."""
    nested = {"a": {"b": ("short", "x" * 20)}}
    given = {"first": 1, "second": 2, "long": "x" * 20, "nested": nested, "short": "x", "list": ("a", "b"), "n": 3}
    record = limited(foreign(given), 5, 10)
    told: list[int] = []
    found = converted(record, on_cut=told.append)
    assert found.context == {
        "long": "x" * 10,
        "nested": {"a": {"b": ["short", "x" * 10]}},
        "short": "x",
        "list": ["a", "b"],
        "n": 3,
        "otel.truncated.attributes": ["long", "nested"],
        "otel.dropped_attributes_count": 2,
    }
    assert found.cuts == kafka_record(record).cuts == 4
    assert told == [4]


def test_records_within_the_limits() -> None:
    """A record that lost nothing says nothing, whatever the limits."""
    told: list[int] = []
    found = converted(limited(foreign({"a": "x", "b": 1}), 2, 10), on_cut=told.append)
    assert (found.context, found.cuts, told) == ({"a": "x", "b": 1}, 0, [])


def test_the_names_of_the_marks_are_taken() -> None:
    """An application's own attributes of these names stay beside them."""
    given = {"first": 1, "otel.dropped_attributes_count": "mine", "otel.truncated.attributes": "x" * 20}
    found = converted(limited(foreign(given), 2, 10)).context
    assert found["otel.dropped_attributes_count"] == "mine"
    assert found["otel.dropped_attributes_count_"] == 1
    assert found["otel.truncated.attributes_"] == ["otel.truncated.attributes"]


@pytest.mark.parametrize(("fields", "category"), [(AUDIT, "audit"), (SECURITY, "security")])
def test_an_event_that_has_lost_its_category(fields: dict[str, str], category: str) -> None:
    """An event whose category the SDK has dropped does not pass for an application record: it is a dead letter."""
    record = limited(foreign({"omni.category": category, "omni.tenant_id": "acme", **fields}), 4)
    with pytest.raises(ConversionError, match=COUNT_SETTING) as raised:
        converted(record)
    assert raised.value.field == "omni.category"
    assert letter_of(record) == (category, fields)


@pytest.mark.parametrize("fields", [{"event_name": "omni.audit"}, {}])
def test_an_event_that_may_have_lost_its_tenant(fields: dict[str, str]) -> None:
    """An event without a tenant, of which something was dropped, is not taken for the default tenant's."""
    given = {"omni.tenant_id": "acme", **AUDIT, **({} if fields else {"omni.category": "audit"})}
    with pytest.raises(ConversionError, match=COUNT_SETTING) as raised:
        converted(limited(foreign(given, **fields), len(given) - 1))
    assert raised.value.field == "omni.tenant_id"
    assert envelope_of(limited(foreign({"more": 1, **given}, **fields), len(given))).tenant_id == "acme"


def test_an_event_of_our_own_without_a_tenant() -> None:
    """An event of ours that names none is the setting's, whatever was dropped."""
    log = WholeLogRecord({**AUDIT, "omni.category": "audit"}, {"a": 1, "b": 2}, timestamp=TIME)
    assert envelope_of(limited(log, 1), tenant_id="acme").tenant_id == "acme"


def test_a_dead_letter_of_our_own_is_whole() -> None:
    """A dead letter of an event of ours has what the SDK has cut, so that who waits for it hears of it."""
    log = WholeLogRecord(
        {**AUDIT, **IDS, "omni.audit.outcome": "perhaps", "omni.category": "audit"}, {"a": 1}, timestamp=TIME
    )
    record = limited(log, 2, 4)
    with pytest.raises(ConversionError, match="success or failure"):
        converted(record)
    letter = builder().letter(record)
    assert (letter.category, letter.event_id) == ("audit", UID)
    document = json.loads(letter.value)
    assert document["attributes"] == {**AUDIT, **IDS, "omni.audit.outcome": "perhaps", "omni.category": "audit"}
    assert document["dropped_attributes"] == 1


def test_secrets_are_hidden_in_what_is_put_back() -> None:
    """What travels beside the attributes is redacted like them."""
    record = limited(WholeLogRecord({**AUDIT, "omni.category": "audit"}, {"password": "hunter2"}, timestamp=TIME), 6, 4)
    assert "hunt" not in str(converted(record, cleaner()))


def test_otlp_has_the_count() -> None:
    """OpenTelemetry's own log record of such an envelope has its count of dropped attributes again."""
    otlp = to_otlp(envelope_of(limited(foreign({"a": 1, "b": 2, "c": 3}), 1)))
    assert otlp.dropped_attributes_count == 2
    assert "otel.dropped_attributes_count" not in {attribute.key for attribute in otlp.attributes}
