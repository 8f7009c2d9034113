"""`otel-kafka tail`: what arrives in the topics, and what has arrived."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import click

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.cli.connection import connection_properties
from otel_kafka_exporter.cli.environment import exporter_settings, outbox_directory
from otel_kafka_exporter.cli.progress import progress, shares_terminal
from otel_kafka_exporter.records import CATEGORIES, event_type
from otel_kafka_exporter.settings import Settings

from .history import around, by_time, last
from .options import Shown, shown_options
from .ordering import Place
from .output import is_reader_gone, is_terminal
from .reading import Ends, Reader, ReaderError
from .scanning import Scan, Tally
from .selection import Selection
from .showing import Showing
from .stored import stored_records
from .stretch import Position, Stretch, StretchError, stretch
from .text import visible

_FAILED, _NOT_RUN, _INTERRUPTED = 1, 3, 130


@click.command(
    epilog="Exit codes: 0 success, even if nothing matched; 1 Kafka stopped answering, or has none of the topics;"
    " 2 wrong usage; 3 Kafka could not be reached; 130 interrupted by Ctrl-C; 141 the reader of the pipe is gone.",
)
@click.option("--since", metavar="TIME", help="From then on: 10m, 22:00, yesterday, 2026-11-25T22:00, beginning.")
@click.option("--until", metavar="TIME", help="Up to then.")
@click.option("--last", metavar="N", type=click.IntRange(1, 1_000_000), help="The last N by time, over all partitions.")
@click.option("--at", metavar="TOPIC/PARTITION/OFFSET", help="The record there.")
@click.option("-C", "--context", metavar="N", type=click.IntRange(0, 10_000), help="And N before and behind it.")
@click.option(
    "--follow/--no-follow",
    default=None,
    help="Go on with what arrives. Default on a terminal, without --until, --last, --at and --correlation-id.",
)
@click.option("--outbox", is_flag=True, help="What waits on this machine's disk, and dead letters, instead of topics.")
@click.option("--bootstrap-servers", metavar="HOST:PORT,...", help="Of this Kafka.")
@shown_options
def tail(
    *,
    shown: Shown,
    since: str | None,
    until: str | None,
    last: int | None,
    at: str | None,
    context: int | None,
    follow: bool | None,
    outbox: bool,
    bootstrap_servers: str | None,
) -> int:
    """Watch the logs, audit events and security events in Kafka, or look into what is there.

    On a terminal it follows what arrives from now on. Into a pipe, or with --no-follow, it shows what is there and
    ends. The topics and the way to Kafka are those of the exporter's own environment variables
    (OTEL_EXPORTER_KAFKA_...). It joins no consumer group, commits nothing, creates no topic, and needs the right to
    read the topics only.

    \b
      otel-kafka tail --level warn --service 'pay*'
      otel-kafka tail --since 10m -q 'context.status>=500 and not message ~ "health"'
      otel-kafka tail --correlation-id 4bf92f3577b34da6a3ce929d0e0e4736
      otel-kafka tail --category audit --actor bob --last 20
      otel-kafka tail --since yesterday --until today --json | jq .envelope.payload
    """
    zone = timezone.utc if shown.utc else None
    try:
        what = stretch(
            since=since,
            until=until,
            last=last,
            at=at,
            context=context,
            follow=False if outbox and follow is None else follow,
            is_terminal=is_terminal(),
            is_story=bool(shown.filters.correlation_id),
            now=datetime.now(timezone.utc),
            zone=zone,
        )
    except StretchError as error:
        raise click.UsageError(str(error)) from None
    if outbox and (what.follow or what.at is not None):
        raise click.UsageError("--outbox: expected neither --follow nor --at beside it.")
    tally = Tally()
    if outbox:
        return _ended(tally, lambda: show_outbox(shown, tally, what))
    return _ended(tally, _Session(exporter_settings(bootstrap_servers), shown, what, tally).run)


def _ended(tally: Tally, run: Callable[[], int]) -> int:
    """Run to the end, whichever it is, say what was read until then, and return the exit code."""
    try:
        code = run()
    except ReaderError as error:
        _say(str(error))
        if error.at_start:
            _say("otel-kafka doctor looks at each step of the way there, and says what to do")
            return _NOT_RUN
        code = _FAILED
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            click.echo("", err=True)  # behind the terminal's ^C
        code = _INTERRUPTED
    click.echo(tally.line(), err=True)
    return code


def show_outbox(
    shown: Shown,
    tally: Tally,
    what: Stretch | None = None,
    *,
    directory: Path | None = None,
    dead: bool | None = None,
    limit: int | None = None,
) -> int:
    """Show what is in outboxes, by time.

    Args:
        shown: which, and how.
        tally: counts them.
        what: of which time, or the last how many; all unless given.
        directory: where they are; this environment's unless given.
        dead: as of `stored_records`.
        limit: show the first so many.

    Returns:
        How many were left out by the limit.
    """
    what = what or Stretch()
    scan = Scan(Selection(shown.filters.expression()), tally, what.since or -math.inf, _or_end(what.until))
    found = sorted(
        scan.picked(stored_records(directory or outbox_directory(), dead=dead)), key=lambda record: record.time
    )
    if what.last is not None:
        found = found[-what.last :]
    Showing(shown.output, tally, dedupe=shown.dedupe).records(found[:limit])
    return 0 if limit is None else max(0, len(found) - limit)


class _Session:
    """One run over topics."""

    def __init__(self, settings: Settings, shown: Shown, what: Stretch, tally: Tally) -> None:
        self._settings = settings
        try:
            self._connection = connection_properties(settings)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        self._what = what
        self._tally = tally
        self._showing = Showing(shown.output, tally, dedupe=shown.dedupe)
        names = {category: settings.topic_prefix + event_type(settings.namespace, category) for category in CATEGORIES}
        selection = Selection(shown.filters.expression())
        if what.at is None:
            categories, selection = selection.by_topic(names)
            self._topics = [names[each] for each in categories]
        self._scan = Scan(selection, tally, what.since or -math.inf, _or_end(what.until))

    def run(self) -> int:
        with _rare_collections(), Reader(self._settings.bootstrap_servers, self._connection, _say) as reader:
            if self._what.at is not None:
                return self._around(reader, self._what.at)
            topics = self._topics
            found = reader.topics()
            there = [topic for topic in topics if topic in found]
            for topic in topics:
                if topic not in found:
                    _say(f"topic {topic} does not exist{' yet' if self._what.follow else ''}, or may not be read")
            if not there and topics:
                self._hint(list(found))
                if not self._what.follow:
                    return _FAILED
            self._read(reader, topics, [(topic, each) for topic in there for each in found[topic]])
        return 0

    def _read(self, reader: Reader, topics: list[str], places: list[Place]) -> None:
        what = self._what
        ends = reader.ends(places)
        if what.since is None:
            starts = {place: end.high for place, end in ends.items()}
        elif what.since:
            starts = reader.since(ends, what.since)
        else:
            starts = {place: end.low for place, end in ends.items()}
        ranges = {place: (starts[place], end.high) for place, end in ends.items()}
        if what.follow and sys.stderr.isatty():
            begin = " from now on" if what.since is None else ""
            _say(f"following {len(topics)} topics at {self._settings.bootstrap_servers}{begin}; Ctrl-C ends it")
        records = sum(end - start for start, end in ranges.values())
        with progress("read", lambda: self._tally.read, records) as take_away:
            if shares_terminal():
                self._showing.before_first = take_away
            self._show(reader, topics, ranges)

    def _show(self, reader: Reader, topics: list[str], ranges: dict[Place, tuple[int, int]]) -> None:
        what = self._what
        if what.last is not None:
            self._showing.records(last(reader, self._scan, ranges, what.last))
            ranges = {place: (end, end) for place, (_, end) in ranges.items()}
            if not what.follow:
                return
        follow = topics if what.follow else None
        for records in by_time(reader, self._scan, ranges, follow):
            self._showing.ordered(records)
            if is_reader_gone():
                raise BrokenPipeError

    def _around(self, reader: Reader, at: Position) -> int:
        found = reader.topics()
        if at.partition not in found.get(at.topic, ()):
            _say(
                f"topic {at.topic} has no partition {at.partition}"
                if at.topic in found
                else f"topic {at.topic} does not exist"
            )
            return _FAILED
        place = (at.topic, at.partition)
        ends: Ends = reader.ends([place])[place]
        if not ends.low <= at.offset < ends.high:
            _say(f"{at.topic}/{at.partition} has the offsets from {ends.low} to before {ends.high}")
        self._showing.records(around(reader, self._scan, place, at.offset, ends, self._what.context))
        return 0

    def _hint(self, there: list[str]) -> None:
        """Which topics look like ours: a prefix or a namespace may be another."""
        alike = sorted(topic for topic in there if any(topic.endswith(f".logging.{each}.v1") for each in CATEGORIES))
        if alike:
            _say(f"there are {', '.join(alike)}: set OTEL_EXPORTER_KAFKA_TOPIC_PREFIX or OTEL_EXPORTER_KAFKA_NAMESPACE")


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Records are no cycles, and there are thousands at a time: looking for garbage among them costs a third of all."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _or_end(until: int | None) -> float:
    return math.inf if until is None else until


def _say(text: str) -> None:
    click.echo(visible(text), err=True)
