"""JSON that every reader takes: strict (RFC 8259), in UTF-8, without what readers and databases refuse."""

from __future__ import annotations

from typing import Any

import orjson

from .scalars import clean_int, clean_text, unused_name

#: Looked for as a number, a byte is found many times faster than as bytes; most records have no backslash at all.
BACKSLASH = 92
#: NUL as orjson writes it; also a backslash and what looks like one, so that it has to be looked at again.
NUL = b"\\u0000"


def json_bytes(value: Any) -> bytes:
    """`value`, of JSON's types and with finite numbers, as strict JSON.

    What JSON's readers refuse of a text or an integer is replaced: NUL and lone surrogates by U+FFFD, integers beyond
    64 bits by their text.
    """
    try:
        encoded = orjson.dumps(value)
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, or a key of a text's subclass
        return orjson.dumps(strict(value))
    if BACKSLASH in encoded and NUL in encoded:
        return orjson.dumps(strict(value))
    return encoded


def strict(value: Any) -> Any:
    """`value` without what JSON's readers refuse."""
    if isinstance(value, str):
        return clean_text(str.__str__(value))
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for key, element in value.items():
            members[unused_name(clean_text(str.__str__(key)), members)] = strict(element)
        return members
    if isinstance(value, (list, tuple)):
        return [strict(element) for element in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return clean_int(value)
    return value
