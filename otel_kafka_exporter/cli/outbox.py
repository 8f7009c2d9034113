"""`otel-kafka outbox`: what waits on the disk, and what to do about it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from confluent_kafka import KafkaError, KafkaException

from otel_kafka_exporter.kafka import KafkaProducer, NoSchemaIdError, OnReport, check_with_librdkafka, librdkafka_config
from otel_kafka_exporter.otel import delivery_of, producer_of, registry_of
from otel_kafka_exporter.outbox.files import StoredOutbox, StoredRow, settle, stored_outboxes

from .environment import exporter_settings, outbox_directory
from .tail import Shown, Tally, show_outbox, shown_options

_FLUSH_SECONDS = 30.0
_ROOM_SECONDS = 0.1
_FRAME_SECONDS = 5.0


@click.group()
def outbox() -> None:
    """See and move what waits on the disk.

    The directory and the cluster are those of the exporter's own environment variables (OTEL_EXPORTER_KAFKA_...).
    """


@outbox.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(*, as_json: bool) -> int:
    """Each outbox: owner, files, records, bytes, age, dead letters."""
    directory = outbox_directory()
    found = [_summary(stored) for stored in stored_outboxes(directory)]
    if as_json:
        click.echo(json.dumps(found))
        return 0
    for each in found:
        owner = each["owner"]
        click.echo(f"{each['path']}")
        state = "lives" if each["alive"] else "is dead: the next process of this configuration takes this over"
        click.echo(f"  owner         pid {owner.get('pid', '?')}, {owner.get('command', '?')}; {state}")
        click.echo(f"  for           {owner.get('bootstrap_servers', '?')}")
        records = ", ".join(f"{stream} {count}" for stream, count in each["records"].items()) or "none"
        click.echo(f"  records       {records}")
        click.echo(f"  dead letters  {sum(each['dead_letters'].values())}")
        for reason, count in each["dead_letters"].items():
            click.echo(f"                {count} {reason}")
        click.echo(f"  size          {each['bytes']:,} bytes in {len(each['files'])} files")
        if each["oldest_seconds"] is not None:
            click.echo(f"  oldest        {each['oldest_seconds']:.0f} s")
    if not found:
        click.echo(f"no outbox in {directory}")
    return 0


def _summary(stored: StoredOutbox) -> dict[str, Any]:
    records: Counter[str] = Counter()
    letters: Counter[str] = Counter()
    oldest = None
    for each in stored.rows():
        if each.stream.dead:
            letters[each.row.reason] += 1
        else:
            records[each.stream.category] += 1
        oldest = min(oldest or each.row.nanoseconds, each.row.nanoseconds)
    return {
        "path": str(stored.path),
        "configuration": stored.configuration,
        "owner": stored.owner,
        "alive": stored.alive,
        "files": [path.name for path in stored.segments],
        "bytes": stored.size(),
        "records": dict(records),
        "dead_letters": dict(letters),
        "oldest_seconds": None if oldest is None else max(0.0, time.time() - oldest / 1e9),
    }


@outbox.command("list")
@click.option("--dead-letters", is_flag=True, help="Dead letters instead of records that wait.")
@click.option("--limit", default=100, show_default=True, help="Show so many.")
@shown_options
def list_(*, shown: Shown, dead_letters: bool, limit: int) -> int:
    """What is in the outboxes, oldest first, with the filters and the looks of `otel-kafka tail`."""
    left = show_outbox(shown, Tally(), dead=dead_letters, limit=limit)
    if left:
        click.echo(f"... {left:,} more; --limit {limit}", err=True)
    return 0


@outbox.command(epilog="Exit codes: 0 nothing is left, 1 something is.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to try.")
def drain(timeout: float) -> int:
    """Deliver what dead processes of this configuration have left."""
    settings = exporter_settings()
    config = librdkafka_config(settings)
    check_with_librdkafka(config)
    delivery = delivery_of(settings, config, registry_of(settings))
    complete = delivery.drain(timeout)
    stats = delivery.stats()
    delivery.close(settings.shutdown_timeout)
    click.echo(f"{stats.delivered} delivered, {stats.spooled} left, {stats.dead_lettered} dead letters")
    return 0 if complete else 1


@outbox.command(epilog="Exit codes: 0 all of them were delivered, 1 not so.")
def retry() -> int:
    """Send dead letters again, once the reason is mended."""
    settings = exporter_settings()
    config = librdkafka_config(settings)
    check_with_librdkafka(config)
    producer = producer_of(config, registry_of(settings))
    refused: Counter[str] = Counter()
    sent = delivered = skipped = 0

    def on_report(each: StoredRow, error: KafkaError | None, _message: object) -> None:
        nonlocal delivered
        if error is None:
            delivered += 1
            settle(each)  # now, and not at the end, which Ctrl-C may come before
        else:
            refused[error.name()] += 1

    for each in _rows(Path(settings.outbox_dir), dead_letters=True, configuration=settings.configuration):
        if each.row.reason.startswith("conversion:"):
            skipped += 1
            continue
        sent += 1
        producer.await_frame(each.row.record, _FRAME_SECONDS)
        try:
            while not _produced(producer, each, partial(on_report, each)):
                producer.poll(_ROOM_SECONDS)
        except KafkaException as error:
            refused[error.args[0].name()] += 1
        except NoSchemaIdError:
            refused["NO_SCHEMA_ID"] += 1
    producer.flush(_FLUSH_SECONDS)
    producer.close()
    if unanswered := sent - delivered - refused.total():
        refused["no answer"] += unanswered
    reasons = ", ".join(f"{records} {reason}" for reason, records in refused.items())
    click.echo(
        f"{delivered} delivered, {refused.total()} refused again{f' ({reasons})' if reasons else ''},"
        f" {skipped} cannot be sent as they are"
    )
    return 0 if delivered == sent else 1


def _produced(producer: KafkaProducer, each: StoredRow, on_report: OnReport) -> bool:
    """Whether there was room for a record in the local queue."""
    try:
        producer.produce(each.row.record, on_report)
    except BufferError:
        return False
    return True


@outbox.command()
@click.option("--records", is_flag=True, help="Records that wait, of dead processes, instead of dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(*, records: bool, yes: bool) -> int:
    """Delete dead letters for good."""
    directory = outbox_directory()
    if not yes:
        what = "records that were never delivered" if records else "dead letters"
        click.confirm(f"Delete all {what} in {directory}?", abort=True)
    dead_letters = not records
    purged = 0
    for each in _rows(directory, dead_letters=dead_letters, living=dead_letters):
        settle(each)
        purged += 1
    click.echo(f"{purged} deleted")
    return 0


def _rows(
    directory: Path, *, dead_letters: bool, living: bool = True, configuration: str | None = None
) -> Iterator[StoredRow]:
    for stored in stored_outboxes(directory):
        if (living or not stored.alive) and configuration in (None, stored.configuration):
            yield from (each for each in stored.rows() if each.stream.dead == dead_letters)
