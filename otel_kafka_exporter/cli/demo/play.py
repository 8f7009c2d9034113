"""`otel-kafka demo`: a web service, Kafka, and a look at what arrives."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import click

from otel_kafka_exporter.process import monotonic
from otel_kafka_exporter.records import CATEGORIES, Category, event_type
from otel_kafka_exporter.settings import Settings, variable
from otel_kafka_exporter.testing import EmbeddedKafka

from .reader import Arrival, EnvelopeReader, ReaderError
from .rendering import Screen, visible
from .service import Service, ServiceError
from .surroundings import INSTANCE, check_installed, clean_environment, source, telemetry_environment
from .tally import Tally, category_of, count_emitted

# Seconds since the start; within 20 it is over, whatever happens.
_REQUESTS_UNTIL, _STOPPED_UNTIL, _ARRIVED_UNTIL = 12.0, 16.0, 18.0
_KAFKA_SECONDS = 4.0
_STOP_SECONDS = 3.0
_LAST_SECONDS = 3.0
# After a request: how long its first record may take, and when there seem to be no more of them.
_FIRST_SECONDS, _QUIET_SECONDS = 1.5, 0.15


class _Request(NamedTuple):
    method: str
    path: str
    form: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


_REQUESTS = (
    _Request("POST", "/login", {"user": "ada", "password": "lovelace"}),
    _Request("POST", "/orders", {"customer": "ada", "item": "difference engine"}),
    _Request("POST", "/orders", {"customer": "ada", "item": "punched cards"}),
    _Request("POST", "/orders/1001/payment"),
    _Request("POST", "/login", {"user": "mallory", "password": "letmein"}),
    _Request("GET", "/admin", headers={"X-User": "mallory"}),
    _Request("GET", "/admin", headers={"X-User": "root"}),
)
_LAST_REQUEST = _Request("POST", "/orders", {"customer": "ada", "item": "brass gears"})


def run(bootstrap_servers: str | None) -> int:
    """Run the demo, with an embedded Kafka unless one is given; returns the exit code.

    Raises:
        SettingsError: the address of the Kafka, or a setting in the environment, is wrong.
        click.ClickException: something is missing or does not work; says what, in a line or two.
    """
    check_installed()
    with ExitStack() as stack:
        try:
            return _Demo(stack, bootstrap_servers).run()
        except (ReaderError, ServiceError) as error:
            raise click.ClickException(str(error)) from None


class _Demo:
    def __init__(self, stack: ExitStack, bootstrap_servers: str | None) -> None:
        self._started = monotonic()
        self._screen = Screen()
        self._tally = Tally()
        self._examples: dict[Category, Arrival] = {}
        self._instance = str(uuid.uuid4())
        self._embedded = not bootstrap_servers
        environment = clean_environment(keep_exporter_settings=not self._embedded)
        settings = Settings.load({"bootstrap_servers": bootstrap_servers or _embedded(stack)}, environment)
        self._servers = settings.bootstrap_servers
        topics = [settings.topic_prefix + event_type(settings.namespace, category) for category in CATEGORIES]
        self._reader = stack.enter_context(EnvelopeReader(self._servers, topics, settings.producer_config))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otel-kafka-demo-")))
        # A copy, because Flask would import the installed file as a part of this package, with a logger of its name.
        self._source = source()
        shutil.copyfile(self._source, directory / "web_service.py")
        environment |= telemetry_environment(settings, self._instance)
        if self._embedded:  # which nobody will reach again: what it has not taken is of no use later
            environment[variable("outbox_dir")] = str(directory / "outbox")
        self._service = Service("web_service", directory, environment)
        stack.callback(self._service.stop, _STOP_SECONDS)

    def run(self) -> int:
        where = "an embedded broker in this process, at" if self._embedded else "yours, at"
        self._screen.fact("Kafka", f"{where} {self._servers}")
        self._reader.start(_KAFKA_SECONDS)
        self._service.start()
        self._introduce()
        self._service.wait_until_it_answers(self._started + _REQUESTS_UNTIL)
        self._screen.columns()
        for request in _REQUESTS:
            self._send(request)
            self._show_consequences()
        self._send(_LAST_REQUEST)
        self._stop()
        self._tally.emitted = count_emitted(self._service.output())
        # Who emits is gone: what is not in Kafka by now is only on its way to the consumer.
        until = min(self._started + _ARRIVED_UNTIL, monotonic() + _LAST_SECONDS)
        while self._tally.lost and monotonic() < until:
            self._show_arrivals(_QUIET_SECONDS)
        return self._account()

    def _introduce(self) -> None:
        self._screen.fact(
            "Service", f"opentelemetry-instrument flask --app web_service run --port {self._service.port}"
        )
        self._screen.fact("Source", str(self._source))
        self._screen.say(
            "\nThe service is sent requests (>). What it logs is shown as it arrives at a Kafka consumer.\n"
        )

    def _send(self, request: _Request) -> None:
        seconds = self._left(_REQUESTS_UNTIL)
        status = self._service.request(request.method, request.path, request.form, request.headers, seconds)
        self._screen.say(f"> {request.method} {request.path} {status}", "bold")

    def _show_consequences(self) -> None:
        """Show what a request has led to."""
        until = monotonic() + _FIRST_SECONDS
        while not self._show_arrivals(_QUIET_SECONDS) and monotonic() < until:
            pass
        while self._show_arrivals(_QUIET_SECONDS):
            pass

    def _stop(self) -> None:
        """Stop the service, and go on showing what arrives: the last request's records are exported on the way out."""
        self._screen.say("> the service is stopped at once (SIGINT), and exports what it still has", "bold")
        self._service.begin_stop()
        while self._service.running and self._left(_STOPPED_UNTIL):
            self._show_arrivals(_QUIET_SECONDS)
        if self._service.running:
            self._service.stop(0)
            raise ServiceError("the service did not stop in time and was killed: nothing to account by")

    def _show_arrivals(self, seconds: float) -> bool:
        """Show what arrives in so many seconds, and what the service complains of; whether anything arrived."""
        for warning in self._service.warnings():
            self._screen.say(f"stderr: {visible(warning)}", "yellow")
        new = [arrival for arrival in self._reader.read(seconds) if self._is_of_this_run(arrival)]
        for arrival in new:
            if self._tally.arrive(arrival.envelope):
                self._screen.record(arrival.envelope)
                self._examples.setdefault(category_of(arrival.envelope), arrival)
        return bool(new)

    def _is_of_this_run(self, arrival: Arrival) -> bool:
        context: Mapping[str, object] = arrival.envelope.payload["context"]
        return context.get(INSTANCE) == self._instance

    def _account(self) -> int:
        self._show_arrivals(0)  # warnings of the last moment
        for category, arrival in sorted(self._examples.items()):
            place = f"partition {arrival.partition}, offset {arrival.offset}, key {visible(arrival.key)}"
            self._screen.say(f"\nOne {category} record in full: topic {arrival.topic}, {place}", "bold")
            self._screen.envelope(arrival.envelope)
        self._screen.say("\nEmitted: by OpenTelemetry's own console exporter. Arrived: read from Kafka.\n")
        lines = self._tally.lines()
        self._screen.accounting(lines)
        total = lines[-1]
        seconds = monotonic() - self._started
        counts = f"{total.emitted} emitted, {total.arrived} arrived, lost {self._tally.lost}"
        self._screen.say(f"\n{counts}; {seconds:.1f} s", "bold green" if self._tally.complete else "bold red")
        if not self._tally.complete and not self._tally.lost:
            self._screen.say("Expected records of each category, as many arrived as emitted.", "bold red")
        return 0 if self._tally.complete else 1

    def _left(self, until: float) -> float:
        return max(0.0, self._started + until - monotonic())


def _embedded(stack: ExitStack) -> str:
    try:
        return stack.enter_context(EmbeddedKafka()).bootstrap_servers
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
