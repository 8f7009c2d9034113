"""The settings that a command takes from the exporter's own environment variables."""

from __future__ import annotations

import os
from pathlib import Path

import click

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.settings import Settings, variable


def exporter_settings(outbox_dir: str | None = None) -> Settings:
    """The settings that an exporter in this environment would have; a wrong one is wrong usage.

    Args:
        outbox_dir: where its outbox is, instead of what the environment says.
    """
    return _load({"outbox_dir": outbox_dir}, None)


def outbox_directory(outbox_dir: str | None = None) -> Path:
    """Where such an exporter's outbox is; without the address of a cluster, which looking does not need."""
    outbox_dir = outbox_dir or os.environ.get(variable("outbox_dir"))
    given = {"bootstrap_servers": "localhost:9092", "outbox_dir": outbox_dir}
    return Path(_load(given, {}).outbox_dir)


def _load(arguments: dict[str, str | None], environ: dict[str, str] | None) -> Settings:
    try:
        return Settings.load(arguments, environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
