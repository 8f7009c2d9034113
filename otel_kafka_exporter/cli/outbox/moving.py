"""The commands that move or delete what is in the outboxes: `drain`, `adopt`, `retry`, `purge`."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
from confluent_kafka import KafkaError, KafkaException

from otel_kafka_exporter.cli.duration import Duration
from otel_kafka_exporter.cli.environment import exporter_settings, outbox_directory
from otel_kafka_exporter.cli.progress import progress
from otel_kafka_exporter.cli.question import Question
from otel_kafka_exporter.delivery import is_cut
from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.kafka import KafkaProducer, NoSchemaIdError, OnReport, check_with_librdkafka, librdkafka_config
from otel_kafka_exporter.otel import delivery_of, judge_of, owner_of, producer_of, registry_of, topics_of
from otel_kafka_exporter.outbox import Claim, Destination, Fate
from otel_kafka_exporter.outbox.files import StoredOutbox, StoredRow, count_try, hand_over, settle, stored_outboxes
from otel_kafka_exporter.process import monotonic
from otel_kafka_exporter.records import printable
from otel_kafka_exporter.settings import Settings

from .describing import directory_option, say, time_of, whom

_FLUSH_SECONDS = 30.0
_ROOM_SECONDS = 0.1
_SLICE_SECONDS = 0.25
_FRAME_SECONDS = 5.0
_CLUSTER_SECONDS = 5.0


@click.command(epilog="Exit codes: 0 nothing is left, 1 something is.")
@directory_option
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="For how long to try.")
def drain(timeout: float, outbox_dir: str | None) -> int:
    """Deliver what dead processes of this configuration have left.

    \b
      otel-kafka outbox drain --timeout 5
    """
    settings = exporter_settings(outbox_dir=outbox_dir)
    config = librdkafka_config(settings)
    check_with_librdkafka(config)
    delivery = delivery_of(settings, config, registry_of(settings))
    with progress("delivered", lambda: delivery.stats().delivered, None):
        complete = Question(partial(delivery.drain, timeout)).answer(time.sleep)  # in which Ctrl-C is noticed
    stats = delivery.stats()
    left = [line for stored in stored_outboxes(Path(settings.outbox_dir)) if (line := _left(stored))]
    delivery.close(settings.shutdown_timeout)
    click.echo(f"{stats.delivered} delivered, {stats.spooled} left, {stats.dead_lettered} dead letters")
    for line in left:
        click.echo(printable(line), err=True)
    return 0 if complete and not left else 1


def _left(stored: StoredOutbox) -> str:
    """A line about what waits in a dead process's outbox; empty where nothing does."""
    if stored.alive:
        return ""
    since = [each.row.nanoseconds for each in stored.rows() if not each.stream.dead]
    if not since:
        return ""
    why = stored.problem or f"kept for {whom(stored)}"
    return f"{len(since)} records wait in {stored.path} since {time_of(min(since) / 1e9)}, {why}"


@click.command(epilog="Exit codes: 0 reassigned to this configuration, 1 not reassigned.")
@directory_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("path")
def adopt(*, outbox_dir: str | None, yes: bool, path: str) -> int:
    """Have what a dead process left for other addresses be delivered by this configuration.

    PATH is its directory, as `otel-kafka outbox status` shows it.

    \b
      otel-kafka outbox adopt /var/lib/otel-kafka/5a17c3/0f3b
    """
    settings = exporter_settings(outbox_dir=outbox_dir)
    configuration = Path(settings.outbox_dir).absolute() / settings.configuration
    wanted = Path(path).absolute()
    stored = next((each for each in stored_outboxes(wanted.parent.parent) if each.path == wanted), None)
    problem = f"expected the directory of an outbox, got {path}" if stored is None else _obstacle(stored, settings)
    if stored is None or problem:
        click.echo(printable(problem), err=True)
        return 1
    records = Counter(str(each.stream) for each in stored.rows(say))
    counted = ", ".join(f"{stream} {count}" for stream, count in records.items()) or "none"
    click.echo(f"records       {counted}")
    click.echo(f"kept for      {printable(whom(stored))}")
    click.echo(f"delivered to  {settings.bootstrap_servers}: {', '.join(topics_of(settings).values())}")
    if not yes and not click.confirm("Are they for that cluster?"):
        return 1
    try:
        is_ours = hand_over(stored, configuration, owner_of(settings))
    except OutboxError as error:
        click.echo(f"it cannot be moved to {printable(f'{configuration}: {error}')}", err=True)
        return 1
    if not is_ours:
        click.echo("another process has just taken it over", err=True)
        return 1
    click.echo("the next process of this configuration takes them over; so does `otel-kafka outbox drain`")
    return 0


def _obstacle(stored: StoredOutbox, settings: Settings) -> str:
    """Why an outbox cannot be adopted; empty where it can."""
    if stored.alive:
        return f"expected the outbox of a dead process, got one whose process lives: {stored.path}"
    if stored.problem:
        return stored.problem
    judge, topics = judge_of(settings), set()
    for each in stored.rows():
        if judge(each.stream, each.payload) is Fate.SET_ASIDE:
            topics.add(each.row.record.topic)
    if topics:
        return (
            f"expected records for the topics of this configuration, got some for {', '.join(sorted(topics))};"
            " to deliver those, run this, and then `otel-kafka outbox drain`, with the topic_prefix and the namespace"
            " that they were written with"
        )
    return ""


@click.command(epilog="Exit codes: 0 all of them were delivered, 1 some were not.")
@directory_option
def retry(outbox_dir: str | None) -> int:
    """Send dead letters again, once the reason is mended.

    \b
      otel-kafka outbox retry
    """
    settings = exporter_settings(outbox_dir=outbox_dir)
    config = librdkafka_config(settings)
    check_with_librdkafka(config)
    producer = producer_of(config, registry_of(settings))
    judge = judge_of(settings)
    cluster_id = producer.cluster_id("", _CLUSTER_SECONDS)
    letters = partial(_letters, settings, cluster_id)
    number = sum(1 for _ in letters(lambda line: click.echo(printable(line), err=True)))
    if number and cluster_id is None:
        producer.close()
        silent = f"no Kafka answers at {settings.bootstrap_servers} within {_CLUSTER_SECONDS:g} s"
        click.echo(printable(f"{silent}; dead letters that stay where they are: {number}"), err=True)
        return 1
    retried = _Retried()
    with progress("sent again", lambda: retried.done, number):
        for each in letters(lambda _line: None):  # it is said already, and the bar is there
            is_whole = not each.row.reason.startswith("conversion:") and not is_cut(each.row.record)
            if is_whole and judge(each.stream, each.payload) is Fate.TAKEN:
                _send_again(producer, each, retried)
            else:
                retried.skipped += 1
        deadline = monotonic() + _FLUSH_SECONDS
        while retried.unanswered and monotonic() < deadline:
            producer.flush(_SLICE_SECONDS)  # between two of which Ctrl-C is noticed
    producer.close()
    click.echo(retried.line())
    return 0 if retried.delivered == retried.sent else 1


@dataclasses.dataclass
class _Retried:
    """What became of dead letters that are sent again.

    Attributes:
        sent: those that Kafka was given, or should have been.
        delivered: of these, those that it has now.
        refused: of these, those that it refused, by the error's name.
        skipped: those that cannot be sent.
    """

    sent: int = 0
    delivered: int = 0
    refused: Counter[str] = dataclasses.field(default_factory=Counter)
    skipped: int = 0

    def report(self, each: StoredRow, error: KafkaError | None, _message: object) -> None:
        if error is None:
            self.delivered += 1
            settle(each)  # now, and not at the end, which Ctrl-C may come before
        else:
            self.refused[error.name()] += 1

    @property
    def done(self) -> int:
        """Those that nothing more comes of."""
        return self.delivered + self.refused.total() + self.skipped

    @property
    def unanswered(self) -> int:
        """Those of which something may come."""
        return self.sent - self.delivered - self.refused.total()

    def line(self) -> str:
        """All of it, when no answer will come any more."""
        refused = self.refused.copy()
        if self.unanswered:
            refused["no answer"] = self.unanswered
        reasons = ", ".join(f"{records} {reason}" for reason, records in refused.items())
        return (
            f"{self.delivered} delivered, {refused.total()} refused again{f' ({reasons})' if reasons else ''},"
            f" {self.skipped} cannot be sent as they are"
        )


def _send_again(producer: KafkaProducer, each: StoredRow, retried: _Retried) -> None:
    retried.sent += 1
    count_try(each)
    producer.await_frame(each.row.record, monotonic() + _FRAME_SECONDS)
    try:
        while not _produced(producer, each, partial(retried.report, each)):
            producer.poll(_ROOM_SECONDS)
    except KafkaException as error:
        retried.refused[error.args[0].name()] += 1
    except NoSchemaIdError:
        retried.refused["NO_SCHEMA_ID"] += 1


def _produced(producer: KafkaProducer, each: StoredRow, on_report: OnReport) -> bool:
    """Whether there was room for a record in the local queue."""
    try:
        producer.produce(each.row.record, on_report)
    except BufferError:
        return False
    return True


@click.command(epilog="Exit codes: 0 deleted, 130 you declined.")
@directory_option
@click.option("--records", is_flag=True, help="Records that wait, of dead processes, instead of dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(*, outbox_dir: str | None, records: bool, yes: bool) -> int:
    """Delete dead letters for good.

    \b
      otel-kafka outbox purge --yes
      otel-kafka outbox purge --records
    """
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


def _letters(settings: Settings, cluster_id: str | None, tell: Callable[[str], None]) -> Iterator[StoredRow]:
    """The dead letters that are for this configuration's cluster, or may be; what cannot be read is told."""
    ours = Destination.of(owner_of(settings))._replace(cluster_id=cluster_id)
    for stored in stored_outboxes(Path(settings.outbox_dir)):
        if stored.claim_of(ours, settings.configuration) is Claim.OTHERS:
            continue
        if stored.problem:
            tell(f"nothing is sent of {stored.path}: {stored.problem}")
        else:
            yield from (each for each in stored.rows(lambda line: tell(f"unreadable: {line}")) if each.stream.dead)
