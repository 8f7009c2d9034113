"""The command line's root: its commands, one module each, and its exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from otel_kafka_exporter import __version__

from .completion import completion
from .defaults import name_variables, origin
from .demo import demo
from .doctor import doctor
from .outbox import outbox
from .schema import schema
from .streams import prepare_streams, silence_stdout
from .tail import tail
from .topics import topics

_INTERRUPTED = 130
_UNWRITABLE = 74  # EX_IOERR of sysexits.h: 1 and 3 say something of Kafka or of the checks
_UNREAD = 141  # a shell's code for a command that SIGPIPE ended


def run() -> int:
    """Run the command that `sys.argv` names; returns the exit code."""
    prepare_streams()
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        if variable := origin(error):
            click.echo(f"It comes from the environment variable {variable}.", err=True)
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except OSError as error:  # of a full disk below the output, say
        silence_stdout()
        if isinstance(error, BrokenPipeError):
            return _UNREAD
        click.echo(f"Error: expected to write what was found, got: {error.strerror or error}", err=True)
        return _UNWRITABLE
    return int(code or 0)


@contextmanager
def _unread_output() -> Iterator[None]:
    """End with a code of its own where nobody reads the output: click and rich would with that of a failure."""
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        silence_stdout()
        raise click.exceptions.Exit(_UNREAD) from None


class _Root(click.Group):
    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        with _unread_output():
            return super().make_context(*arguments, **more)

    def invoke(self, context: click.Context) -> Any:
        with _unread_output():
            return super().invoke(context)


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="An option can be set by an environment variable too: OTEL_KAFKA_TAIL_LEVEL=warn is --level warn of tail."
    "\n\nExit codes: 0 fine, 1 what was asked for failed, 2 wrong usage, 3 it could not be run,"
    " 74 its output could not be written, 130 interrupted, 141 the reader of its output is gone.",
)
@click.version_option(__version__, prog_name="otel-kafka", message="%(prog)s %(version)s")
def cli() -> None:
    """OpenTelemetry logs, audit events and security events in Kafka.

    \b
      otel-kafka demo
      otel-kafka doctor
      otel-kafka tail --last 10
      otel-kafka --version
    """


for command in (completion, demo, doctor, outbox, schema, tail, topics):
    cli.add_command(command)
name_variables(cli, "OTEL_KAFKA")
