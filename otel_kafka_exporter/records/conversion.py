"""OpenTelemetry log records to envelopes: which attribute or field becomes which part, and where the rest goes.

Total: a record gives an envelope, or one `ConversionError` that names the field at fault. An envelope's context and
message hold JSON's types only and are redacted; characters that JSON cannot carry are the encoding's business.

Most records repeat what the one before them had: the resource, the names and types of the attributes. What follows
from those is worked out once (`_ResourceFacts`, `shapes`), which is what makes a record cheap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from opentelemetry._logs import SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.process import is_interruption

from . import attributes as names
from .envelope import (
    CATEGORIES,
    ApplicationPayload,
    AuditPayload,
    Category,
    Level,
    OnexEnvelopeV1,
    Payload,
    SecurityPayload,
)
from .fields import (
    MAX_ID_LENGTH,
    MAX_SERVICE_NAME_LENGTH,
    MAX_TENANT_ID_LENGTH,
    identifier,
    is_time,
    level_of,
    required_choice,
    required_text,
    take_category,
    take_id,
    take_ids,
    trace_context,
    utc_text,
)
from .redaction import REDACTED
from .shapes import NOT_PLAIN, Shapes
from .values import Cleaner, unused_name

UNKNOWN_SERVICE = "unknown_service"
UNSPECIFIED_CODE = "UNSPECIFIED"

_CACHED_SEVERITIES = 256
_CATEGORY_OF_EVENT: dict[object, Category] = {names.AUDIT_EVENT: "audit", names.SECURITY_EVENT: "security"}


#: An envelope with what a Kafka record takes from a log record beside it: its category, the envelope, the record's own
#: time in Unix milliseconds, and the W3C traceparent (None without both a trace and a span ID). A plain tuple, unpacked
#: where it arrives: one is made for every record.
Converted = tuple[Category, OnexEnvelopeV1, int, str | None]


class _ResourceFacts(NamedTuple):
    """What a resource says of all its records. Holds the resource, so that its identity stays its own."""

    resource: object
    service_name: str
    instance_id: str
    tenant_id: str
    context: dict[str, Any]


class Converter:
    """Makes envelopes of log records. Threads may share one.

    Args:
        cleaner: makes values fit for JSON and redacts them.
        new_event_id: makes a UUIDv7 of Unix milliseconds.
        namespace: the first part of the event type.
        tenant_id: whose records these are when neither record nor resource says.
        resource_context: names of resource attributes that are copied into each context.
    """

    def __init__(
        self,
        cleaner: Cleaner,
        new_event_id: Callable[[int], str],
        *,
        namespace: str = "omninode",
        tenant_id: str = "default",
        resource_context: tuple[str, ...] = (),
    ) -> None:
        self._cleaner = cleaner
        self._new_event_id = new_event_id
        self._namespace = namespace
        self._tenant_id = tenant_id
        self._resource_context = resource_context
        self._kinds = {
            category: (event_type(namespace, category), f"registry://{namespace}/logging/{category}/v1")
            for category in CATEGORIES
        }
        self._facts = _ResourceFacts(None, UNKNOWN_SERVICE, "", tenant_id, {})
        self._severities: dict[tuple[int, object], tuple[Level, str | None]] = {}
        self._shapes = Shapes(cleaner)

    def convert(self, record: ReadableLogRecord) -> Converted:
        """The envelope of `record`.

        Raises:
            ConversionError: a required field is missing or wrong, or the record is none that OpenTelemetry makes.
        """
        try:
            return self._convert(record)
        except ConversionError:
            raise
        except BaseException as error:
            if is_interruption(error):
                raise
            # Only a hand-made record gets here: its attributes are no mapping, or its parts run code that raises, be it
            # SystemExit, which would end OpenTelemetry's export thread.
            raise ConversionError("record", f"expected a log record of the SDK, got {type(error).__name__}") from error

    def _convert(self, record: ReadableLogRecord) -> Converted:  # noqa: C901 - straight on: a record's way, top to bottom
        log = record.log_record
        facts = self._facts
        if facts.resource is not record.resource or facts.resource is None:
            facts = self._facts = self._facts_of(record.resource)
        attributes = log.attributes
        context: dict[str, Any] = attributes.copy() if type(attributes) is BoundedAttributes else _copy(attributes)  # type: ignore[assignment]  # its copy() is a dict
        names_and_types = (*context, *map(type, context.values()))
        shape = self._shapes.known.get(names_and_types) or self._shapes.work_out(context, names_and_types)
        event_name = log.event_name
        category: Category = "application" if event_name is None else _category_of(event_name)
        trace_id = traceparent = None
        if log.trace_id:
            trace_id, traceparent = trace_context(log.trace_id, log.span_id, log.trace_flags)
        # Sensitive values go first, so that nothing below can put one anywhere else.
        for key in shape.sensitive:
            context[key] = REDACTED

        time = log.timestamp
        nanoseconds = time if is_time(time) else self._other_time(time, log.observed_timestamp, context)
        milliseconds = nanoseconds // 1_000_000
        event_id = tenant_id = correlation_id = causation_id = None
        if shape.special:
            category = take_category(context) or category
            event_id, tenant_id, correlation_id, causation_id = take_ids(context)
        event_id = event_id or self._new_event_id(milliseconds)
        tenant_id = tenant_id or facts.tenant_id
        correlation_id = correlation_id or trace_id or event_id
        timestamp = utc_text(nanoseconds)

        payload: Payload
        if category == "application":
            payload = self._application(record, facts, context)
        elif category == "audit":
            payload = self._audit(log, tenant_id, timestamp, context)
        else:
            payload = self._security(log, tenant_id, timestamp, context)
        for name in shape.floats:
            if not math.isfinite(context[name]):
                shape = NOT_PLAIN
                break
        if not shape.plain:  # most contexts are fit for JSON as they are
            payload["context"] = context = self._cleaner.clean_mapping(context)
        if facts.context:
            payload["context"] = {**facts.context, **context}
        event_type, schema_ref = self._kinds[category]
        envelope = OnexEnvelopeV1(
            event_type,
            event_id,
            timestamp,
            tenant_id,
            self._namespace,
            facts.service_name,
            correlation_id,
            causation_id or correlation_id,
            schema_ref,
            payload,
        )
        return category, envelope, milliseconds, traceparent

    def _application(
        self, record: ReadableLogRecord, facts: _ResourceFacts, context: dict[str, Any]
    ) -> ApplicationPayload:
        log = record.log_record
        body, event_name = log.body, log.event_name
        code = take_id(context, names.CODE) if names.CODE in context else None
        if event_name is not None:
            event_name = self._event_name(event_name, context)
            code = code or (event_name and identifier(event_name))
            if event_name and code != event_name:
                self._add(context, names.EVENT_NAME, event_name)
        level, severity_text = self._severity(log.severity_number, log.severity_text)
        if severity_text is not None:
            self._add(context, names.SEVERITY_TEXT, severity_text)
        scope = record.instrumentation_scope
        logger: Any = "" if scope is None else scope.name
        if not isinstance(logger, str) or len(logger) > MAX_ID_LENGTH:
            if logger:
                self._add(context, names.SCOPE_NAME, logger)
            logger = ""
        return {
            "service_name": facts.service_name,
            "instance_id": facts.instance_id,
            "level": level,
            "logger": logger,
            "message": self._message((event_name or "") if body is None else body),
            "code": code or UNSPECIFIED_CODE,
            "context": context,
        }

    def _severity(self, number: object, text: object) -> tuple[Level, str | None]:
        """`level_of`, remembered: a service has a handful of severities."""
        usual = text is None or (type(text) is str and len(text) <= MAX_ID_LENGTH)
        if not usual or not isinstance(number, SeverityNumber):
            return level_of(number, text)
        # By the number's value, because an enum's member hashes in Python, which is slow.
        found = self._severities.get((number._value_, text))
        if found is None:
            if len(self._severities) >= _CACHED_SEVERITIES:
                self._severities.clear()
            found = self._severities[number._value_, text] = level_of(number, text)
        return found

    def _audit(self, log: Any, tenant_id: str, timestamp: str, context: dict[str, Any]) -> AuditPayload:
        payload: AuditPayload = {
            "tenant_id": tenant_id,
            "action": required_text(self._cleaner, context, names.AUDIT_ACTION),
            "actor": required_text(self._cleaner, context, names.AUDIT_ACTOR),
            "resource": required_text(self._cleaner, context, names.AUDIT_RESOURCE),
            "outcome": required_choice(context, names.AUDIT_OUTCOME, names.OUTCOMES),
            "timestamp": timestamp,
            "context": context,
        }
        self._keep_the_rest(log, names.AUDIT_EVENT, payload.values(), context)
        return payload

    def _security(self, log: Any, tenant_id: str, timestamp: str, context: dict[str, Any]) -> SecurityPayload:
        payload: SecurityPayload = {
            "tenant_id": tenant_id,
            "event_type": required_text(self._cleaner, context, names.SECURITY_EVENT_TYPE),
            "user_id": required_text(self._cleaner, context, names.SECURITY_USER_ID),
            "resource": required_text(self._cleaner, context, names.SECURITY_RESOURCE),
            "decision": required_choice(context, names.SECURITY_DECISION, names.DECISIONS),
            "timestamp": timestamp,
            "context": context,
        }
        self._keep_the_rest(log, names.SECURITY_EVENT, payload.values(), context)
        return payload

    def _keep_the_rest(self, log: Any, usual_event_name: str, said: Any, context: dict[str, Any]) -> None:
        """Put into the context what an audit or security payload has no field for: an event name, a body."""
        event_name = self._event_name(log.event_name, context)
        if event_name and event_name != usual_event_name:
            self._add(context, names.EVENT_NAME, event_name)
        message = None if log.body is None else self._message(log.body)
        if message and message != event_name and message not in said:
            self._add(context, names.BODY if names.MESSAGE in context else names.MESSAGE, message)

    def _event_name(self, event_name: object, context: dict[str, Any]) -> str | None:
        """An event's name when it is text; of another type, it goes to the context."""
        if isinstance(event_name, str):
            return str.__str__(event_name)
        if event_name is not None:
            self._add(context, names.EVENT_NAME, event_name)
        return None

    def _add(self, context: dict[str, Any], name: str, value: object) -> None:
        """Put what no field holds into a context; an attribute that has the name already stays."""
        hidden = self._cleaner.is_sensitive(name)
        context[unused_name(name, context)] = REDACTED if hidden else self._cleaner.clean(value)

    def _message(self, body: object) -> str:
        """A body as text; what is no text becomes compact JSON."""
        if type(body) is str and str in self._cleaner.unchanged:
            return body
        if isinstance(body, str):
            return self._cleaner.text(str.__str__(body))
        return orjson.dumps(self._cleaner.clean(body)).decode()

    def _other_time(self, timestamp: object, observed: Any, context: dict[str, Any]) -> int:
        """The time at which a record without a usable one of its own was observed."""
        if timestamp:
            self._add(context, names.TIMESTAMP, timestamp)
        if not is_time(observed):
            raise ConversionError("timestamp", "expected Unix nanoseconds up to the year 9999, got neither time")
        return int(observed)

    def _facts_of(self, resource: Any) -> _ResourceFacts:
        attributes = {} if resource is None else _copy(resource.attributes)
        context = {name: attributes[name] for name in self._resource_context if name in attributes}
        service_name = take_id(attributes, "service.name", MAX_SERVICE_NAME_LENGTH)
        instance_id = take_id(attributes, "service.instance.id")
        tenant_id = take_id(attributes, names.TENANT_ID, MAX_TENANT_ID_LENGTH)
        # What was given and did not count is still there.
        for name in ("service.name", "service.instance.id", names.TENANT_ID):
            if name in attributes:
                context[name] = attributes[name]
        return _ResourceFacts(
            resource,
            service_name or UNKNOWN_SERVICE,
            instance_id or "",
            tenant_id or self._tenant_id,
            self._cleaner.clean_mapping(context),
        )


def event_type(namespace: str, category: Category) -> str:
    """The event type of a category, which is also its topic without the prefix."""
    return f"{namespace}.logging.{category}.v1"


def _copy(attributes: Any) -> dict[str, Any]:
    """A record's attributes as a dict of one's own; the SDK's are 18 times as dear to copy by iterating."""
    if attributes is None:
        return {}
    try:
        copied = attributes.copy()
    except AttributeError:
        return dict(attributes)
    return copied if type(copied) is dict else dict(attributes)


def _category_of(event_name: object) -> Category:
    return _CATEGORY_OF_EVENT.get(event_name, "application") if isinstance(event_name, str) else "application"
