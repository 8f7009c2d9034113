"""Which records are shown: the options for filtering, as one expression, and that as a decision in three steps."""

from __future__ import annotations

import enum
import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from otel_kafka_exporter.records import Category

from . import matching
from .expression import And, Comparison, Expression, Found, Match, Not, all_of, any_of
from .fields import field, of_category
from .record import Record

#: An abbreviated correlation ID has so many characters at least.
_LEAST_ABBREVIATION = 6
_WILDCARDS = re.compile(r"[*?\[]")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


class Filters(NamedTuple):
    """What the options for filtering say.

    Attributes:
        category: one of these.
        service: one of these names, in which `*` and `?` stand for any characters.
        tenant: likewise.
        level: this one or a more severe one.
        logger: as `service`.
        code: likewise.
        actor: likewise; the user of a security event.
        action: likewise; the kind of a security event.
        correlation_id: this one, or its beginning or its end.
        grep: each of these patterns is found.
        exclude: and none of these.
        query: and these expressions hold.
    """

    category: Sequence[str] = ()
    service: Sequence[str] = ()
    tenant: Sequence[str] = ()
    level: str | None = None
    logger: Sequence[str] = ()
    code: Sequence[str] = ()
    actor: Sequence[str] = ()
    action: Sequence[str] = ()
    correlation_id: Sequence[str] = ()
    grep: Sequence[re.Pattern[str]] = ()
    exclude: Sequence[re.Pattern[str]] = ()
    query: Sequence[Expression] = ()

    def expression(self) -> Expression | None:
        """All of them as one; None where nothing is asked for."""
        parts: list[Expression] = []
        if self.category:
            parts.append(any_of([Comparison(field("category"), "=", each) for each in self.category]))
        named = ((name, getattr(self, name)) for name in ("tenant", "service", "logger", "code", "actor", "action"))
        parts += [any_of([_named(name, each) for each in wanted]) for name, wanted in named if wanted]
        if self.correlation_id:
            parts.append(any_of([_correlated(each) for each in self.correlation_id]))
        if self.level is not None:
            parts.append(Comparison(field("level"), ">=", self.level.upper()))
        parts += self.query
        parts += [Found(pattern) for pattern in self.grep]
        parts += [Not(Found(pattern)) for pattern in self.exclude]
        return all_of(parts)


class Verdict(enum.Enum):
    """What becomes of a record."""

    NO = "not shown"
    YES = "shown"
    UNDECODABLE = "its value is no envelope, and so cannot be shown as one"
    UNDECODABLE_NO = "its value is no envelope, and what was asked for cannot be told of it"


class Selection:
    """Decides over records.

    Args:
        expression: what holds for those that are shown; None shows all.
    """

    def __init__(self, expression: Expression | None) -> None:
        self._expression = expression
        self._early = None if expression is None else matching.early(expression)
        self._whole = _any if expression is None else matching.whole(expression)
        self._needles = [] if expression is None else matching.needles_of(expression)

    def by_topic(self, topics: Mapping[Category, str]) -> tuple[list[Category], Selection]:
        """The categories whose topics may have such records, and what is left to decide about these."""
        stubs = {category: of_category(category, topic) for category, topic in topics.items()}
        if self._early is None or self._expression is None:
            return list(stubs), self
        early = self._early
        wanted = [category for category, stub in stubs.items() if early(stub) is not False]
        parts = list(self._expression.parts) if isinstance(self._expression, And) else [self._expression]
        left = [part for part in parts if not all(matching.early(part)(stubs[each]) is True for each in wanted)]
        return wanted, Selection(all_of(left))

    def decide(self, record: Record) -> Verdict:
        """What becomes of a record; one that is shown is decoded."""
        early = None if self._early is None else self._early(record)
        if early is False:
            return Verdict.NO
        if early is None and self._needles and record.value is not None and matching.lacks(self._needles, record.value):
            return Verdict.NO
        decided = self._expression is None or early is True
        if not record.look():
            return Verdict.UNDECODABLE if decided else Verdict.UNDECODABLE_NO
        if decided or self._whole(record):
            record.decode()
            return Verdict.YES
        return Verdict.NO


def _any(_record: Record) -> bool:
    return True


def _named(name: str, wanted: str) -> Expression:
    subject = field(name)
    if _WILDCARDS.search(wanted):
        return Match(subject, re.compile(r"\A" + fnmatch.translate(wanted)))
    return Comparison(subject, "=", wanted)


def _correlated(wanted: str) -> Expression:
    """A correlation ID in whole, as a trace ID without dashes, or abbreviated as a line shows it."""
    subject = field("correlation_id")
    text = wanted.strip().lower()
    if _TRACE_ID.fullmatch(text):
        dashed = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
        return any_of([Comparison(subject, "=", wanted), Comparison(subject, "=", dashed)])
    if len(wanted) < _LEAST_ABBREVIATION:
        return Comparison(subject, "=", wanted)
    part = re.escape(wanted)
    return Match(subject, re.compile(rf"\A{part}|{part}\Z"))
