"""The commands and their options; what they do is in a module of each."""

from __future__ import annotations

import sys

import click

from otel_kafka_exporter import SettingsError, __version__

from . import demo as _demo

_INTERRUPTED = 130


def run() -> int:
    """Run the command that `sys.argv` names; returns the exit code."""
    # A character that the terminal's encoding lacks is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    return int(code or 0)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 what was asked for failed, 2 wrong usage.",
)
@click.version_option(__version__, prog_name="otel-kafka", message="%(prog)s %(version)s")
def cli() -> None:
    """OpenTelemetry logs, audit events and security events in Kafka."""


@cli.command(epilog="Exit codes: 0 every record arrived, 1 not so, 2 wrong usage, 130 interrupted by Ctrl-C.")
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT,...",
    help="Use this Kafka. Without it an embedded one is started, and gone afterwards.",
)
def demo(bootstrap_servers: str | None) -> int:
    """See it work, in some seconds.

    Runs a small web service under opentelemetry-instrument, sends it requests that log, audit and deny, shows the
    envelopes as they arrive in Kafka, and counts whether all of them did.

    With --bootstrap-servers, the settings of the exporter are taken from the environment (OTEL_EXPORTER_KAFKA_...),
    for TLS and passwords too, and the records stay in that Kafka's topics.
    """
    try:
        return _demo.run(bootstrap_servers)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
