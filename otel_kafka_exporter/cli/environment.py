"""The settings that a command takes from the exporter's own environment variables."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.settings import ORIGINAL_VARIABLES, Settings, variable


def exporter_settings(bootstrap_servers: str | None = None, outbox_dir: str | None = None) -> Settings:
    """The settings that an exporter in this environment would have; a wrong one is wrong usage.

    Args:
        bootstrap_servers: instead of the environment's.
        outbox_dir: where its outbox is, instead of what the environment says.
    """
    return _load({"bootstrap_servers": bootstrap_servers, "outbox_dir": outbox_dir}, None)


def given_settings() -> Settings | None:
    """The same, where the environment has what an exporter needs: to look at what is there does not need it."""
    with suppress(click.UsageError):
        return exporter_settings()
    return None


def tenant() -> str:
    """The tenant of such an exporter's records that name none."""
    given = {name: os.environ.get(name, "") for name in (variable("tenant_id"), ORIGINAL_VARIABLES["tenant_id"])}
    return _load({"bootstrap_servers": "localhost:9092"}, given).tenant_id


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
