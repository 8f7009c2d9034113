"""What the SDK's own limits have done to a record: what can be put back, what is refused, and what is marked.

The SDK keeps a number of attributes, of which it drops the oldest, and cuts texts that are longer than a length, where
that is set. Neither may decide whose a record is or what it says: of our own events that travels beside the attributes,
and of any other record what may have been cut is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.attributes import BoundedAttributes

from otel_kafka_exporter.errors import ConversionError

from . import attributes as names
from .scalars import unused_name

COUNT_SETTING = "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"
LENGTH_SETTING = "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"

_EVENT_FIELDS = (
    names.AUDIT_ACTION,
    names.AUDIT_ACTOR,
    names.AUDIT_RESOURCE,
    names.AUDIT_OUTCOME,
    names.SECURITY_EVENT_TYPE,
    names.SECURITY_USER_ID,
    names.SECURITY_RESOURCE,
    names.SECURITY_DECISION,
)
_DECISIVE = (
    names.CATEGORY,
    names.TENANT_ID,
    names.RECORD_UID,
    names.CORRELATION_ID,
    names.CAUSATION_ID,
    *_EVENT_FIELDS,
)
_EVENTS = (names.AUDIT_EVENT, names.SECURITY_EVENT)


class WholeLogRecord(LogRecord):
    """A log record that says beside its attributes what of them decides, where no limit of the SDK's cuts it.

    Other exporters see the attributes, as they are used to.

    Args:
        decisive: attributes that decide. They come after the others, because the SDK drops the first of too many.
        attributes: the others.
        **fields: as of OpenTelemetry's log record.

    Attributes:
        decisive: as above.
    """

    def __init__(self, decisive: Mapping[str, Any], attributes: Mapping[str, Any], **fields: Any) -> None:
        super().__init__(attributes={**attributes, **decisive}, **fields)
        self.decisive = decisive


def restore(log: object, attributes: BoundedAttributes, context: dict[str, Any]) -> int:
    """Put back what the SDK has cut or dropped of attributes that decide; how many of them were gone.

    What a processor has changed or taken away stays so, as it may have done that for privacy's sake.

    Args:
        log: a log record.
        attributes: what the SDK has made of its attributes.
        context: a copy of them; is changed.
    """
    gone = 0
    decisive = log.decisive if isinstance(log, WholeLogRecord) else {}
    for name, value in decisive.items():
        if name not in context:
            if attributes.dropped:
                context[name] = value
                gone += 1
        elif _at_limit(context[name], attributes.max_value_len) and str(value).startswith(context[name]):
            context[name] = value
    return gone


def mark_cuts(log: object, attributes: BoundedAttributes, context: dict[str, Any]) -> int:
    """Have a record's context say what the SDK has cut and dropped; how many values that are.

    Args:
        log: a log record.
        attributes: what the SDK has made of its attributes.
        context: a copy of them; is changed.

    Raises:
        ConversionError: what would decide may be cut, or among what was dropped.
    """
    dropped = attributes.dropped - restore(log, attributes, context)
    decisive = log.decisive if isinstance(log, WholeLogRecord) else {}
    longest = attributes.max_value_len
    cut = [name for name, value in context.items() if value is not decisive.get(name) and _holds_cut(value, longest)]
    for name in _DECISIVE:
        if name in cut:
            raise ConversionError(
                name,
                f"expected the whole value, got one of {longest} characters, which is as much as the SDK leaves of any."
                f" Raise {LENGTH_SETTING}.",
            )
    if dropped and not isinstance(log, WholeLogRecord):
        _refuse_guesses(log, dropped, context)
    if cut:
        context[unused_name(names.TRUNCATED_ATTRIBUTES, context)] = cut
    if dropped:
        context[unused_name(names.DROPPED_ATTRIBUTES, context)] = dropped
    return dropped + len(cut)


def _refuse_guesses(log: object, dropped: int, context: dict[str, Any]) -> None:
    """What an audit or security event does not say may be what was dropped of it: that is no reason to guess."""
    category = context.get(names.CATEGORY)
    is_event = getattr(log, "event_name", None) in _EVENTS
    if category is None and not is_event:
        missing = names.CATEGORY if any(name in context for name in _EVENT_FIELDS) else None
    else:
        missing = None if category == "application" or names.TENANT_ID in context else names.TENANT_ID
    if missing is not None:
        raise ConversionError(
            missing,
            f"expected it beside an event's other fields, got none, and the SDK has dropped {dropped} attributes. Raise"
            f" {COUNT_SETTING}, or pass fewer.",
        )


def _at_limit(value: object, longest: int | None) -> bool:
    """Whether a text is as long as the SDK leaves any: so it has been cut, or just fits, which nobody can tell."""
    return longest is not None and isinstance(value, str) and len(value) >= longest


def _holds_cut(value: Any, longest: int | None) -> bool:
    """Whether there is such a text anywhere in a value; the SDK has made it of mappings, tuples and plain values."""
    if longest is None:
        return False
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            if len(value) >= longest:
                return True
        elif isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, tuple):
            left += value
    return False
