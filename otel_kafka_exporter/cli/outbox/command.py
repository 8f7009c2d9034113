"""The command `outbox` and its parts."""

from __future__ import annotations

import click

from .looking import list_, show, status
from .moving import adopt, drain, purge, retry


@click.group()
def outbox() -> None:
    """See and move what waits on the disk.

    The directory and the cluster are those of the exporter's own environment variables (OTEL_EXPORTER_KAFKA_...).

    \b
      otel-kafka outbox status
      otel-kafka outbox list --dead-letters
      otel-kafka outbox drain --timeout 120
    """


for each in (status, list_, show, drain, adopt, retry, purge):
    outbox.add_command(each)
