"""The command line's root: its commands, one module each, and its exit codes."""

from __future__ import annotations

import os
import sys

import click

from otel_kafka_exporter import __version__

from .completion import completion
from .defaults import name_variables, origin
from .demo import demo
from .doctor import doctor
from .outbox import outbox
from .schema import schema
from .tail import tail
from .topics import topics

_INTERRUPTED = 130
_UNWRITABLE = 74  # EX_IOERR of sysexits.h: 1 and 3 say something of Kafka or of the checks


def run() -> int:
    """Run the command that `sys.argv` names; returns the exit code."""
    # A character that the terminal's encoding lacks is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
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
        # What was not written must not be tried again at the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"Error: expected to write what was found, got: {error.strerror or error}", err=True)
        return _UNWRITABLE
    return int(code or 0)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="An option can be set by an environment variable too: OTEL_KAFKA_TAIL_LEVEL=warn is --level warn of tail."
    "\n\nExit codes: 0 fine, 1 what was asked for failed, 2 wrong usage, 3 it could not be run,"
    " 74 its output could not be written, 130 interrupted.",
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
