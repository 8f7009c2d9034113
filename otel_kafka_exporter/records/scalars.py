"""One text, number or name as JSON can carry it; what has parts is walked by `values`."""

from __future__ import annotations

import math
import re
from collections.abc import Container

from otel_kafka_exporter.process import is_interruption

NOT_JSON_TEXT = re.compile("[\x00\ud800-\udfff]")
#: What 64 bits hold, with or without a sign.
ALL_INTEGERS = (-(2**63), 2**64 - 1)
#: What JavaScript and jq read as it is written (`Number.MIN_SAFE_INTEGER` to `Number.MAX_SAFE_INTEGER`).
EXACT_INTEGERS = (-(2**53) + 1, 2**53 - 1)


def clean_text(text: str) -> str:
    """`text` without what JSON's readers and databases refuse: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\0" not in text:  # as nearly all are, which is asked many times faster
        return text
    return NOT_JSON_TEXT.sub("\ufffd", text)


def clean_int(number: int, bounds: tuple[int, int] = ALL_INTEGERS) -> int | str:
    """`number`, or its text when it is not within the bounds."""
    least, most = bounds
    if least <= number <= most:
        return number
    try:
        return str(number)
    except ValueError:  # above sys.get_int_max_str_digits(), which bounds a quadratic conversion; hex() is linear
        return hex(number)


def clean_float(number: float) -> float | str:
    """`number`, or its text when it is not finite."""
    return number if math.isfinite(number) else str(number)


def unused_name(name: str, used: Container[str]) -> str:
    """`name`, or one with `_` or `-` behind it: two keys of Python can be one of JSON, as 1 and "1" are.

    Such a name has the same words, so that it is as sensitive as the one that it stands for.
    """
    if name not in used:
        return name
    # Doubling and halving, because a mapping may have a great many such keys.
    free = 1
    while name + _suffix(free) in used:
        free *= 2
    taken = free // 2
    while free - taken > 1:
        middle = (taken + free) // 2
        if name + _suffix(middle) in used:
            taken = middle
        else:
            free = middle
    return name + _suffix(free)


def _suffix(number: int) -> str:
    """The number-th text of these two characters: `_`, `-`, `__`, `_-`, …"""
    suffix = ""
    while number:
        number -= 1
        suffix = "_-"[number & 1] + suffix
        number >>= 1
    return suffix


name_of_type = type.__dict__["__name__"].__get__  # a metaclass may have a __name__ of its own, which may raise


def text_of(value: object) -> str:
    """`str(value)`, or a marker that names the type when the value cannot say."""
    try:
        return clean_text(str(value))
    except BaseException as error:  # application code runs here, and its sys.exit() would end the export thread
        if is_interruption(error):
            raise
        return f"[UNPRINTABLE {name_of_type(type(value))}]"
