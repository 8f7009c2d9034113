"""`otel-kafka schema`: the Protobuf schema, and its place in a Schema Registry."""

from __future__ import annotations

import dataclasses

import click

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.kafka.schema_registry import schema_source
from otel_kafka_exporter.otel import record_builder_of, registry_of
from otel_kafka_exporter.records import CATEGORIES

from .environment import exporter_settings

_SECONDS = 10.0


@click.group()
def schema() -> None:
    """The Protobuf schema of encoding=protobuf, for readers and for a Schema Registry.

    \b
      otel-kafka schema show
      otel-kafka schema register
    """


@schema.command(epilog="Exit codes: 0 printed.")
def show() -> int:
    """Print it as a .proto file.

    \b
      otel-kafka schema show > envelope.proto
    """
    click.echo(schema_source(), nl=False)
    return 0


@schema.command(epilog="Exit codes: 0 registered, 1 not registered.")
def register() -> int:
    """Register it for the three topics, in the registry of the exporter's own environment variables.

    What is there already stays as it is.

    \b
      otel-kafka schema register
    """
    settings = exporter_settings()
    try:
        registry = registry_of(dataclasses.replace(settings, schema_registry_auto_register=True))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if registry is None:
        raise click.UsageError(
            "expected the address of a Schema Registry, got none."
            " Set OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL and OTEL_EXPORTER_KAFKA_ENCODING=protobuf."
        )
    topics = record_builder_of(settings)
    failed = 0
    for topic in map(topics.topic, CATEGORIES):
        problem = registry.wait(topic, _SECONDS)
        failed += problem is not None
        frame = registry.frame(topic)
        said = problem if frame is None else f"ID {int.from_bytes(frame[1:5], 'big')}"
        click.echo(f"{registry.subject(topic)}: {said}")
    if failed:
        click.echo("otel-kafka doctor --only registry says why", err=True)
    return 1 if failed else 0
