"""The commands and their options; what they do is in a module of each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from otel_kafka_exporter import SettingsError, __version__
from otel_kafka_exporter.settings import Settings
from otel_kafka_exporter.settings import variable as _variable

from . import demo as _demo
from . import outbox as _outbox
from . import schema as _schema

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


@cli.group()
def outbox() -> None:
    """See and move what waits on the disk.

    The directory and the cluster are those of the exporter's own environment variables (OTEL_EXPORTER_KAFKA_...).
    """


def _directory() -> Path:
    # Without the address of a cluster, which looking does not need.
    given = {"bootstrap_servers": "localhost:9092", "outbox_dir": os.environ.get(_variable("outbox_dir"))}
    return Path(_settings(given, environ={}).outbox_dir)


def _settings(arguments: dict[str, str | None], environ: dict[str, str] | None = None) -> Settings:
    try:
        return Settings.load(arguments, environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


@outbox.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(*, as_json: bool) -> int:
    """Each outbox: owner, files, records, bytes, age, dead letters."""
    return _outbox.status(_directory(), as_json=as_json)


@outbox.command("list")
@click.option("--dead-letters", is_flag=True, help="Dead letters instead of records that wait.")
@click.option("--limit", default=100, show_default=True, help="Show so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, with the whole value.")
def list_(*, dead_letters: bool, limit: int, as_json: bool) -> int:
    """What is in the outboxes."""
    return _outbox.show(_directory(), dead_letters=dead_letters, limit=limit, as_json=as_json)


@outbox.command(epilog="Exit codes: 0 nothing is left, 1 something is.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to try.")
def drain(timeout: float) -> int:
    """Deliver what dead processes of this configuration have left."""
    return _outbox.drain(_settings({}), timeout)


@outbox.command(epilog="Exit codes: 0 all of them were delivered, 1 not so.")
def retry() -> int:
    """Send dead letters again, once the reason is mended."""
    return _outbox.retry(_settings({}))


@outbox.command()
@click.option("--records", is_flag=True, help="Records that wait, of dead processes, instead of dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(*, records: bool, yes: bool) -> int:
    """Delete dead letters for good."""
    what = "records that were never delivered" if records else "dead letters"
    if not yes:
        click.confirm(f"Delete all {what} in {_directory()}?", abort=True)
    return _outbox.purge(_directory(), dead_letters=not records)


@cli.group()
def schema() -> None:
    """The Protobuf schema of encoding=protobuf, for readers and for a Schema Registry."""


@schema.command("show")
def show_schema() -> int:
    """Print it as a .proto file."""
    return _schema.show()


@schema.command(epilog="Exit codes: 0 it is registered, 1 it is not.")
def register() -> int:
    """Register it for the three topics, in the registry of the exporter's own environment variables."""
    try:
        return _schema.register(_settings({}))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
