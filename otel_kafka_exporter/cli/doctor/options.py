"""What the options of `doctor` take."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from .catalogue import CHECKS
from .child_checks import CHILD_CHECKS

_UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DAY_SECONDS = 86_400
_EVERY = (*CHECKS, *CHILD_CHECKS)


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


def check_names(_context: click.Context, option: click.Parameter, given: Sequence[str]) -> list[str]:
    """IDs and families, with commas between them or one after the other."""
    families = {check.id.partition(".")[0] for check in _EVERY}
    names = [name.strip() for each in given for name in each.split(",") if name.strip()]
    for name in names:
        if name not in families and all(name != check.id for check in _EVERY):
            text = f"expected a check such as tls.hostname, or a family of {', '.join(sorted(families))}, got {name!r}."
            raise click.BadParameter(text, param=option)
    return names
