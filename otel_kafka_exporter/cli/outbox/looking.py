"""The commands that show what is in the outboxes: `status`, `list`, `show`."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import click

from otel_kafka_exporter.cli.environment import given_settings, outbox_directory
from otel_kafka_exporter.cli.tail import Shown, Tally, show_outbox, shown_options
from otel_kafka_exporter.errors import DecodeError
from otel_kafka_exporter.otel import owner_of
from otel_kafka_exporter.outbox import Claim, Destination
from otel_kafka_exporter.outbox.files import StoredOutbox, StoredRow, stored_outboxes
from otel_kafka_exporter.records import decode, encode_json, logger_of, printable, size_of
from otel_kafka_exporter.settings import Settings

from .describing import directory_option, time_of, whom


@click.command(epilog="Exit codes: 0 printed.")
@directory_option
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(*, outbox_dir: str | None, as_json: bool) -> int:
    """Each outbox: owner, files, records, bytes, age, dead letters.

    \b
      otel-kafka outbox status
      otel-kafka outbox status --json
    """
    directory = outbox_directory(outbox_dir)
    settings = given_settings()
    found = [_summary(stored, settings) for stored in stored_outboxes(directory)]
    if as_json:
        click.echo(json.dumps(found))
        return 0
    for each in found:
        owner = each["owner"]
        click.echo(printable(each["path"]))
        state = "lives" if each["alive"] else f"is dead: {printable(_WHO[each['taken_over']].format(each['path']))}"
        pid, command = (printable(str(owner.get(name, "?"))) for name in ("pid", "command"))
        click.echo(f"  owner         pid {pid}, {command}; {state}")
        click.echo(f"  for           {printable(each['for'])}")
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
    bound = "" if settings is None else f"; outbox_directory_max_bytes is {settings.directory_max_bytes:,}"
    click.echo(f"in all          {sum(each['bytes'] for each in found):,} bytes{bound}")
    return 0


#: Who takes over what a dead process has left, by what the settings tell of that.
_WHO = {
    "yes": "the next process of this configuration takes this over",
    "if it is the same cluster": "the next process that reaches the same cluster takes this over",
    "no": "it is not for this configuration's cluster or topics, and waits; `otel-kafka outbox adopt {}`",
    "?": "the next process for the same cluster and topics takes this over",
}


def _taken_over(stored: StoredOutbox, settings: Settings | None) -> str:
    if settings is None:
        return "?"
    claim = stored.claim_of(Destination.of(owner_of(settings)), settings.configuration)
    return {Claim.OURS: "yes", Claim.OPEN: "if it is the same cluster", Claim.OTHERS: "no"}[claim]


def _summary(stored: StoredOutbox, settings: Settings | None) -> dict[str, Any]:
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
        "for": whom(stored),
        "taken_over": "" if stored.alive else _taken_over(stored, settings),
        "problem": stored.problem,
        "files": [path.name for path in stored.segments],
        "bytes": stored.size(),
        "unreadable": unreadable,
        "records": dict(records),
        "dead_letters": dict(letters),
        "oldest_seconds": None if oldest is None else max(0.0, time.time() - oldest / 1e9),
    }


@click.command("list", epilog="Exit codes: 0 printed.")
@directory_option
@click.option("--dead-letters", is_flag=True, help="Dead letters instead of records that wait.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many.")
@shown_options
def list_(*, outbox_dir: str | None, shown: Shown, dead_letters: bool, limit: int) -> int:
    """What is in the outboxes, oldest first, with the filters and the looks of `otel-kafka tail`.

    \b
      otel-kafka outbox list --limit 20
      otel-kafka outbox list --dead-letters --category audit --json
    """
    left = show_outbox(shown, Tally(), directory=outbox_directory(outbox_dir), dead=dead_letters, limit=limit)
    if left:
        click.echo(f"... {left:,} more; --limit {limit}", err=True)
    return 0


@click.command(epilog="Exit codes: 0 found, 1 not found.")
@directory_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document for each record of that ID.")
@click.argument("event_id")
def show(*, outbox_dir: str | None, as_json: bool, event_id: str) -> int:
    """One record in full: where it is, its headers, its value.

    \b
      otel-kafka outbox show 019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b
    """
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
            found["tried again"] = found.pop("tries")
            del found["headers"]
            found["time of the record"] = (
                time_of(record.milliseconds / 1e3) if record.milliseconds else "when it is sent"
            )
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
        "time": time_of(each.row.nanoseconds / 1e9),
        "stream": str(each.stream),
        "topic": record.topic,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "event_id": record.event_id,
        "logger": logger_of(record),
        "reason": each.row.reason,
        "tries": each.tries,
        "bytes": size_of(record),
        "value": _text(record.value),
    }


def _decoded(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode(errors="replace")


def _text(value: bytes) -> str:
    """A value as it stands, or as JSON where it is Protobuf."""
    if value[:1] == b"\n":
        with suppress(DecodeError):
            return encode_json(decode(value)).decode()
    return value.decode(errors="replace")
