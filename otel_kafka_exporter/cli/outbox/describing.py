"""What the commands say of outboxes, and the option that names them."""

from __future__ import annotations

import time

import click

from otel_kafka_exporter.outbox.files import StoredOutbox
from otel_kafka_exporter.records import printable

directory_option = click.option(
    "--outbox-dir", metavar="DIRECTORY", help="Where the outbox is, instead of OTEL_EXPORTER_KAFKA_OUTBOX_DIR."
)


def whom(stored: StoredOutbox) -> str:
    """For whom an outbox is."""
    servers, cluster_id, topics = stored.destination
    cluster = cluster_id or "not known"
    names = "not known" if topics is None else f"{topics[0]}{topics[1]}.logging.*"
    return f"{servers or '?'}, cluster {cluster}, topics {names}"


def time_of(seconds: float) -> str:
    """A Unix time as text."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):  # of a row that somebody else has written
        return "?"


def say(problem: str) -> None:
    """Tell of what cannot be read."""
    click.echo(f"unreadable: {printable(problem)}", err=True)
