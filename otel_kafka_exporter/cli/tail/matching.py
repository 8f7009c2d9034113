"""Expressions to functions: over a record as it was read, over its bytes, and over its decoded value.

What a record's headers, key and topic decide costs no decoding, and nor does a value that lacks the very bytes that an
expression asks for. Both only ever refuse what the decoded value would refuse as well.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from .expression import LEVELS, And, Comparison, Expression, Found, Literal, Match, Not, Or
from .fields import MISSING, UNKNOWN, Field, early_of
from .record import Record, category_of

Decision = Callable[[Record], "bool | None"]
# Parts of a pattern. Of escapes, those of letters and digits from their numbers may stand for a letter.
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_UNKNOWN_ESCAPE = re.compile(r"\\[^AbBdDsSwWZ\W_]")
_SET = re.compile(r"\[\^?\]?[^\]]*\]")
_GROUP = re.compile(r"\([^()]*\)")
_ONE_GROUP = re.compile(r"\((?:\?:)?([^()?][^()]*)\)")
_LETTERS = re.compile(r"[A-Za-z]+[?*{]?")
_LEAST_LETTERS = 3
_WORDS = ("true", "false", "null", "none", "nan", "inf", "infinity", "success", "failure", "allow", "deny")


class Needles(NamedTuple):
    """Texts of which one at least stands in the bytes of each value that matches.

    Attributes:
        json: in UTF-8, where the value is JSON.
        protobuf: likewise; none where its bytes do not tell.
    """

    json: tuple[bytes, ...]
    protobuf: tuple[bytes, ...]


def whole(expression: Expression) -> Callable[[Record], bool]:
    """Whether an expression holds for a record whose value was looked at."""
    decide = _compiled(expression, lambda each: each.of, lambda pattern: lambda record: _is_found(pattern, record))
    return lambda record: decide(record) is True


def early(expression: Expression) -> Decision:
    """The same before that: None where only the decoded value tells."""
    return _compiled(expression, early_of, lambda _pattern: lambda _record: None)


def lacks(needles: list[Needles], value: bytes) -> bool:
    """Whether a value surely does not match, because of what does not stand in it."""
    is_json = value[:1] == b"{"
    for json, protobuf in needles:
        texts = json if is_json else protobuf
        if texts and not any(text in value for text in texts):
            # Behind a backslash JSON may write any character otherwise; behind blanks either may begin.
            return b"\\" not in value if is_json else value.lstrip()[:1] != b"{"
    return False


def needles_of(expression: Expression) -> list[Needles]:
    """What has to stand in the bytes of a value that matches."""
    if isinstance(expression, And):
        return [each for part in expression.parts for each in needles_of(part)]
    if isinstance(expression, Or):
        found = [needles_of(part) for part in expression.parts]
        if not all(found):
            return []
        json, protobuf = ([needles[0][encoding] for needles in found] for encoding in (0, 1))
        return [Needles(_chained(json), _chained(protobuf) if all(protobuf) else ())]
    if isinstance(expression, Comparison):
        return _compared_needles(expression)
    if isinstance(expression, Found):
        return _found_needles(expression.pattern)
    return []


def _found_needles(pattern: re.Pattern[str]) -> list[Needles]:
    """Of each alternative of a pattern, the most letters in a row that it is not found without."""
    if pattern.flags & (re.IGNORECASE | re.VERBOSE) or any(
        _UNKNOWN_ESCAPE.match(each) for each in _ESCAPE.findall(pattern.pattern)
    ):
        return []
    text = _SET.sub(" ", _ESCAPE.sub(" ", pattern.pattern))
    if one := _ONE_GROUP.fullmatch(text):
        text = one[1]
    while (less := _GROUP.sub(" ", text)) != text:  # what is in a group may be optional, or what is not to be there
        text = less
    alternatives = [
        max(filter(_stands_as_it_is, map(_always, _LETTERS.findall(each))), key=len, default="").encode()
        for each in text.split("|")
    ]
    if not all(alternatives):
        return []
    # Lists and objects are searched as JSON, in which a new line is an n: the first letter may be such a one.
    return [Needles(tuple(alternatives), tuple(text[1:] for text in alternatives))]


def _always(letters: str) -> str:
    """Letters without the last one, if that need not be there."""
    return letters[:-2] if letters[-1] in "?*{" else letters


def _stands_as_it_is(letters: str) -> bool:
    """Whether letters that are found come from a text, and not from a number or a word that Protobuf has none of."""
    return len(letters) >= _LEAST_LETTERS and not any(letters.lower() in word for word in _WORDS)


def _chained(texts: list[tuple[bytes, ...]]) -> tuple[bytes, ...]:
    return tuple(itertools.chain.from_iterable(texts))


def _compared_needles(comparison: Comparison) -> list[Needles]:
    subject, operator, value = comparison
    if subject.name == "level":
        names = [name for name in ("DEBUG", "INFO", "WARN", "ERROR") if _compare(subject, operator, value)(name)]
        return [Needles(tuple(name.encode() for name in names), ())] if names else []
    plain = isinstance(value, str) and value and value.isprintable() and not set(value) & set('"\\/')
    if operator != "=" or not plain or not (subject.literal or subject.word):
        return []
    texts = (str(value).encode("utf-8", "replace"),)
    return [Needles(texts, () if subject.word else texts)]


def _compiled(
    expression: Expression,
    getter: Callable[[Field], Callable[[Record], Any]],
    found: Callable[[re.Pattern[str]], Decision],
) -> Decision:
    if isinstance(expression, (And, Or)):
        parts = [_compiled(part, getter, found) for part in expression.parts]
        return _any(parts) if isinstance(expression, Or) else _all(parts)
    if isinstance(expression, Not):
        part = _compiled(expression.part, getter, found)

        def contrary(record: Record) -> bool | None:
            decided = part(record)
            return None if decided is None else not decided

        return contrary
    if isinstance(expression, Found):
        return found(expression.pattern)
    if isinstance(expression, Comparison):
        test = _compare(*expression)
    elif isinstance(expression, Match):
        test = _matches(expression.pattern)
    else:
        test = _is_present
    get = getter(expression.field)

    def decision(record: Record) -> bool | None:
        value = get(record)
        return None if value is UNKNOWN else test(value)

    return decision


def _all(parts: list[Decision]) -> Decision:
    def decision(record: Record) -> bool | None:
        result: bool | None = True
        for part in parts:
            decided = part(record)
            if decided is False:
                return False
            if decided is None:
                result = None
        return result

    return decision


def _any(parts: list[Decision]) -> Decision:
    def decision(record: Record) -> bool | None:
        result: bool | None = False
        for part in parts:
            decided = part(record)
            if decided is True:
                return True
            if decided is None:
                result = None
        return result

    return decision


def _is_present(value: Any) -> bool:
    return value is not MISSING and value is not None


def _compare(subject: Field, operator: str, wanted: Literal) -> Callable[[Any], bool]:
    if subject.name == "level" and isinstance(wanted, str):
        rank = LEVELS[wanted]
        return lambda value: isinstance(value, str) and value in LEVELS and _ordered(operator, LEVELS[value], rank)
    if operator == "=":
        return lambda value: _equal(value, wanted)
    return lambda value: _less_or_more(operator, value, wanted)


def _equal(value: Any, wanted: Literal) -> bool:
    if wanted is None:
        return value is None or value is MISSING
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted or (isinstance(wanted, str) and text_of(value) == wanted)
    if isinstance(wanted, float):
        return number_of(value) == wanted
    return value == wanted if isinstance(value, str) else value is not MISSING and text_of(value) == wanted


def _less_or_more(operator: str, value: Any, wanted: Literal) -> bool:
    if isinstance(wanted, float):
        number = number_of(value)
        return number is not None and _ordered(operator, number, wanted)
    return isinstance(value, str) and isinstance(wanted, str) and _ordered(operator, value, wanted)


def _ordered(operator: str, left: Any, right: Any) -> bool:
    if operator == "=":
        return bool(left == right)
    if operator[0] == "<":
        return bool(left < right) or (operator == "<=" and bool(left == right))
    return bool(left > right) or (operator == ">=" and bool(left == right))


def number_of(value: Any) -> float | None:
    """A number, or a text that is one; None for all else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def text_of(value: Any) -> str:
    """A value as a text; one that is none as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=dict).decode()  # a part of Protobuf, unless it was decoded
    except TypeError:  # an integer beyond 64 bits, of another writer
        return str(value)


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: value is not MISSING and pattern.search(text_of(value)) is not None


def _is_found(pattern: re.Pattern[str], record: Record) -> bool:
    return any(map(pattern.search, texts_of(record)))


_READ = {
    "application": ("message", "service_name", "logger", "code"),
    "audit": ("actor", "action", "resource", "outcome"),
    "security": ("user_id", "event_type", "resource", "decision"),
}


def texts_of(record: Record) -> Iterator[str]:
    """What a person reads of a record: its fields, and `key=value` of its context."""
    if record.view is None:
        yield record.problem
        return
    payload: Mapping[str, Any] = record.view.payload
    for name in _READ[category_of(record.view.event_type)]:
        yield text_of(payload.get(name, ""))
    for key, value in payload["context"].items():
        yield f"{key}={value if type(value) is str else text_of(value)}"  # most are
