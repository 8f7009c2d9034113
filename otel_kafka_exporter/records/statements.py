"""What a log statement repeats, worked out once: encoded text with gaps, which a record fills.

Nearly all of an envelope is the same for all records of one place in the code: who logs, how severe it is, under which
code. A `Statement` is that part. A `Converted` is one record of it: the values for the gaps. JSON is written from the
two by putting texts together; the envelope as an object is made of the same two only where one is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from .envelope import CATEGORIES, Category, Level, OnexEnvelopeV1
from .strict_json import BACKSLASH, NUL, json_bytes

#: Past these they are made again: tenants and codes come from applications, and some invent new ones for ever.
_MOST = 1024


@dataclass(eq=False, slots=True)  # equal is only the same; not frozen, which would make making one three times as dear
class Origin:
    """Whose records these are, as values and as JSON: what all their statements share. Never changed once it is made.

    Attributes:
        category: their category.
        event_type: as in the envelope, like all up to `schema_ref`.
        tenant_id: whose they are.
        namespace: the first part of the event type.
        source: the service's name.
        schema_ref: names the schema.
        instance_id: of application logs; empty for events.
        before_event_id: JSON from the beginning to the gap for the event ID.
        before_correlation: JSON between the gaps for the timestamp and the correlation ID.
        before_said: JSON between the gap for the causation ID and what the payload says, or how severe that is.
    """

    category: Category
    event_type: str
    tenant_id: str
    namespace: str
    source: str
    schema_ref: str
    instance_id: str
    before_event_id: str
    before_correlation: str
    before_said: str


@dataclass(eq=False, slots=True)
class Statement:
    """The part of an envelope that does not change, as values and as JSON. Never changed once it is made.

    Attributes:
        origin: whose records these are.
        level: of an application log, like all up to `code`: how severe.
        logger: who logs.
        code: what it is about.
        before_event_id: as the origin's.
        before_correlation: as the origin's.
        before_said: JSON between the gaps for the causation ID and for what the payload says.
        before_context: JSON between the gaps for what the payload says and the context.
    """

    origin: Origin
    level: Level
    logger: str
    code: str
    before_event_id: str
    before_correlation: str
    before_said: str
    before_context: bytes


class Converted(NamedTuple):
    """A record on its way to Kafka: its statement, and what fills the gaps.

    Attributes:
        statement: what it has in common with others.
        event_id: a dashed UUID.
        timestamp: as in the envelope.
        milliseconds: the same moment, in Unix milliseconds.
        correlation_id: what belongs together.
        causation_id: what led to this.
        own_ids: whether both are made by us, of hexadecimal digits and dashes.
        traceparent: as W3C has it; None without both a trace and a span ID.
        said: an application log's message; of an event its four fields, by their names and in the payload's order.
        context: of JSON's types, redacted.
        cuts: how many values the SDK's limits have cut or dropped.
    """

    statement: Statement
    event_id: str
    timestamp: str
    milliseconds: int
    correlation_id: str
    causation_id: str
    own_ids: bool
    traceparent: str | None
    said: str | dict[str, str]
    context: dict[str, Any]
    cuts: int = 0

    @property
    def category(self) -> Category:
        """Its category."""
        return self.statement.origin.category

    @property
    def envelope(self) -> OnexEnvelopeV1:
        """A new envelope object."""
        statement, said = self.statement, self.said
        origin = statement.origin
        payload: dict[str, Any]
        if isinstance(said, str):
            payload = {
                "service_name": origin.source,
                "instance_id": origin.instance_id,
                "level": statement.level,
                "logger": statement.logger,
                "message": said,
                "code": statement.code,
                "context": self.context,
            }
        else:
            payload = {"tenant_id": origin.tenant_id, **said, "timestamp": self.timestamp, "context": self.context}
        return OnexEnvelopeV1(
            origin.event_type,
            self.event_id,
            self.timestamp,
            origin.tenant_id,
            origin.namespace,
            origin.source,
            self.correlation_id,
            self.causation_id,
            origin.schema_ref,
            payload,
        )


def write_json(converted: Converted) -> bytes:
    """The record's envelope as strict JSON, with the envelope's order of keys."""
    statement, event_id, timestamp, _, correlation_id, causation_id, own_ids, _, said, context, _ = converted
    if not own_ids:
        correlation_id, causation_id = _inside(correlation_id), _inside(causation_id)
    head = (
        f'{statement.before_event_id}{event_id}","timestamp":"{timestamp}{statement.before_correlation}{correlation_id}'
        f'","causation_id":"{causation_id}{statement.before_said}'
    ).encode()
    is_text = type(said) is str
    between = statement.before_context
    if not is_text:
        between = b',"timestamp":"%b"%b' % (timestamp.encode(), between)
    try:
        encoded = orjson.dumps(said)
        value = b"".join((head, encoded if is_text else encoded[1:-1], between, orjson.dumps(context), b"}}"))
        if BACKSLASH not in value or NUL not in value:
            return value
    except TypeError:
        pass  # as there may be a NUL: `json_bytes` finds out what it is, and where
    encoded = json_bytes(said)
    return b"".join((head, encoded if is_text else encoded[1:-1], between, json_bytes(context), b"}}"))


class _Kind(NamedTuple):
    """What is the same for all of a category: values, and pieces of JSON."""

    event_type: str
    schema_ref: str
    before_event_id: str
    before_source: str
    before_payload: str


class Statements:
    """The statements of one namespace that were seen. Threads may share one: at worst one is made twice.

    Args:
        namespace: the first part of the event type.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._known: dict[tuple[str, ...], Statement] = {}
        self._origins: dict[tuple[str, ...], Origin] = {}
        self._kinds: dict[Category, _Kind] = {}
        for category in CATEGORIES:
            kind, schema_ref = event_type(namespace, category), f"registry://{namespace}/logging/{category}/v1"
            self._kinds[category] = _Kind(
                kind,
                schema_ref,
                f'{{"event_type":{_text(kind)},"event_id":"',
                f',"namespace":{_text(namespace)},"source":',
                f'","schema_ref":{_text(schema_ref)},"payload":{{',
            )

    def application(
        self, tenant_id: str, service_name: str, instance_id: str, level: Level, logger: str, code: str
    ) -> Statement:
        """The statement of an application log."""
        key = (tenant_id, service_name, instance_id, level, logger, code)
        found = self._known.get(key)
        if found is None:
            origin = self._origin("application", tenant_id, service_name, instance_id)
            before_said = f'{origin.before_said}"level":"{level}","logger":{_text(logger)},"message":'
            found = self._made(origin, level, logger, code, before_said, f',"code":{_text(code)},"context":')
            self._keep(key, found)
        return found

    def event(self, category: Category, tenant_id: str, source: str) -> Statement:
        """The statement of an audit or a security event."""
        key = (category, tenant_id, source)
        found = self._known.get(key)
        if found is None:
            origin = self._origin(category, tenant_id, source, "")
            found = self._made(origin, "INFO", "", "", origin.before_said, ',"context":')
            self._keep(key, found)
        return found

    def _made(
        self, origin: Origin, level: Level, logger: str, code: str, before_said: str, before_context: str
    ) -> Statement:
        context = before_context.encode()
        beginning, before_correlation = origin.before_event_id, origin.before_correlation
        return Statement(origin, level, logger, code, beginning, before_correlation, before_said, context)

    def _keep(self, key: tuple[str, ...], statement: Statement) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = statement

    def _origin(self, category: Category, tenant_id: str, source: str, instance_id: str) -> Origin:
        key = (category, tenant_id, source, instance_id)
        found = self._origins.get(key)
        if found is not None:
            return found
        kind, schema_ref, beginning, before_source, before_payload = self._kinds[category]
        tenant, service = _text(tenant_id), _text(source)
        if category == "application":
            before_said = f'{before_payload}"service_name":{service},"instance_id":{_text(instance_id)},'
        else:
            before_said = f'{before_payload}"tenant_id":{tenant},'
        before_correlation = f'","tenant_id":{tenant}{before_source}{service},"correlation_id":"'
        values = (category, kind, tenant_id, self._namespace, source, schema_ref, instance_id)
        if len(self._origins) >= _MOST:
            self._origins.clear()
        found = self._origins[key] = Origin(*values, beginning, before_correlation, before_said)
        return found


def event_type(namespace: str, category: Category) -> str:
    """The event type of a category, which is also its topic without the prefix."""
    return f"{namespace}.logging.{category}.v1"


def _text(text: str) -> str:
    return json_bytes(text).decode()


def _inside(text: str) -> str:
    """A text as JSON has it between the quotes."""
    return json_bytes(text)[1:-1].decode()
