"""`otel-kafka outbox`: what waits on the disk, and what to do about it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
from confluent_kafka import KafkaError, KafkaException

from otel_kafka_exporter.errors import DecodeError
from otel_kafka_exporter.kafka import KafkaProducer, NoSchemaIdError, OnReport, check_with_librdkafka, librdkafka_config
from otel_kafka_exporter.otel import delivery_of, judge_of, producer_of, registry_of
from otel_kafka_exporter.outbox import Fate
from otel_kafka_exporter.outbox.files import StoredOutbox, StoredRow, settle, stored_outboxes
from otel_kafka_exporter.records import decode, encode_json, logger_of, printable, size_of

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


_directory_option = click.option(
    "--outbox-dir", metavar="DIRECTORY", help="Where the outbox is, instead of OTEL_EXPORTER_KAFKA_OUTBOX_DIR."
)


@outbox.command()
@_directory_option
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(*, outbox_dir: str | None, as_json: bool) -> int:
    """Each outbox: owner, files, records, bytes, age, dead letters."""
    directory = outbox_directory(outbox_dir)
    found = [_summary(stored) for stored in stored_outboxes(directory)]
    if as_json:
        click.echo(json.dumps(found))
        return 0
    for each in found:
        owner = each["owner"]
        click.echo(printable(each["path"]))
        state = "lives" if each["alive"] else "is dead: the next process of this configuration takes this over"
        pid, command, servers = (
            printable(str(owner.get(name, "?"))) for name in ("pid", "command", "bootstrap_servers")
        )
        click.echo(f"  owner         pid {pid}, {command}; {state}")
        click.echo(f"  for           {servers}")
        records = ", ".join(f"{stream} {count}" for stream, count in each["records"].items()) or "none"
        click.echo(f"  records       {records}")
        click.echo(f"  dead letters  {sum(each['dead_letters'].values())}")
        for reason, count in each["dead_letters"].items():
            click.echo(f"                {count} {printable(reason)}")
        if each["problem"]:
            click.echo(f"  not trusted   {printable(each['problem'])}; nothing of it is sent")
        for problem in each["unreadable"]:
            click.echo(f"  unreadable    {printable(problem)}")
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
    unreadable: list[str] = []
    for each in stored.rows(unreadable.append):
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
        "problem": stored.problem,
        "files": [path.name for path in stored.segments],
        "bytes": stored.size(),
        "unreadable": unreadable,
        "records": dict(records),
        "dead_letters": dict(letters),
        "oldest_seconds": None if oldest is None else max(0.0, time.time() - oldest / 1e9),
    }


@outbox.command("list")
@_directory_option
@click.option("--dead-letters", is_flag=True, help="Dead letters instead of records that wait.")
@click.option("--limit", default=100, show_default=True, help="Show so many.")
@shown_options
def list_(*, outbox_dir: str | None, shown: Shown, dead_letters: bool, limit: int) -> int:
    """What is in the outboxes, oldest first, with the filters and the looks of `otel-kafka tail`."""
    left = show_outbox(shown, Tally(), directory=outbox_directory(outbox_dir), dead=dead_letters, limit=limit)
    if left:
        click.echo(f"... {left:,} more; --limit {limit}", err=True)
    return 0


@outbox.command(epilog="Exit codes: 0 it is there, 1 it is not.")
@_directory_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document for each record of that ID.")
@click.argument("event_id")
def show(*, outbox_dir: str | None, as_json: bool, event_id: str) -> int:
    """One record in full: where it is, its headers, its value."""
    code = 1
    for stored in stored_outboxes(outbox_directory(outbox_dir)):
        for each in stored.rows():
            if each.row.record.event_id != event_id:
                continue
            code = 0
            record = each.row.record
            headers = {name: None if text is None else _decoded(text) for name, text in record.headers}
            found = {**_described(each), "file": str(each.path), "offset": each.offset, "headers": headers}
            if as_json:
                click.echo(json.dumps(found))
                continue
            value = str(found.pop("value"))
            del found["headers"]
            found["time of the record"] = _time(record.milliseconds / 1e3) if record.milliseconds else "when it is sent"
            for name, part in found.items():
                click.echo(f"{name:20}{printable(str(part))}")
            for name, text in headers.items():
                click.echo(f"header              {printable(f'{name}: {text}')}")
            with suppress(ValueError, RecursionError):
                value = json.dumps(json.loads(value), indent=2, ensure_ascii=False)
            click.echo("\n".join(f"  {printable(line)}" for line in value.split("\n")))
    if code:
        click.echo(f"no event {printable(event_id)} in {outbox_directory(outbox_dir)}", err=True)
    return code


def _described(each: StoredRow) -> dict[str, Any]:
    record = each.row.record
    return {
        "time": _time(each.row.nanoseconds / 1e9),
        "stream": str(each.stream),
        "topic": record.topic,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "event_id": record.event_id,
        "logger": logger_of(record),
        "reason": each.row.reason,
        "bytes": size_of(record),
        "value": _text(record.value),
    }


def _time(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):  # of a row that somebody else has written
        return "?"


def _decoded(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode(errors="replace")


def _text(value: bytes) -> str:
    """A value as it stands, or as JSON where it is Protobuf."""
    if value[:1] == b"\n":
        with suppress(DecodeError):
            return encode_json(decode(value)).decode()
    return value.decode(errors="replace")


@outbox.command(epilog="Exit codes: 0 nothing is left, 1 something is.")
@_directory_option
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to try.")
def drain(timeout: float, outbox_dir: str | None) -> int:
    """Deliver what dead processes of this configuration have left."""
    settings = exporter_settings(outbox_dir=outbox_dir)
    config = librdkafka_config(settings)
    check_with_librdkafka(config)
    delivery = delivery_of(settings, config, registry_of(settings))
    complete = delivery.drain(timeout)
    stats = delivery.stats()
    delivery.close(settings.shutdown_timeout)
    click.echo(f"{stats.delivered} delivered, {stats.spooled} left, {stats.dead_lettered} dead letters")
    return 0 if complete else 1


@outbox.command(epilog="Exit codes: 0 all of them were delivered, 1 not so.")
@_directory_option
def retry(outbox_dir: str | None) -> int:
    """Send dead letters again, once the reason is mended."""
    settings = exporter_settings(outbox_dir=outbox_dir)
    config = librdkafka_config(settings)
    check_with_librdkafka(config)
    producer = producer_of(config, registry_of(settings))
    judge = judge_of(settings)
    refused: Counter[str] = Counter()
    sent = delivered = skipped = 0

    def on_report(each: StoredRow, error: KafkaError | None, _message: object) -> None:
        nonlocal delivered
        if error is None:
            delivered += 1
            settle(each)  # now, and not at the end, which Ctrl-C may come before
        else:
            refused[error.name()] += 1

    for each in _rows(Path(settings.outbox_dir), dead_letters=True, configuration=settings.configuration, trusted=True):
        if each.row.reason.startswith("conversion:") or judge(each.stream, each.payload) is not Fate.TAKEN:
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
@_directory_option
@click.option("--records", is_flag=True, help="Records that wait, of dead processes, instead of dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(*, outbox_dir: str | None, records: bool, yes: bool) -> int:
    """Delete dead letters for good."""
    directory = outbox_directory(outbox_dir)
    if not yes:
        what = "records that were never delivered" if records else "dead letters"
        click.confirm(f"Delete all {what} in {printable(str(directory))}?", abort=True)
    purged = 0
    for stored in stored_outboxes(directory):
        if not records:
            purged += sum(settle(each) for each in stored.rows() if each.stream.dead)
        elif not stored.alive:
            with stored.held() as is_held:  # so that nobody delivers them meanwhile
                if is_held:
                    purged += sum(settle(each) for each in stored.rows() if not each.stream.dead)
                else:
                    click.echo(f"nothing is deleted of {printable(str(stored.path))}: it is another's", err=True)
    click.echo(f"{purged} deleted")
    return 0


def _rows(
    directory: Path, *, dead_letters: bool, configuration: str | None = None, trusted: bool = False
) -> Iterator[StoredRow]:
    for stored in stored_outboxes(directory):
        if trusted and stored.problem:
            click.echo(f"nothing is sent of {printable(f'{stored.path}: {stored.problem}')}", err=True)
        elif configuration in (None, stored.configuration):
            yield from (each for each in stored.rows(_say) if each.stream.dead == dead_letters)


def _say(problem: str) -> None:
    click.echo(f"unreadable: {printable(problem)}", err=True)
