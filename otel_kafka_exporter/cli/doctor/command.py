"""`otel-kafka doctor`: why records do not arrive."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from otel_kafka_exporter.cli.tail.output import is_terminal, silence_stdout, terminal_width, wants_color, write

from .catalogue import CHECKS
from .check import Check, Result, Status
from .child import Child, run_child
from .child_checks import CHILD_CHECKS
from .masking import Masking
from .options import Duration, check_names
from .rendering import Rendering
from .report import document, write_bundle
from .running import chosen, examine, root_cause
from .subject import Subject

_FAILED, _NOT_RUN, _PIPE = 1, 3, 141
_PAUSE_SECONDS = 1.0


@click.command(
    epilog="Exit codes: 0 healthy, 1 a check failed (with --strict: or warned), 2 wrong usage, 3 it could not be run.",
)
@click.option("--only", multiple=True, metavar="CHECK,...", callback=check_names, help="These checks or families.")
@click.option("--skip", multiple=True, metavar="CHECK,...", callback=check_names, help="Not these.")
@click.option("--strict", is_flag=True, help="A warning counts as a failure.")
@click.option("--timeout", type=Duration(), default="10s", show_default=True, help="Deadline of each check.")
@click.option("--wait", type=Duration(), help="Ask again until healthy, for so long: for init containers.")
@click.option("--write", "writes", is_flag=True, help="Send a record too, to the application topic; its code says so.")
@click.option("-v", "--verbose", is_flag=True, help="Also those with nothing to look at.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, and nothing else on stdout.")
@click.option(
    "--bundle",
    metavar="FILE.zip",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report for somebody else, with every secret masked.",
)
@click.option("--bootstrap-servers", metavar="HOST:PORT,...", help="Of this Kafka.")
@click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True, help="Of lines."
)
@click.option(
    "--run-for", type=Duration(), default="5s", show_default=True, help="How long the command behind -- runs."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def doctor(
    *,
    only: list[str],
    skip: list[str],
    strict: bool,
    timeout: float,
    wait: float | None,
    writes: bool,
    verbose: bool,
    as_json: bool,
    bundle: Path | None,
    bootstrap_servers: str | None,
    color: str,
    run_for: float,
    command: tuple[str, ...],
) -> int:
    """Say why records do not arrive: a line for each check, and what to do about what is wrong.

    It looks at the settings, names and ports, TLS, the login, the cluster and every broker's own address, topics,
    rights, the Schema Registry, the outbox, and OpenTelemetry's set-up. The settings are those of the exporter's own
    environment variables (OTEL_EXPORTER_KAFKA_...). It changes nothing, and writes nothing without --write.

    A command behind -- is run for some seconds, and asked from inside what its logging really does.

    \b
      otel-kafka doctor
      otel-kafka doctor --only tls,cluster
      otel-kafka doctor --wait 60s --strict --skip topics.retention
      otel-kafka doctor --json | jq -r .root_cause
      otel-kafka doctor --bundle report.zip
      otel-kafka doctor -- opentelemetry-instrument python app.py
    """
    if command and (wait is not None or writes or bootstrap_servers is not None):
        raise click.UsageError("expected none of --wait, --write and --bootstrap-servers beside a command behind --.")
    every: Sequence[Check] = CHILD_CHECKS if command else CHECKS
    checks, reported = chosen(every, only, skip)
    if not reported:
        raise click.UsageError("expected a check that --only and --skip leave, got none.")

    def new_subject(child: Child | None = None) -> Subject:
        environ = dict(os.environ)
        return Subject(environ, timeout, writes, Masking(environ), bootstrap_servers, child)

    def look(on_result: Callable[[Result], None]) -> tuple[Subject, list[Result]]:
        subject = new_subject(child)
        shown: list[Result] = []

        def take(result: Result) -> None:
            # What another check stands on is shown where it is the reason why that one was skipped.
            if result.check.id in reported or result.finding.status is Status.FAIL:
                shown.append(result)
                on_result(result)

        examine(checks, subject, timeout, take)
        return subject, shown

    child = None
    if command:
        try:
            child = run_child(command, run_for)
        except OSError as error:
            click.echo(f"Error: expected to run {command[0]}, got: {error.strerror or error}", err=True)
            return _NOT_RUN
    rendering = Rendering(
        write, width=terminal_width() if is_terminal() else None, color=wants_color(color), verbose=verbose
    )
    try:
        is_live = not as_json and wait is None
        subject, results = look(rendering.result if is_live else _pass)
        if wait is not None:
            deadline = time.monotonic() + wait
            while _is_ill(results, strict=strict) and time.monotonic() < deadline:
                _say_not_yet(results)
                time.sleep(max(0.0, min(_PAUSE_SECONDS, deadline - time.monotonic())))
                subject, results = look(_pass)
        if as_json:
            write(json.dumps(document(results, subject), indent=2) + "\n")
        else:
            for each in () if is_live else results:
                rendering.result(each)
            rendering.summary(results)
    except BrokenPipeError:
        silence_stdout()
        return _PIPE
    if bundle is not None:
        try:
            write_bundle(bundle, results, _in_full(results), subject)
        except OSError as error:
            click.echo(f"Error: expected to write {bundle}, got: {error.strerror or error}", err=True)
            return _NOT_RUN
        click.echo(f"{bundle} is written", err=True)
    return _FAILED if _is_ill(results, strict=strict) else 0


def _is_ill(results: Sequence[Result], *, strict: bool) -> bool:
    bad = {Status.FAIL, Status.WARN} if strict else {Status.FAIL}
    return any(each.finding.status in bad for each in results)


def _say_not_yet(results: Sequence[Result]) -> None:
    cause = root_cause(results)
    if cause is not None and sys.stderr.isatty():
        click.echo(f"not yet: {cause.check.id}: {cause.finding.text}", err=True)


def _in_full(results: Sequence[Result]) -> str:
    lines: list[str] = []
    rendering = Rendering(lines.append, width=None, color=False, verbose=True)
    for each in results:
        rendering.result(each)
    rendering.summary(results)
    return "".join(lines)


def _pass(_result: Result) -> None:
    """Nothing is shown yet."""
