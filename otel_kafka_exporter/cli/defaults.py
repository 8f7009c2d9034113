"""Environment variables for options: `OTEL_KAFKA_TAIL_LEVEL=warn` is `otel-kafka tail --level warn`."""

from __future__ import annotations

import click
from click.core import ParameterSource

#: What asks before it deletes or takes over is answered where it is asked.
_NEVER = ("--yes", "--version", "--help")


def name_variables(command: click.Command, prefix: str) -> None:
    """Give each option of a command, and of those below it, the variable of its long name."""
    for option in command.params:
        long = next((each for each in option.opts if each.startswith("--")), "")
        if isinstance(option, click.Option) and long and long not in _NEVER:
            option.envvar = _variable(prefix, long.removeprefix("--"))
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            name_variables(each, _variable(prefix, name))


def origin(error: click.ClickException) -> str:
    """Which variable a wrong value comes from; empty where it does not come from one."""
    if isinstance(error, click.BadParameter) and error.ctx is not None and error.param is not None:
        name = error.param.name or ""
        if error.ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
            return str(error.param.envvar)
    return ""


def _variable(*parts: str) -> str:
    return "_".join(parts).upper().replace("-", "_")
