"""Envelopes to Protobuf: the messages of proto/onex/logging/v1/envelope.proto, by the official runtime.

Plain values go straight into their fields. What those refuse, a lone surrogate or an integer beyond 64 bits, is an
exception, upon which the envelope is made as strict as JSON asks for: both encodings carry the same.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from . import envelope_pb2 as pb
from .encoding import CONTENT_TYPE_FRAMED, Encoding
from .envelope import OnexEnvelopeV1, category_of
from .scalars import clean_text
from .statements import Converted, Statement
from .strict_json import BACKSLASH, NUL, strict

_MAX_INT64 = 2**63 - 1
_LEVELS = {name.removeprefix("LEVEL_"): number for name, number in pb.Level.items()}
_OUTCOMES = {name.removeprefix("OUTCOME_").lower(): number for name, number in pb.Outcome.items()}
_DECISIONS = {name.removeprefix("DECISION_").lower(): number for name, number in pb.Decision.items()}
#: A tag and the longest length that a record's text can have.
_TEXT_OVERHEAD = 6


def write_protobuf(converted: Converted) -> bytes:
    """The record's envelope as a `onex.logging.v1.Envelope`: its statement's fields, read at once, and its own."""
    statement, event_id, timestamp, _, correlation_id, causation_id, _, _, said, context, _ = converted
    try:
        message = pb.Envelope.FromString(_constants(statement))
        message.event_id = event_id
        message.correlation_id = correlation_id
        message.causation_id = causation_id
        _set_time(message.timestamp, timestamp)
        body: pb.ApplicationPayload | pb.AuditPayload | pb.SecurityPayload
        if isinstance(said, str):
            body = message.application
            body.message = said
        else:
            body = message.audit if statement.origin.category == "audit" else message.security
            _put_fields(body, said)
            _set_time(body.timestamp, timestamp)
        _fill(body.context, context)
        encoded = message.SerializeToString()
        # As in `encode_protobuf`; of a statement only the logger may hold one.
        if 0 not in encoded or not _has_nul((statement.logger, said, context)):
            return encoded
    except (TypeError, ValueError):
        pass
    return encode_protobuf(converted.envelope)


@lru_cache(maxsize=1024)
def _constants(statement: Statement) -> bytes:
    """The fields that all records of a statement have, encoded: to read them takes less time than to set them."""
    origin = statement.origin
    message = pb.Envelope(
        event_type=origin.event_type,
        tenant_id=origin.tenant_id,
        namespace=origin.namespace,
        source=origin.source,
        schema_ref=origin.schema_ref,
    )
    if origin.category == "application":
        body = message.application
        body.service_name = origin.source
        body.instance_id = origin.instance_id
        body.level = _LEVELS[statement.level]  # type: ignore[assignment]  # the field takes the number
        body.logger = statement.logger
        body.code = statement.code
    elif origin.category == "audit":
        message.audit.tenant_id = origin.tenant_id
    else:
        message.security.tenant_id = origin.tenant_id
    return message.SerializeToString()


def _put_fields(body: pb.AuditPayload | pb.SecurityPayload, said: Mapping[str, Any]) -> None:
    """Put the four fields of an event into its payload."""
    if isinstance(body, pb.AuditPayload):
        body.action = said["action"]
        body.actor = said["actor"]
        body.resource = said["resource"]
        body.outcome = _OUTCOMES[said["outcome"]]  # type: ignore[assignment]
    else:
        body.event_type = said["event_type"]
        body.user_id = said["user_id"]
        body.resource = said["resource"]
        body.decision = _DECISIONS[said["decision"]]  # type: ignore[assignment]


def encode_protobuf(envelope: OnexEnvelopeV1) -> bytes:
    """The envelope as a `onex.logging.v1.Envelope`."""
    try:
        encoded = _message(envelope).SerializeToString()
    except (TypeError, ValueError):
        return _message(_strict(envelope)).SerializeToString()
    # Where a byte is 0 it is a number's most of the time; JSON, which is quickly made, tells.
    if 0 in encoded and _has_nul(envelope.payload):
        return _message(_strict(envelope)).SerializeToString()
    return encoded


def _has_nul(value: object) -> bool:
    """Whether there may be a NUL in a text of it, by JSON's spelling, which is looked for as `json_bytes` does."""
    written = orjson.dumps(value)
    return BACKSLASH in written and NUL in written


def _message(envelope: OnexEnvelopeV1) -> pb.Envelope:
    event_type, event_id, timestamp, tenant_id, namespace, source, correlation, causation, schema, payload = envelope
    message = pb.Envelope(
        event_type=event_type,
        event_id=event_id,
        tenant_id=tenant_id,
        namespace=namespace,
        source=source,
        correlation_id=correlation,
        causation_id=causation,
        schema_ref=schema,
    )
    _set_time(message.timestamp, timestamp)
    category = category_of(event_type)
    body: pb.ApplicationPayload | pb.AuditPayload | pb.SecurityPayload
    if category == "application":
        body = message.application
        body.service_name = payload["service_name"]
        body.instance_id = payload["instance_id"]
        body.level = _LEVELS[payload["level"]]  # type: ignore[assignment]  # the field takes the number
        body.logger = payload["logger"]
        body.message = payload["message"]
        body.code = payload["code"]
    elif category == "audit":
        body = message.audit
        body.tenant_id = payload["tenant_id"]
        _put_fields(body, payload)
        _set_time(body.timestamp, payload["timestamp"])
    else:
        body = message.security
        body.tenant_id = payload["tenant_id"]
        _put_fields(body, payload)
        _set_time(body.timestamp, payload["timestamp"])
    _fill(body.context, payload["context"])
    return message


def _fill(members: Any, values: Mapping[str, Any]) -> None:
    """Put an object's values into a map."""
    for name, value in values.items():
        kind = type(value)
        if kind is str:
            members[name].string_value = value
        elif kind is int and value <= _MAX_INT64:
            members[name].int_value = value
        elif kind is float:
            members[name].double_value = value
        elif kind is bool:
            members[name].bool_value = value
        else:
            _put(members[name], value)


def _put(slot: pb.Value, value: Any) -> None:
    """Put any value of JSON into its place."""
    if value is None:
        slot.null_value = pb.NULL_VALUE_UNSPECIFIED
    elif isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, str):
        slot.string_value = value
    elif isinstance(value, int):
        if value > _MAX_INT64:
            slot.uint_value = value
        else:
            slot.int_value = value
    elif isinstance(value, float):
        slot.double_value = value
    elif isinstance(value, Mapping):
        slot.struct_value.SetInParent()  # an empty one is there, too
        _fill(slot.struct_value.fields, value)
    else:
        slot.list_value.SetInParent()
        for element in value:
            _put(slot.list_value.values.add(), element)


def _set_time(field: Timestamp, text: str) -> None:
    field.seconds = _seconds(text[:19])
    field.nanos = int(text[20:26]) * 1000


@lru_cache(maxsize=8)
def _seconds(text: str) -> int:
    """`YYYY-MM-DDTHH:MM:SS` as Unix seconds; records come many to a second."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def _strict(envelope: OnexEnvelopeV1) -> OnexEnvelopeV1:
    return OnexEnvelopeV1(*(strict(part) for part in envelope))


def _text_size(text: str) -> int:
    return len(clean_text(text).encode()) + _TEXT_OVERHEAD


#: A control character is one byte, and six of JSON.
PROTOBUF = Encoding(b"application/x-protobuf", write_protobuf, encode_protobuf, _text_size, 6)
#: What Schema Registry clients expect: 0, the schema's ID in four bytes, and the index of the message, which is 0.
FRAMED_PROTOBUF = PROTOBUF._replace(content_type=CONTENT_TYPE_FRAMED, frame=6)
