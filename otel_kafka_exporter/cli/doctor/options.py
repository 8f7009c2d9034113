"""What the options of `doctor` take."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .catalogue import CHECKS
from .child_checks import CHILD_CHECKS

_EVERY = (*CHECKS, *CHILD_CHECKS)


def check_names(_context: click.Context, option: click.Parameter, given: Sequence[str]) -> list[str]:
    """IDs and families, with commas between them or one after the other."""
    families = {check.id.partition(".")[0] for check in _EVERY}
    names = [name.strip() for each in given for name in each.split(",") if name.strip()]
    for name in names:
        if name not in families and all(name != check.id for check in _EVERY):
            text = f"expected a check such as tls.hostname, or a family of {', '.join(sorted(families))}, got {name!r}."
            raise click.BadParameter(text, param=option)
    return names
