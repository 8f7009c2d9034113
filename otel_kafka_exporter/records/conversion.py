"""OpenTelemetry log records to what an envelope says: which attribute or field becomes which part, where the rest goes.

Total: a record is converted, or is one `ConversionError` that names the field at fault. A context and a message hold
JSON's types only and are redacted; characters that JSON cannot carry are the encoding's business.

Most records repeat what the one before them had: the resource, the scope, the severity, the names and types of the
attributes. What follows from those is worked out once (`_Line`), redaction included, and a record only fills the gaps.
Where an attribute has a meaning of its own, its value decides, and the same is worked out for this one record.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry._logs import SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.process import is_interruption

from . import attributes as names
from .envelope import Category, Level
from .fields import (
    MAX_ID_LENGTH,
    identifier,
    level_of,
    take_category,
    take_id,
    take_ids,
    trace_context,
)
from .payloads import add, event_fields, event_name_of, keep_the_rest, message_of
from .redaction import REDACTED
from .resources import ResourceFacts, copied, facts_of
from .sdk_limits import mark_cuts
from .secret_texts import URL_MARK
from .shapes import HAS_URL, URL_MARKS, Shape, Shapes
from .statements import Converted, Statement, Statements
from .times import EARLIEST, Times, utc_text
from .values import Cleaner

UNSPECIFIED_CODE = "UNSPECIFIED"

_CACHED_LINES = 4096
_CACHED_RESOURCES = 8
_CATEGORY_OF_EVENT: dict[object, Category] = {names.AUDIT_EVENT: "audit", names.SECURITY_EVENT: "security"}
_NO_RESOURCE_YET = object()  # None is what a hand-made record has
_new = tuple.__new__  # past a named tuple's own, which is a function in Python


class _Line(NamedTuple):
    """What follows from a record's scope, severity, event name, and the names and types of its attributes.

    Attributes:
        shape: of the attributes.
        severity: the level, and the severity's text where the level alone would lose something; None: not worked out.
        statement: of an application record without an attribute that has a meaning of its own; None for any other.
        constant: what such a record's context has in place of, and behind, its attributes.
        message: where there is no body.
    """

    shape: Shape
    severity: tuple[Level, str | None] | None = None
    statement: Statement | None = None
    constant: dict[str, Any] = {}  # noqa: RUF012 - never changed
    message: str = ""


#: What a resource says, and the lines of its records by what they follow from.
_Known = tuple[ResourceFacts, dict[tuple[object, ...], _Line]]


class Converter:
    """Converts log records. Threads may share one.

    Args:
        cleaner: makes values fit for JSON and redacts them.
        new_event_id: makes a UUIDv7 of Unix milliseconds.
        now: the time in Unix nanoseconds, by which a record's own is judged; asked when one is later than all before.
        namespace: the first part of the event type.
        tenant_id: whose records these are when neither record nor resource says.
        instance_id: of which instance they are when the resource does not say.
        resource_context: names of resource attributes that are copied into each context.
        on_cut: is told how many values of a record the SDK's limits have cut or dropped, where they have.
    """

    def __init__(
        self,
        cleaner: Cleaner,
        new_event_id: Callable[[int], str],
        now: Callable[[], int],
        *,
        namespace: str = "omninode",
        tenant_id: str = "default",
        instance_id: str = "",
        resource_context: tuple[str, ...] = (),
        on_cut: Callable[[int], None] = lambda _cuts: None,
    ) -> None:
        self._cleaner = cleaner
        self._new_event_id = new_event_id
        self._times = Times(now)
        self._tenant_id = tenant_id
        self._instance_id = instance_id
        self._resource_context = resource_context
        self._on_cut = on_cut
        no_facts = ResourceFacts(_NO_RESOURCE_YET, "", "", "", {})
        #: Of the resource that was seen last.
        self._known: _Known = (no_facts, {})
        #: Of all that were seen, by their identity; nearly always that is one.
        self._resources: dict[int, _Known] = {}
        self._shapes = Shapes(cleaner)
        self._statements = Statements(namespace)
        self._keeps_texts = str in cleaner.unchanged

    def convert(self, record: ReadableLogRecord) -> Converted:
        """The converted record.

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

    def _convert(self, record: ReadableLogRecord) -> Converted:  # noqa: C901 - a record's way, without the calls
        log = record.log_record
        facts, lines = self._known
        if facts.resource is not record.resource:
            facts, lines = self._known = self._known_of(record.resource)
        attributes = log.attributes
        context: dict[str, Any]
        cuts = 0
        if type(attributes) is BoundedAttributes:
            context = attributes.copy()  # type: ignore[assignment]  # it is a dict
            if attributes.dropped or attributes.max_value_len is not None:
                cuts = self._cuts_of(log, attributes, context)
        else:
            context = copied(attributes)
        scope, number = record.instrumentation_scope, log.severity_number
        origin = (
            None if scope is None else scope.name,
            # By the number's value, because an enum's member hashes in Python, which is slow.
            number._value_ if type(number) is SeverityNumber else number,
            log.severity_text,
            log.event_name,
            *context,
            *map(type, context.values()),
        )
        try:
            line = lines.get(origin)
        except BaseException as error:  # of a hand-made record; some part cannot be hashed
            if is_interruption(error):
                raise
            line = None
        if line is None:
            line = self._line(record, facts, origin, context)
            if line.severity is not None:  # it is worth keeping
                if len(lines) >= _CACHED_LINES:
                    lines.clear()
                lines[origin] = line
        trace_id = traceparent = None
        if log.trace_id:
            trace_id, traceparent = trace_context(log.trace_id, log.span_id, log.trace_flags)
        nanoseconds = log.timestamp or log.observed_timestamp
        shape, _, statement, constant, message = line
        # As `Times` judges, without a call.
        if statement is None or type(nanoseconds) is not int or not EARLIEST <= nanoseconds <= self._times.latest:
            return self._particular(record, facts, line, context, trace_id, traceparent, cuts)

        body = log.body
        message = (
            body
            if type(body) is str and self._keeps_texts and URL_MARK not in body
            else message_of(self._cleaner, message if body is None else body)
        )
        if constant:  # redaction comes before all else
            context.update(constant)
        milliseconds = nanoseconds // 1_000_000
        event_id = self._new_event_id(milliseconds)
        correlation_id = trace_id or event_id
        return _new(
            Converted,
            (
                statement,
                event_id,
                utc_text(nanoseconds),
                milliseconds,
                correlation_id,
                correlation_id,
                True,
                traceparent,
                message,
                self._fit(shape, facts, context),
                cuts,
            ),
        )

    def _cuts_of(self, log: object, attributes: BoundedAttributes, context: dict[str, Any]) -> int:
        cuts = mark_cuts(log, attributes, context)
        if cuts:
            self._on_cut(cuts)
        return cuts

    def _known_of(self, resource: object) -> _Known:
        known = self._resources.get(id(resource))
        if known is None:
            known = (facts_of(resource, self._cleaner, self._tenant_id, self._instance_id, self._resource_context), {})
            if len(self._resources) >= _CACHED_RESOURCES:
                self._resources.clear()
            self._resources[id(resource)] = known
        return known

    def _line(
        self, record: ReadableLogRecord, facts: ResourceFacts, origin: tuple[object, ...], context: dict[str, Any]
    ) -> _Line:
        """The line of a record whose line is not known; kept when its attributes are seen for the second time.

        Applications may make up names for ever, and what they name once is not worth more than its shape.
        """
        names_and_types = origin[4:]
        shape = self._shapes.known.get(names_and_types)
        if shape is None:
            return _Line(self._shapes.work_out(context, names_and_types))
        name, number, *texts = origin[:4]
        # What is equal has to mean the same, and what is kept has to be small.
        if not (number is None or type(number) is int) or not all(
            text is None or (type(text) is str and len(text) <= MAX_ID_LENGTH) for text in (name, *texts)
        ):
            return _Line(shape)
        log = record.log_record
        line = _Line(shape, level_of(number, log.severity_text))
        if not shape.special and _category_of(log.event_name) == "application":
            whole = {**context, **dict.fromkeys(shape.sensitive, REDACTED)}
            statement, message = self._application(record, facts, line, facts.tenant_id, whole)
            constant = {key: value for key, value in whole.items() if key in shape.sensitive or key not in context}
            line = line._replace(statement=statement, constant=constant, message=message)
        return line

    def _particular(
        self,
        record: ReadableLogRecord,
        facts: ResourceFacts,
        line: _Line,
        context: dict[str, Any],
        trace_id: str | None,
        traceparent: str | None,
        cuts: int,
    ) -> Converted:
        """A record whose values decide over more than its message and its context."""
        log, shape = record.log_record, line.shape
        # Sensitive values go first, so that nothing below can put one anywhere else.
        for key in shape.sensitive:
            context[key] = REDACTED
        nanoseconds = log.timestamp
        if type(nanoseconds) is not int or not EARLIEST <= nanoseconds <= self._times.latest:
            nanoseconds = self._times.best(log.timestamp, log.observed_timestamp)
            if log.timestamp and nanoseconds is not log.timestamp:
                add(self._cleaner, context, names.TIMESTAMP, log.timestamp)
        milliseconds = nanoseconds // 1_000_000
        timestamp = utc_text(nanoseconds)
        category = _category_of(log.event_name)
        event_id = tenant_id = correlation_id = causation_id = None
        if shape.special:
            category = take_category(context) or category
            event_id, tenant_id, correlation_id, causation_id = take_ids(context)
        own_ids = correlation_id is causation_id is None
        event_id = event_id or self._new_event_id(milliseconds)
        tenant_id = tenant_id or facts.tenant_id
        correlation_id = correlation_id or trace_id or event_id

        said: str | dict[str, str]
        if category == "application":
            statement, message = self._application(record, facts, line, tenant_id, context)
            said = message_of(self._cleaner, message if log.body is None else log.body)
        else:
            statement = self._statements.event(category, tenant_id, facts.service_name)
            said = event_fields(self._cleaner, category, context)
            keep_the_rest(self._cleaner, category, log, (tenant_id, *said.values(), timestamp), context)
        return Converted(
            statement,
            event_id,
            timestamp,
            milliseconds,
            correlation_id,
            causation_id or correlation_id,
            own_ids,
            traceparent,
            said,
            self._fit(shape, facts, context),
            cuts,
        )

    def _fit(self, shape: Shape, facts: ResourceFacts, context: dict[str, Any]) -> dict[str, Any]:
        """A context that may go out; most are fit for JSON as they are."""
        plain, texts, meant = shape.plain, shape.texts, shape.meant
        for name in shape.floats:
            if not math.isfinite(context[name]):
                plain = False
                break
        if meant and not meant.isdisjoint(context):  # as what is wrong stays
            plain = False
        if not plain or (texts is not None and True in map(HAS_URL, texts(context), URL_MARKS)):
            context = self._cleaner.clean_mapping(context)
        return {**facts.context, **context} if facts.context else context

    def _application(
        self, record: ReadableLogRecord, facts: ResourceFacts, line: _Line, tenant_id: str, context: dict[str, Any]
    ) -> tuple[Statement, str]:
        """An application log's statement, and its message without a body; what no field holds goes to the context."""
        log = record.log_record
        event_name = log.event_name
        code = take_id(context, names.CODE) if names.CODE in context else None
        if event_name is not None:
            event_name = event_name_of(self._cleaner, event_name, context)
            code = code or (event_name and identifier(event_name))
            if event_name and code != event_name:
                add(self._cleaner, context, names.EVENT_NAME, event_name)
        level, severity_text = line.severity or level_of(log.severity_number, log.severity_text)
        if severity_text is not None:
            add(self._cleaner, context, names.SEVERITY_TEXT, severity_text)
        scope = record.instrumentation_scope
        logger: Any = "" if scope is None else scope.name
        if not isinstance(logger, str) or len(logger) > MAX_ID_LENGTH:
            if logger:
                add(self._cleaner, context, names.SCOPE_NAME, logger)
            logger = ""
        statement = self._statements.application(
            tenant_id, facts.service_name, facts.instance_id, level, str.__str__(logger), code or UNSPECIFIED_CODE
        )
        return statement, event_name or ""


def _category_of(event_name: object) -> Category:
    return _CATEGORY_OF_EVENT.get(event_name, "application") if isinstance(event_name, str) else "application"
