"""`otel-kafka topics`: plan, apply, check."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import click
from confluent_kafka import KafkaError
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource  # where their types are
from confluent_kafka.cimpl import NewPartitions, NewTopic

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.cli.admin import Admin, RefusedError
from otel_kafka_exporter.cli.connection import connection_properties
from otel_kafka_exporter.cli.environment import exporter_settings
from otel_kafka_exporter.cli.tail.output import is_terminal, terminal_width
from otel_kafka_exporter.cli.tail.text import wrapped
from otel_kafka_exporter.records import printable

from .changes import Change, changes, hidden
from .facts import find_topics
from .wanted import WantedError, parse_overrides, wanted_topics

_FAILED, _NOT_RUN = 1, 3
_SECONDS = 10.0
_EPILOG = "Exit codes: 0 {}, 1 {}, 2 wrong usage, 3 Kafka could not be reached."


class _Plan(NamedTuple):
    """What there is to do, and by whom it is done."""

    admin: Admin
    topics: list[str]
    changes: list[Change]
    as_json: bool


@click.group()
def topics() -> None:
    """Make the topics as they are best made, or say what is otherwise.

    Nothing is ever reduced or deleted. The names, and the way to Kafka, are those of the exporter's own environment
    variables (OTEL_EXPORTER_KAFKA_...).

    \b
      otel-kafka topics plan
      otel-kafka topics apply --set audit.retention.ms=365d
      otel-kafka topics check --file topics.properties --dead-letters
    """


def _planned(function: Callable[[_Plan], int]) -> Callable[..., Any]:
    """Give a command the options, and the plan that they lead to."""

    @functools.wraps(function)
    def command(
        *,
        overrides: tuple[str, ...],
        file: Path | None,
        dead_letters: bool,
        add_partitions: bool,
        bootstrap_servers: str | None,
        as_json: bool,
    ) -> int:
        settings = exporter_settings(bootstrap_servers)
        try:
            wanted_otherwise = parse_overrides([*_lines(file), *overrides])
            admin = Admin(settings.bootstrap_servers, connection_properties(settings), _SECONDS)
        except (SettingsError, WantedError) as error:
            raise click.UsageError(str(error)) from None
        try:
            metadata = admin.metadata()
        except RefusedError as error:
            click.echo(f"Kafka at {settings.bootstrap_servers} does not answer: {printable(str(error))}", err=True)
            click.echo("otel-kafka doctor says why", err=True)
            return _NOT_RUN
        wanted = wanted_topics(settings, len(metadata.brokers), wanted_otherwise, dead_letters=dead_letters)
        found = find_topics(admin, metadata, [each.name for each in wanted])
        todo = [
            change
            for each in wanted
            for change in (
                [hidden(each)]
                if each.name in found.denied
                else changes(each, found.topics.get(each.name), add_partitions=add_partitions)
            )
        ]
        return function(_Plan(admin, [each.name for each in wanted], todo, as_json))

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="[CATEGORY.]NAME=VALUE",
        help="Partitions, replicas or a property other than recommended, as in audit.retention.ms=90d.",
    ),
    click.option(
        "--file",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The same, one a line; # begins a comment.",
    ),
    click.option("--dead-letters", is_flag=True, help="A topic with .dlq behind its name beside each, for readers."),
    click.option("--add-partitions", is_flag=True, help="Add partitions where there are too few; keys move by that."),
    click.option("--bootstrap-servers", metavar="HOST:PORT,...", help="Of this Kafka."),
    click.option("--json", "as_json", is_flag=True, help="One JSON document."),
)


@topics.command(epilog=_EPILOG.format("the plan is printed", "never"))
@_planned
def plan(made: _Plan) -> int:
    """What would change, and why. Changes nothing.

    \b
      otel-kafka topics plan
      otel-kafka topics plan --set audit.retention.ms=365d --json
    """
    _show(made, {})
    return 0


@topics.command(epilog=_EPILOG.format("all is as wanted", "something is not"))
@_planned
def check(made: _Plan) -> int:
    """Whether all is as it is wanted. Changes nothing.

    \b
      otel-kafka topics check --dead-letters
    """
    _show(made, {})
    return _FAILED if made.changes else 0


@topics.command(epilog=_EPILOG.format("done, except for what needs an operator", "Kafka refused something"))
@_planned
def apply(made: _Plan) -> int:
    """Do what the plan says; a second time there is nothing to do.

    \b
      otel-kafka topics apply --set audit.retention.ms=365d
    """
    problems = {
        place: _applied(made.admin, change) for place, change in enumerate(made.changes) if change.action != "operator"
    }
    _show(made, problems)
    return _FAILED if any(problems.values()) else 0


def _applied(admin: Admin, change: Change) -> str:
    """Do it; returns why not."""
    client, asked = admin.client, {"operation_timeout": admin.seconds, "request_timeout": admin.seconds}
    futures: dict[Any, Future[Any]]
    if change.action == "create":
        topic = NewTopic(change.topic, change.partitions, change.replicas, config=dict(change.config))
        futures = client.create_topics([topic], **asked)
    elif change.action == "add_partitions":
        futures = client.create_partitions([NewPartitions(change.topic, change.partitions)], **asked)
    else:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in change.config.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, change.topic, incremental_configs=entries)
        futures = client.incremental_alter_configs([resource], request_timeout=admin.seconds)
    [answer] = admin.answers(futures).values()
    is_there = isinstance(answer, KafkaError) and answer.code() == KafkaError.TOPIC_ALREADY_EXISTS
    return answer.str() if isinstance(answer, KafkaError) and not is_there else ""


def _show(made: _Plan, problems: dict[int, str]) -> None:
    """Say what there is to do.

    Args:
        made: the plan.
        problems: of changes that were tried, by their places in it: why they were not made.
    """
    if made.as_json:
        document = {
            "schema": "otel-kafka-topics/1",
            "topics": made.topics,
            "changes": [
                {
                    "topic": each.topic,
                    "action": each.action,
                    "text": each.text,
                    "why": each.why,
                    "done": problems.get(place) == "",
                    "error": problems.get(place) or None,
                }
                for place, each in enumerate(made.changes)
            ],
        }
        click.echo(json.dumps(document, indent=2))
        return
    width = terminal_width() if is_terminal() else sys.maxsize
    for name in made.topics:
        todo = [(place, each) for place, each in enumerate(made.changes) if each.topic == name]
        click.echo(f"{name}{'' if todo else ': as it is wanted'}")
        for place, each in todo:
            line = printable(f"{_mark(each, problems.get(place))}{each.text} ({each.why})")
            for number, part in enumerate(wrapped(line, width - 2, width - 6)):
                click.echo(f"{'      ' if number else '  '}{part}")


def _mark(change: Change, problem: str | None) -> str:
    if change.action == "operator":
        return "operator: "
    if problem:
        return f"refused ({problem}): "
    return "" if problem is None else "done: "


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WantedError(f"expected a readable file, got {file}: {error}.") from None
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
