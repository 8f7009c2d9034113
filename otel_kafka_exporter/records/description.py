"""Kafka records in words, for people: who logged it, how large it is, in text that a terminal does not act on."""

from __future__ import annotations

from typing import Any

import orjson

from . import attributes
from .kafka_record import KafkaRecord

_SHOWN = 200


def printable(text: str) -> str:
    """A text in one line that no terminal and no log takes for anything else: escapes for whatever is not visible."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def size_of(record: KafkaRecord) -> int:
    """The bytes of a record's key, headers and value: what `max_record_bytes` bounds."""
    headers = sum(len(name.encode()) + len(text or b"") for name, text in record.headers)
    return len(record.key or b"") + headers + len(record.value)


def logger_of(record: KafkaRecord) -> str:
    """Who logged a record or a dead letter; empty where its value does not tell."""
    try:
        document: Any = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(document, dict):
        return ""
    payload = document.get("payload")
    inner = payload if isinstance(payload, dict) else {}
    context = inner.get("context")
    context = context if isinstance(context, dict) else {}
    found = (
        *(inner.get("logger"), context.get(attributes.SCOPE_NAME)),
        *(document.get("scope"), document.get("logger_name")),  # of dead letters that could not be converted
    )
    return next((each for each in found if isinstance(each, str) and each), "")


def describe(record: KafkaRecord) -> str:
    """A record in a line about it: its event ID, its logger, its size."""
    event_id, logger = record.event_id or "without an ID", logger_of(record) or "unknown"
    return f"event {printable(event_id)[:_SHOWN]}, logger {printable(logger)[:_SHOWN]}, {size_of(record):,} bytes"
