"""`otel-kafka completion`: what has a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_PROGRAM, _VARIABLE = "otel-kafka", "_OTEL_KAFKA_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog="Exit codes: 0 printed.")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what has a shell complete commands, options and their values.

    \b
    Into ~/.bashrc, ~/.zshrc (behind compinit), and ~/.config/fish/config.fish:
      eval "$(otel-kafka completion bash)"
      eval "$(otel-kafka completion zsh)"
      otel-kafka completion fish | source

    \b
      otel-kafka completion bash > otel-kafka.bash
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    root = context.find_root().command
    # Not `source()`: that runs the shell to find out how old it is.
    complete = kind(root, {}, _PROGRAM, _VARIABLE)
    click.echo(complete.source_template % complete.source_vars())
