"""Where bytes stop being a Protobuf message, which the runtime does not say.

The rules are those of Protobuf's wire format: a tag is a field's number and one of six types, of which two are groups.
"""

from __future__ import annotations

from typing import Any

_VARINT, _I64, _LEN, _START, _END, _I32 = range(6)
_LONGEST_VARINT = 10
_DEEPEST = 100


class _Fault(Exception):  # noqa: N818 - where, and what was expected
    pass


def fault(data: bytes, start: int, descriptor: Any) -> str:
    """What is wrong with bytes that a runtime has refused.

    Args:
        data: the bytes.
        start: where the message begins.
        descriptor: the message's descriptor.
    """
    try:
        _message(data, start, len(data), descriptor, 0)
    except _Fault as found:
        return f"expected Protobuf: {found}"
    return f"expected Protobuf, got {len(data)} bytes of something else"


def _message(data: bytes, at: int, end: int, descriptor: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise _Fault(f"expected at most {_DEEPEST} messages in each other, got more at byte {at}")
    while at < end:
        begin = at
        tag, at = _varint(data, at, end, "a field's tag")
        number, kind = tag >> 3, tag & 7
        field = descriptor.fields_by_number.get(number) if descriptor is not None else None
        if number == 0 or kind > _I32:
            raise _Fault(f"expected a field's tag, got {data[begin]:#04x} at byte {begin}")
        if kind == _VARINT:
            _, at = _varint(data, at, end, "a number")
        elif kind == _LEN:
            length, at = _varint(data, at, end, "a length")
            if length > end - at:
                raise _Fault(f"expected {length} bytes at byte {at}, got {end - at}")
            if field is not None:
                _content(data, at, at + length, field, depth)
            at += length
        elif kind in (_I32, _I64):
            size = 4 if kind == _I32 else 8
            if size > end - at:
                raise _Fault(f"expected {size} bytes at byte {at}, got {end - at}")
            at += size
        else:
            raise _Fault(f"expected no group, got one at byte {begin}")


def _content(data: bytes, at: int, end: int, field: Any, depth: int) -> None:
    if field.message_type is not None:
        _message(data, at, end, field.message_type, depth + 1)
    elif field.type == field.TYPE_STRING:
        try:
            data[at:end].decode()
        except UnicodeDecodeError as error:
            raise _Fault(f"expected UTF-8 in {field.name}, got something else at byte {at + error.start}") from None


def _varint(data: bytes, at: int, end: int, what: str) -> tuple[int, int]:
    number = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= end:
            raise _Fault(f"expected {what} at byte {at}, got the end")
        byte = data[at + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return number, at + index + 1
    raise _Fault(f"expected {what} at byte {at}, got more than {_LONGEST_VARINT} bytes of one")
