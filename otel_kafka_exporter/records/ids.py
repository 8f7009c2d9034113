"""Event IDs: UUIDs of version 7 (RFC 9562, section 5.7), made from a record's own time."""

from __future__ import annotations

import re
import uuid

from otel_kafka_exporter.process import chance

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")
# 128 of its 130 bits count.
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_ULID_DIGITS = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}


#: The first digit of the part that has two bits of the variant, by the other two as a digit.
_VARIANT = {"0": "8", "1": "9", "2": "a", "3": "b"}
_random_bits = chance.getrandbits
_millisecond = (0, "00000000-0000-7")


def uuid7(milliseconds: int) -> str:
    """A new UUIDv7 in dashed form.

    Args:
        milliseconds: Unix time, 0 to 2**48 - 1.
    """
    global _millisecond  # noqa: PLW0603 - records come many to a millisecond; one tuple, replaced whole, needs no lock
    known, beginning = _millisecond
    if known != milliseconds:
        beginning = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7"
        _millisecond = (milliseconds, beginning)
    digits = _random_bits(74).to_bytes(10, "big").hex()  # it has to be unique, not secret
    return f"{beginning}{digits[2:5]}-{_VARIANT[digits[1]]}{digits[5:8]}-{digits[8:]}"


def dashed(digits: str) -> str:
    """32 hexadecimal digits as a dashed UUID."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_event_id(text: str) -> str | None:
    """A caller's UUID or ULID as a dashed UUID; None for anything else."""
    if _UUID.fullmatch(text):
        return str(uuid.UUID(text))
    return _parse_ulid(text.upper()) if _ULID.fullmatch(text) else None


def _parse_ulid(text: str) -> str:
    number = 0
    for character in text:
        number = number << 5 | _ULID_DIGITS[character]
    return dashed(f"{number:032x}")
