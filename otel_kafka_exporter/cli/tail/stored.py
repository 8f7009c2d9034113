"""The records of outboxes: what waits on the disk, and dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from otel_kafka_exporter.outbox.files import stored_outboxes

from .record import Record, of_row


def stored_records(directory: Path, *, dead: bool | None = None) -> Iterator[Record]:
    """What is in the outboxes below a directory.

    Args:
        directory: where they are.
        dead: whether dead letters, or all others; None for both.
    """
    for stored in stored_outboxes(directory):
        yield from (of_row(each) for each in stored.rows() if dead is None or each.stream.dead == dead)
