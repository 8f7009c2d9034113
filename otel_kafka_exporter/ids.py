"""Event IDs: UUIDs of version 7 (RFC 9562, section 5.7), made from a record's own time.

Randomness is drawn in blocks: `os.urandom` releases the GIL, so that one call per record lets every other thread in
between, and it costs more than all the rest of an ID.
"""

from __future__ import annotations

import os
import uuid

_BLOCK = 512
_RANDOM_DIGITS = 20
_VARIANT = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}
_ULID_DIGITS = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}

# list.pop() is atomic, so that threads share the pool without a lock.
_pool: list[str] = []
# A child that went on with its parent's pool would make the parent's IDs again.
os.register_at_fork(after_in_child=_pool.clear)


def _draw() -> str:
    try:
        return _pool.pop()
    except IndexError:
        digits = os.urandom(_BLOCK * _RANDOM_DIGITS // 2).hex()
        _pool.extend(digits[at : at + _RANDOM_DIGITS] for at in range(_RANDOM_DIGITS, len(digits), _RANDOM_DIGITS))
        return digits[:_RANDOM_DIGITS]


def uuid7(milliseconds: int) -> str:
    """A new UUIDv7 in dashed form.

    Args:
        milliseconds: Unix time, 0 to 2**48 - 1.
    """
    time = f"{milliseconds:012x}"
    random = _draw()
    return f"{time[:8]}-{time[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"


def dashed(digits: str) -> str:
    """32 hexadecimal digits as a dashed UUID."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_event_id(text: str) -> str | None:
    """A caller's UUID or ULID as a dashed UUID; None for anything else."""
    if len(text) == 26:  # noqa: PLR2004 - a ULID's length
        return _parse_ulid(text.upper())
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def _parse_ulid(text: str) -> str | None:
    number = 0
    for character in text:
        digit = _ULID_DIGITS.get(character)
        if digit is None:
            return None
        number = number << 5 | digit
    return dashed(f"{number:032x}") if number < 1 << 128 else None
