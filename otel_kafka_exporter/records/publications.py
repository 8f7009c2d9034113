"""What a publisher's methods are given, to Kafka records: the arguments are the envelope's fields already.

The same values, limits, redaction and encoding as for log records; here a wrong argument is a `ConversionError` that
has the parameter's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from opentelemetry.trace import INVALID_SPAN, get_current_span

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.process import is_interruption

from . import attributes as names
from .envelope import Category
from .fields import (
    MAX_ID_LENGTH,
    MAX_SERVICE_NAME_LENGTH,
    MAX_TENANT_ID_LENGTH,
    choice_field,
    describe,
    identifier,
    level_named,
    text_field,
    trace_context,
)
from .ids import parse_event_id
from .kafka_record import KafkaRecord, KafkaRecordBuilder
from .payloads import message_of
from .shapes import HAS_URL, URL_MARKS, Shapes
from .statements import Converted, Statement, Statements
from .strict_json import json_bytes
from .times import utc_text
from .values import Cleaner

_CONTENT_TYPE = b"application/vnd.omninode.publication+json"
_REMEMBERED = 1024
_new = tuple.__new__  # past a named tuple's own, which is a function in Python


class Publication(NamedTuple):
    """What one call was given.

    Attributes:
        category: which of the three methods it was.
        fields: the parameters that only this method has, in their order.
        message: of an application log.
        tenant_id: whose it is; None: as the settings say.
        context: more to say, by name.
        correlation_id: what belongs together.
        causation_id: what led to this.
        event_id: the caller's own, a UUID or a ULID.
    """

    category: Category
    fields: tuple[object, ...]
    message: object
    tenant_id: object
    context: object
    correlation_id: object
    causation_id: object
    event_id: object


#: The parameters behind `Publication.fields`.
PARAMETERS: Mapping[Category, tuple[str, ...]] = {
    "application": ("service_name", "instance_id", "level", "logger_name", "code"),
    "audit": ("action", "actor", "resource", "outcome"),
    "security": ("event_type", "user_id", "resource", "decision"),
}


class _Origin(NamedTuple):
    """What follows from the part of an application log's arguments that most calls of one place have in common."""

    statement: Statement
    severity_text: str | None


class PublicationBuilder:
    """Makes Kafka records of publications. Threads may share one.

    Args:
        kafka: makes Kafka records of envelopes.
        cleaner: makes values fit for JSON and redacts them.
        new_event_id: makes a UUIDv7 of Unix milliseconds.
        now: the time in Unix nanoseconds, e.g. `time.time_ns`: a call is its own event's moment.
        namespace: the first part of the event type.
        tenant_id: whose events these are when their arguments do not say.
        source: whose audit and security events these are; their arguments do not say.
        context: what each context begins with, fit for JSON and redacted.
    """

    def __init__(
        self,
        kafka: KafkaRecordBuilder,
        cleaner: Cleaner,
        new_event_id: Callable[[int], str],
        now: Callable[[], int],
        *,
        namespace: str,
        tenant_id: str,
        source: str,
        context: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._kafka = kafka
        self._cleaner = cleaner
        self._new_event_id = new_event_id
        self._now = now
        self._tenant_id = tenant_id
        self._source = source
        self._begins_with = context
        self._statements = Statements(namespace)
        self._shapes = Shapes(cleaner)
        self._origins: dict[tuple[object, ...], _Origin] = {}

    def build(self, publication: Publication) -> KafkaRecord:
        """The Kafka record.

        Raises:
            ConversionError: an argument is missing or wrong; has its name.
        """
        return self._kafka.build(self.convert(publication))

    def convert(self, publication: Publication) -> Converted:
        """What fills a statement's gaps, as of a log record.

        Raises:
            ConversionError: as of `build`.
        """
        try:
            return self._convert(publication)
        except ConversionError:
            raise
        except BaseException as error:
            if is_interruption(error):
                raise
            # A value's own code has raised, be it SystemExit.
            got = type(error).__name__
            raise ConversionError("arguments", f"expected values, got one that raises {got}") from error

    def _convert(self, publication: Publication) -> Converted:
        category, fields, message, tenant, context_given, correlation, causation, uid = publication
        nanoseconds = self._now()
        if nanoseconds < 0:  # noqa: PLR1730 - a call for a clock that a test has set to before 1970
            nanoseconds = 0
        milliseconds = nanoseconds // 1_000_000
        context = self._context(context_given)
        if self._begins_with:
            context = {**self._begins_with, **context}
        event_id = self._new_event_id(milliseconds) if uid is None else _event_id(uid)
        trace_id = traceparent = None
        span = get_current_span()
        if span is not INVALID_SPAN:
            trace = span.get_span_context()
            trace_id, traceparent = trace_context(trace.trace_id, trace.span_id, trace.trace_flags)
        correlation_id = causation_id = trace_id or event_id
        own_ids = True
        if correlation is not None:
            correlation_id, context = self._id(names.CORRELATION_ID, correlation, correlation_id, context)
            causation_id = correlation_id
            own_ids = False
        if causation is not None:
            causation_id, context = self._id(names.CAUSATION_ID, causation, causation_id, context)
            own_ids = False
        said: str | dict[str, str]
        if category == "application":
            statement, severity_text = self._origin(tenant, fields)
            if severity_text is not None:
                context = {**context, names.SEVERITY_TEXT: severity_text}
            if message is None:
                raise ConversionError("message", "expected text, got nothing")
            said = message_of(self._cleaner, message)
        else:
            tenant_id = self._tenant_id if tenant is None else _name("tenant_id", tenant, MAX_TENANT_ID_LENGTH)
            said = self._said(category, fields)
            statement = self._statements.event(category, tenant_id, self._source)
        return _new(
            Converted,
            (
                statement,
                event_id,
                utc_text(nanoseconds),
                milliseconds,
                correlation_id,
                causation_id,
                own_ids,
                traceparent,
                said,
                context,
                0,
            ),
        )

    def letter(self, publication: Publication) -> KafkaRecord:
        """The dead letter of a call with a wrong argument: all of it that can be read, redacted, as JSON."""
        category = publication.category
        whole = dict(zip(PARAMETERS[category], publication.fields, strict=True))
        for name in ("message", "tenant_id", "context", "correlation_id", "causation_id", "event_id"):
            whole[name] = getattr(publication, name)
        return KafkaRecord(
            topic=self._kafka.topic(category),
            key=None,
            value=json_bytes(self._cleaner.clean_mapping(whole)),
            headers=[("content-type", _CONTENT_TYPE)],
            milliseconds=0,
            category=category,
        )

    def _context(self, given: object) -> dict[str, Any]:
        """A context that may go out: itself where it is fit for that, as most are."""
        if given is None:
            return {}
        if type(given) is dict:
            names_and_types = (*given, *map(type, given.values()))
            shape = self._shapes.known.get(names_and_types) or self._shapes.work_out(given, names_and_types)
            if shape.plain and not shape.sensitive:
                floats, texts = shape.floats, shape.texts
                if (
                    not shape.meant
                    and not (texts is not None and True in map(HAS_URL, texts(given), URL_MARKS))
                    and (not floats or all(math.isfinite(given[name]) for name in floats))
                ):
                    return given
        elif not isinstance(given, Mapping):
            raise ConversionError("context", f"expected a mapping, got {describe(given)}")
        return self._cleaner.clean_mapping(given)

    def _id(self, name: str, given: object, otherwise: str, context: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A caller's ID; where it is none, the next source, and what was given goes to the context."""
        text = identifier(given)
        return (text, context) if text else (otherwise, {**context, name: self._cleaner.clean(given)})

    def _origin(self, tenant: object, fields: tuple[object, ...]) -> _Origin:
        """What follows from these arguments, remembered: a place in the code logs the same ones each time."""
        place = (tenant, *fields)
        try:
            origin = self._origins.get(place)
        except TypeError:  # one cannot be hashed, so it is no text
            origin = None
        if origin is not None:
            return origin
        tenant_id = self._tenant_id if tenant is None else _name("tenant_id", tenant, MAX_TENANT_ID_LENGTH)
        service_name, instance_id, level_name, logger_name, code = fields
        service = _name("service_name", service_name, MAX_SERVICE_NAME_LENGTH)
        instance = _name("instance_id", instance_id, MAX_ID_LENGTH, blank=True)
        level, severity_text = level_named(level_name)
        logger = _name("logger_name", logger_name, MAX_ID_LENGTH, blank=True)
        code = _name("code", code, MAX_ID_LENGTH)
        statement = self._statements.application(tenant_id, service, instance, level, logger, code)
        origin = _Origin(statement, severity_text)
        if all(isinstance(each, str) for each in fields) and (tenant is None or isinstance(tenant, str)):
            if len(self._origins) >= _REMEMBERED:
                self._origins.clear()
            self._origins[place] = origin
        return origin

    def _said(self, category: Category, fields: tuple[object, ...]) -> dict[str, str]:
        what, who, resource, choice = fields
        cleaner = self._cleaner
        if category == "audit":
            return {
                "action": text_field(cleaner, "action", what),
                "actor": text_field(cleaner, "actor", who),
                "resource": text_field(cleaner, "resource", resource),
                "outcome": choice_field("outcome", choice, names.OUTCOMES),
            }
        return {
            "event_type": text_field(cleaner, "event_type", what),
            "user_id": text_field(cleaner, "user_id", who),
            "resource": text_field(cleaner, "resource", resource),
            "decision": choice_field("decision", choice, names.DECISIONS),
        }


def _name(parameter: str, value: object, limit: int, *, blank: bool = False) -> str:
    """A name or an ID that has to be right, as its place in an envelope decides what readers do with it."""
    text = identifier(value, limit)
    if text is not None:
        return text
    if blank and isinstance(value, str) and not value.strip():
        return ""
    expected = f"text of {'at most' if blank else '1 to'} {limit} characters without NUL"
    got = f"{len(value)} characters" if isinstance(value, str) and len(value) > limit else describe(value)
    raise ConversionError(parameter, f"expected {expected}, got {got}")


def _event_id(value: object) -> str:
    text = identifier(value)
    event_id = text and parse_event_id(text)
    if not event_id:
        raise ConversionError("event_id", f"expected a UUID or a ULID, got {describe(value)}")
    return event_id
