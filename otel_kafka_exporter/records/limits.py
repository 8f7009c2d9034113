"""Envelopes that are too large: what is cut, in which order, and what is left in its place.

A context takes at most 64 KiB of JSON: its largest values go first, each replaced by
`{"otel.truncated": {"bytes": n, "sha256": "…"}}` of its JSON. A record takes as much as its setting says: a message
that is too long for it keeps its beginning, and the context says the same of it under `otel.truncated.message`; where
that would leave next to nothing of the message, more of the context goes. Fields that identify something are never
cut: an audit event whose actor does not fit is a conversion error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from otel_kafka_exporter.errors import ConversionError

from . import attributes as names
from .encoding import Encoding
from .envelope import Category, OnexEnvelopeV1
from .scalars import unused_name
from .strict_json import json_bytes

MAX_CONTEXT_BYTES = 64 * 1024
#: No smaller record limit is accepted: IDs, names and headers alone may take most of this.
MIN_RECORD_BYTES = 16 * 1024

#: Less of a message is not worth keeping while there is context to cut.
_LEAST_MESSAGE_BYTES = 1024
_MARKER_BYTES = 192


def fit(
    category: Category,
    envelope: OnexEnvelopeV1,
    value: bytes,
    room: int,
    encoding: Encoding,
) -> tuple[bytes, int]:
    """The envelope's bytes within the limits, and how many of its values were cut.

    Args:
        category: its category.
        envelope: the envelope; not changed.
        value: its bytes as they are.
        room: how many bytes it may have.
        encoding: how it is written.

    Raises:
        ConversionError: its fields alone take more than there is room for.
    """
    payload: dict[str, Any] = dict(envelope.payload)
    message = payload.get("message", "")

    def encoded() -> bytes:
        return encoding.encode(envelope._replace(payload=payload))

    payload["context"], cuts = cut_context(payload["context"], MAX_CONTEXT_BYTES)
    if cuts:
        value = encoded()
    least = _LEAST_MESSAGE_BYTES
    while len(value) > room:
        message_bytes = encoding.text_size(message)
        for_message = room - (len(value) - message_bytes) - _MARKER_BYTES
        if message and for_message >= least:
            payload["message"] = _beginning(message, for_message, encoding.text_size)
            # The marker counts too.
            context, more = cut_context(payload["context"], MAX_CONTEXT_BYTES - _MARKER_BYTES)
            payload["context"] = {**context, unused_name(names.TRUNCATED_MESSAGE, context): _marker(message)}
            return encoded(), cuts + more + 1
        context_bytes = len(json_bytes(payload["context"]))
        if least == 0 and context_bytes <= _MARKER_BYTES:
            break
        keep = min(message_bytes, _LEAST_MESSAGE_BYTES) + _MARKER_BYTES - message_bytes if message else 0
        # In another encoding than JSON that much of the context may be more or less than it should be.
        payload["context"], more = cut_context(payload["context"], context_bytes - (len(value) + keep - room))
        cuts += more
        value = encoded()
        least = 0
    if len(value) <= room:
        return value, cuts
    largest = max((key for key in payload if key != "context"), key=lambda key: len(payload[key]))
    raise ConversionError(
        f"omni.{category}.{largest}",
        f"expected a record of at most {room:,} bytes beside key and headers, got {len(value):,} with all else cut",
    )


def cut_context(context: dict[str, Any], limit: int) -> tuple[dict[str, Any], int]:
    """A context of at most `limit` bytes of JSON, and how many values were cut; the same one when it fits."""
    whole = json_bytes(context)
    if len(whole) <= limit:
        return context, 0
    cut = dict(context)
    size = len(whole)
    sizes = {key: len(json_bytes(value)) for key, value in context.items()}
    for count, key in enumerate(sorted(sizes, key=lambda key: -sizes[key]), start=1):
        marker = _marker(context[key])
        cut[key] = marker
        size += len(json_bytes(marker)) - sizes[key]
        if sizes[key] <= _MARKER_BYTES:
            break  # this and the ones to come are no larger than what would replace them
        if size <= limit:
            return cut, count
    # Too many small values, or keys that are large themselves: none is more worth keeping than the others.
    return _marker(context), len(context)


def _marker(value: Any) -> dict[str, Any]:
    encoded = json_bytes(value)
    return {names.TRUNCATED: {"bytes": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}}


def _beginning(text: str, size: int, size_of: Callable[[str], int]) -> str:
    """A beginning of `text` that takes at most `size` bytes; not always the longest, but found quickly."""
    length = len(text)
    while length and (taken := size_of(text[:length])) > size:
        length = min(length * size // taken, length - 1)
    return text[:length]
