"""Lengths of time, as options take them."""

from __future__ import annotations

import re

import click

_UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DAY_SECONDS = 86_400


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on, and not before
    """`10`, `500ms`, `10s`, `2m`; in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A text as seconds; a number is some already."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smh]?)", str(value).strip())
        seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
        if not 0 < seconds <= _DAY_SECONDS:
            self.fail(f"expected a duration such as 500ms, 10s or 2m, got {value!r}", param, ctx)
        return seconds
