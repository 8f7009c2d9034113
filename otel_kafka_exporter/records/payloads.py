"""What a payload says of a log record: a message, or an event's four fields; what no field holds goes to the context.

Contexts are changed here: a field's attribute is taken out of its context, and what else there is to say is put in.
"""

from __future__ import annotations

from typing import Any

import orjson

from . import attributes as names
from .envelope import Category
from .fields import required_choice, required_text
from .redaction import REDACTED
from .scalars import clean_text, unused_name
from .secret_texts import URL_MARK, hide_userinfo
from .values import Cleaner

_USUAL_EVENT_NAME = {"audit": names.AUDIT_EVENT, "security": names.SECURITY_EVENT}


def add(cleaner: Cleaner, context: dict[str, Any], name: str, value: object) -> None:
    """Put what no field holds into a context; an attribute that has the name already stays."""
    hidden = cleaner.is_sensitive(name)
    context[unused_name(name, context)] = REDACTED if hidden else cleaner.clean(value)


def event_name_of(cleaner: Cleaner, event_name: object, context: dict[str, Any]) -> str | None:
    """An event's name when it is text; of another type, it goes to the context."""
    if isinstance(event_name, str):
        text = str.__str__(event_name)
        if not text.isascii() or "\0" in text:
            text = clean_text(text)  # as it will be read: what comes back by OTLP is the same event
        return hide_userinfo(text) if URL_MARK in text else text
    if event_name is not None:
        add(cleaner, context, names.EVENT_NAME, event_name)
    return None


def message_of(cleaner: Cleaner, body: object) -> str:
    """A body as text; what is no text becomes compact JSON."""
    if isinstance(body, str):
        return cleaner.text(str.__str__(body))
    return orjson.dumps(cleaner.clean(body)).decode()


def event_fields(cleaner: Cleaner, category: Category, context: dict[str, Any]) -> dict[str, str]:
    """The four fields of an audit or a security event, taken out of its context.

    Raises:
        ConversionError: one is missing or wrong.
    """
    if category == "audit":
        return {
            "action": required_text(cleaner, context, names.AUDIT_ACTION),
            "actor": required_text(cleaner, context, names.AUDIT_ACTOR),
            "resource": required_text(cleaner, context, names.AUDIT_RESOURCE),
            "outcome": required_choice(context, names.AUDIT_OUTCOME, names.OUTCOMES),
        }
    return {
        "event_type": required_text(cleaner, context, names.SECURITY_EVENT_TYPE),
        "user_id": required_text(cleaner, context, names.SECURITY_USER_ID),
        "resource": required_text(cleaner, context, names.SECURITY_RESOURCE),
        "decision": required_choice(context, names.SECURITY_DECISION, names.DECISIONS),
    }


def keep_the_rest(
    cleaner: Cleaner, category: Category, log: Any, said: tuple[str, ...], context: dict[str, Any]
) -> None:
    """Put into an event's context what its payload has no field for: an event name, a body."""
    event_name = event_name_of(cleaner, log.event_name, context)
    if event_name and event_name != _USUAL_EVENT_NAME[category]:
        add(cleaner, context, names.EVENT_NAME, event_name)
    message = None if log.body is None else message_of(cleaner, log.body)
    if message and message != event_name and message not in said:
        add(cleaner, context, names.BODY if names.MESSAGE in context else names.MESSAGE, message)
