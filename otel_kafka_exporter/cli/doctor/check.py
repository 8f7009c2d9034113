"""What a check is, what it finds, and what that means for the checks behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .subject import Subject

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Status(Enum):
    """How a check ended. The four never stand for one another: what could not be looked at is no failure of its own."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """What a check found.

    Attributes:
        status: how it ended.
        text: one line.
        means: for what is not well, what that does to records.
        todo: and what to do about it.
        details: more, by name, for the JSON document.
        lines: more, for a person, a line each.
    """

    status: Status
    text: str
    means: str = ""
    todo: str = ""
    details: Mapping[str, Any] = _NOTHING
    lines: tuple[str, ...] = ()


class Check(NamedTuple):
    """One question.

    Attributes:
        id: its stable name, `family.what`; also its anchor in docs/troubleshooting.md.
        ask: finds the answer.
        after: checks without which it cannot be asked: when one of them failed, this one is skipped because of that.
    """

    id: str
    ask: Callable[[Subject], Finding]
    after: tuple[str, ...] = ()

    @property
    def doc(self) -> str:
        """Where it is described."""
        return f"docs/troubleshooting.md#{self.id}"


class Result(NamedTuple):
    """A check with its answer.

    Attributes:
        check: the check.
        finding: what it found.
        seconds: how long that took.
        because: the check whose failure made this one impossible; empty when there is none.
    """

    check: Check
    finding: Finding
    seconds: float = 0.0
    because: str = ""


class NotKnownError(Exception):
    """A check needs what another one would have found out, which was left out; the argument is that one's ID."""


def ok(text: str, **details: Any) -> Finding:
    """All is well."""
    return Finding(Status.OK, text, details=details)


def warn(text: str, means: str, todo: str, **details: Any) -> Finding:
    """It works, but not as it should, or not for ever."""
    return Finding(Status.WARN, text, means, todo, details)


def fail(text: str, means: str, todo: str, **details: Any) -> Finding:
    """Records do not arrive like this."""
    return Finding(Status.FAIL, text, means, todo, details)


def skipped(why: str, **details: Any) -> Finding:
    """There is nothing to look at here, or it may not be looked at."""
    return Finding(Status.SKIPPED, why, details=details)
