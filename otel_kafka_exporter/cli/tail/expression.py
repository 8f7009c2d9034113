"""Conditions over a record, as a tree: what `-q` and the options for filtering are made into."""

from __future__ import annotations

import re
import warnings
from typing import NamedTuple

from .fields import Field

Literal = str | float | bool | None

#: From the least to the most severe; what other systems call them.
LEVELS = {
    "TRACE": 0,
    "DEBUG": 0,
    "INFO": 1,
    "WARN": 2,
    "WARNING": 2,
    "ERROR": 3,
    "FATAL": 3,
    "CRITICAL": 3,
}


class Comparison(NamedTuple):
    """A field beside a value. What has no such field is not equal, not less and not more.

    Attributes:
        field: what is compared.
        operator: `=`, `<`, `<=`, `>` or `>=`; the others are made of these.
        value: what it is compared with.
    """

    field: Field
    operator: str
    value: Literal


class Match(NamedTuple):
    """Whether a pattern is found in a field's text."""

    field: Field
    pattern: re.Pattern[str]


class Present(NamedTuple):
    """Whether a record has a field, and it is not null."""

    field: Field


class Found(NamedTuple):
    """Whether a pattern is found in what a person reads of a record: message, fields, context."""

    pattern: re.Pattern[str]


class And(NamedTuple):
    """All of them."""

    parts: tuple[Expression, ...]


class Or(NamedTuple):
    """One of them at least."""

    parts: tuple[Expression, ...]


class Not(NamedTuple):
    """The contrary."""

    part: Expression


Expression = Comparison | Match | Present | Found | And | Or | Not


def pattern_of(text: str) -> re.Pattern[str]:
    """A regular expression, of which Python does not say on stderr what it may mean in years to come.

    Raises:
        re.error: it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(text)


def all_of(parts: list[Expression]) -> Expression | None:
    """All of these; None when there are none."""
    if len(parts) < 2:  # noqa: PLR2004 - one stands for itself
        return parts[0] if parts else None
    return And(tuple(parts))


def any_of(parts: list[Expression]) -> Expression:
    """One of these at least, of which there is one."""
    return parts[0] if len(parts) == 1 else Or(tuple(parts))
