"""`otel-kafka doctor`: why records do not arrive."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import click

from otel_kafka_exporter.cli.duration import Duration
from otel_kafka_exporter.cli.progress import progress
from otel_kafka_exporter.cli.tail.output import is_terminal, terminal_width, wants_color, write
from otel_kafka_exporter.cli.tail.text import visible
from otel_kafka_exporter.process import monotonic

from .catalogue import CHECKS
from .check import Check, Result, Status
from .child import Child, run_child
from .child_checks import CHILD_CHECKS
from .masking import Masking
from .options import check_names
from .rendering import Rendering
from .report import document, write_bundle
from .running import chosen, examine, root_cause
from .subject import Subject

_FAILED, _NOT_RUN = 1, 3
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
    checks, reported = chosen(CHILD_CHECKS if command else CHECKS, only, skip)
    if not reported:
        raise click.UsageError("expected a check that --only and --skip leave, got none.")
    examination = _Examination(checks, reported, timeout, writes=writes, bootstrap_servers=bootstrap_servers)
    if command:
        try:
            examination.child = run_child(command, run_for)
        except OSError as error:
            click.echo(f"Error: expected to run {command[0]}, got: {error.strerror or error}", err=True)
            return _NOT_RUN
    width = terminal_width() if is_terminal() else None
    rendering = Rendering(write, width=width, color=wants_color(color), verbose=verbose)
    if as_json:
        with progress("checks", lambda: examination.made, len(checks)):
            examination.look_until(wait, strict=strict)
        write(json.dumps(document(examination.results, examination.subject), indent=2) + "\n")
    elif wait is not None:
        examination.look_until(wait, strict=strict)
        rendering.all(examination.results)
    else:
        examination.look(rendering.result)
        rendering.summary(examination.results)
    if bundle is not None:
        try:
            write_bundle(bundle, examination.results, _in_full(examination.results), examination.subject)
        except OSError as error:
            click.echo(f"Error: expected to write {bundle}, got: {error.strerror or error}", err=True)
            return _NOT_RUN
        click.echo(f"{bundle} is written", err=True)
    return _FAILED if examination.is_ill(strict=strict) else 0


class _Examination:
    """Checks, and what they found the last time."""

    def __init__(
        self,
        checks: Sequence[Check],
        reported: Collection[str],
        seconds: float,
        *,
        writes: bool,
        bootstrap_servers: str | None,
    ) -> None:
        self._checks, self._reported, self._seconds = checks, reported, seconds
        self._writes, self._bootstrap_servers = writes, bootstrap_servers
        self.child: Child | None = None
        self.results: list[Result] = []
        self.made = 0

    def look(self, on_result: Callable[[Result], None] = lambda _: None) -> None:
        """Ask all of them."""
        environ = dict(os.environ)
        self.subject = Subject(
            environ, self._seconds, self._writes, Masking(environ), self._bootstrap_servers, self.child
        )
        self.results = []

        def take(result: Result) -> None:
            self.made += 1
            # What another check stands on is shown where it is the reason why that one was skipped.
            if result.check.id in self._reported or result.finding.status is Status.FAIL:
                self.results.append(result)
                on_result(result)

        self.made = 0
        examine(self._checks, self.subject, self._seconds, take)

    def look_until(self, seconds: float | None, *, strict: bool) -> None:
        """Ask until all is well, for so long at most; once at least."""
        deadline = monotonic() + (seconds or 0.0)
        self.look()
        said = ""
        while self.is_ill(strict=strict) and monotonic() < deadline:
            cause = root_cause(self.results)
            line = f"not yet: {cause.check.id}: {cause.finding.text}" if cause else "not yet: there are warnings"
            if line != said:
                click.echo(visible(line), err=True)
            said = line
            left = max(0.0, deadline - monotonic())
            time.sleep(min(_PAUSE_SECONDS, left))  # between two tries: what it waits for is outside, and tells nobody
            self.look()

    def is_ill(self, *, strict: bool) -> bool:
        """Whether a check failed; with `strict`, or warned."""
        bad = {Status.FAIL, Status.WARN} if strict else {Status.FAIL}
        return any(each.finding.status in bad for each in self.results)


def _in_full(results: Sequence[Result]) -> str:
    lines: list[str] = []
    Rendering(lines.append, width=None, color=False, verbose=True).all(results)
    return "".join(lines)
