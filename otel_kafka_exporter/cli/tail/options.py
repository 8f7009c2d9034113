"""The options for filtering and for showing, which `tail` and `outbox list` share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from datetime import timezone
from typing import Any, NamedTuple, TypeVar

import click

from otel_kafka_exporter.cli.environment import tenant
from otel_kafka_exporter.records import CATEGORIES

from .expression import LEVELS, Expression, pattern_of
from .fields import Field, UnknownFieldError, field
from .grammar import ExpressionError, parse
from .output import HumanOutput, JsonOutput, Output, RawOutput, is_terminal, terminal_width, wants_color
from .rendering import View
from .selection import Filters

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Shown(NamedTuple):
    """What the options say about which records are shown, and how.

    Attributes:
        filters: which.
        output: takes them.
        dedupe: whether duplicates are left out.
        utc: whether times are read and shown in UTC.
    """

    filters: Filters
    output: Output
    dedupe: bool
    utc: bool


def _expressions(_context: click.Context, option: click.Parameter, given: Sequence[str]) -> list[Expression]:
    try:
        return [parse(each) for each in given]
    except ExpressionError as error:
        raise click.BadParameter(str(error), param=option) from None


def _patterns(_context: click.Context, option: click.Parameter, given: Sequence[str]) -> list[re.Pattern[str]]:
    try:
        return [pattern_of(each) for each in given]
    except re.error as error:
        problem = f"expected a regular expression, got {error.pattern!r}: {error}"
        raise click.BadParameter(problem, param=option) from None


def _fields(_context: click.Context, option: click.Parameter, given: str | None) -> list[Field]:
    try:
        return [field(name.strip()) for name in (given or "").split(",") if name.strip()]
    except UnknownFieldError as error:
        problem = f"expected names of fields with commas between them, got {given!r}. {error}"
        raise click.BadParameter(problem, param=option) from None


_PATTERN: dict[str, Any] = {"multiple": True, "metavar": "REGEX", "callback": _patterns}
_NAMES: dict[str, Any] = {"metavar": "NAME,...", "callback": _fields}
_WHICH = (
    click.option("--category", multiple=True, type=click.Choice(CATEGORIES), help="Records of this topic only."),
    click.option("--service", multiple=True, metavar="NAME", help="Of this service. * and ? stand for any characters."),
    click.option("--tenant", multiple=True, metavar="NAME", help="Of this tenant."),
    click.option(
        "--level",
        type=click.Choice([*LEVELS], case_sensitive=False),
        help="Application records of this level or a more severe one.",
    ),
    click.option("--logger", multiple=True, metavar="NAME", help="Of this logger."),
    click.option("--code", multiple=True, metavar="CODE", help="With this code."),
    click.option(
        "--actor", multiple=True, metavar="WHO", help="Audit events of this actor, security events of this user."
    ),
    click.option(
        "--action", multiple=True, metavar="WHAT", help="Audit events with this action, security events of this type."
    ),
    click.option(
        "--correlation-id",
        multiple=True,
        metavar="ID",
        help="The story of one request over all services: its correlation or trace ID, or how that begins or ends.",
    ),
    click.option(
        "--grep",
        multiple=True,
        metavar="REGEX",
        callback=_patterns,
        help="In which this is found: in message, fields or context.",
    ),
    click.option("--exclude", **_PATTERN, help="In which this is not found."),
    click.option(
        "-q",
        "--query",
        multiple=True,
        metavar="EXPRESSION",
        callback=_expressions,
        help="For which this holds, as in 'level>=WARN and context.status>=500'.",
    ),
)
_HOW = (
    click.option("--highlight", **_PATTERN, help="Mark this, and what --grep finds."),
    click.option(
        "--fields",
        metavar="NAME,...",
        callback=_fields,
        help="Show these fields behind the message, as in logger,context.status.",
    ),
    click.option("--hide", **_NAMES, help="Do not show these, as in context.user_agent,source."),
    click.option("--expand", is_flag=True, help="Show the whole envelope below each line."),
    click.option("--offsets", is_flag=True, help="Show where each record is, as --at takes it."),
    click.option(
        "--dedupe", is_flag=True, help="Leave out records whose event_id came before; they are dim otherwise."
    ),
    click.option("--utc", is_flag=True, help="Times in UTC, not in this machine's zone."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="For less -R: always. NO_COLOR is honoured.",
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for scripts."),
    click.option("--raw", is_flag=True, help="The values' bytes alone, a line each, for a pipe or a file."),
)


def shown_options(function: _Function) -> _Function:
    """Give a command the options; it is called with `shown` instead of them."""

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        names = [*Filters._fields, *_SHOWING]
        return function(shown=_shown(**{name: given.pop(name) for name in names}), **given)

    for option in reversed((*_WHICH, *_HOW)):
        command = option(command)
    return command  # type: ignore[return-value]  # click's decorators lose the type


_SHOWING = ("highlight", "fields", "hide", "expand", "offsets", "dedupe", "utc", "color", "as_json", "raw")


def _shown(
    *,
    highlight: Sequence[re.Pattern[str]],
    fields: list[Field],
    hide: list[Field],
    expand: bool,
    offsets: bool,
    dedupe: bool,
    utc: bool,
    color: str,
    as_json: bool,
    raw: bool,
    **filters: Any,
) -> Shown:
    which = Filters(**filters)
    if as_json and raw:
        raise click.UsageError("expected --json or --raw, got both.")
    if as_json or raw:
        looks = {"--fields": fields, "--hide": hide, "--expand": expand, "--offsets": offsets, "--highlight": highlight}
        for name, value in looks.items():
            if value:
                raise click.UsageError(f"expected lines for a person beside {name}, got --{'raw' if raw else 'json'}.")
        if raw and is_terminal():
            raise click.UsageError("--raw: expected a pipe or a file, got a terminal, which values may do things to.")
        return Shown(which, RawOutput() if raw else JsonOutput(), dedupe, utc)
    view = View(
        width=terminal_width() if is_terminal() else None,
        color=wants_color(color),
        zone=timezone.utc if utc else None,
        fields=fields,
        hide=frozenset(each.name.removeprefix("context.") for each in hide),
        expand=expand,
        offsets=offsets,
        story=bool(which.correlation_id),
        marks=(*highlight, *which.grep),
        tenant=tenant(),
    )
    return Shown(which, HumanOutput(view), dedupe, utc)
