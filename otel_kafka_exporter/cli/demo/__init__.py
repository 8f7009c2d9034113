"""`otel-kafka demo`: the whole way, from a web service's log call to a consumer of Kafka, in some seconds."""

from __future__ import annotations

import click

from otel_kafka_exporter import SettingsError

from .play import run


@click.command(epilog="Exit codes: 0 every record arrived, 1 some did not, 2 wrong usage, 130 interrupted by Ctrl-C.")
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

    \b
      otel-kafka demo
      otel-kafka demo --bootstrap-servers localhost:9092
    """
    try:
        return run(bootstrap_servers)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
