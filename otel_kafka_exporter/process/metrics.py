"""The exporter's metrics, by OpenTelemetry's semantic conventions for SDK components."""

from __future__ import annotations

import itertools
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from opentelemetry.metrics import MeterProvider, Observation, get_meter_provider

from .log_lines import QUIET_LOGGER
from .os_threads import get_ident
from .outcome import DeliveryStats, OutboxUsage, Stranded
from .totals import Observed, count_in

COMPONENT_TYPE = "onex_kafka_log_exporter"

_component_numbers = itertools.count()


Attributes = dict[str, str | int]


class Metrics:
    """The exporter's metrics, by OpenTelemetry's semantic conventions for SDK components.

    They are read when they are collected: a record pays nothing for them.

    Args:
        bootstrap_servers: the first of them gives `server.address` and `server.port`; empty when it is not known.
        meter_provider: where they go; the global one unless given.
    """

    def __init__(self, bootstrap_servers: str, meter_provider: MeterProvider | None = None) -> None:
        self._attributes: Attributes = {
            "otel.component.type": COMPONENT_TYPE,
            "otel.component.name": f"{COMPONENT_TYPE}/{next(_component_numbers)}",
        }
        if bootstrap_servers:
            host, _, port = bootstrap_servers.split(",", maxsplit=1)[0].rpartition(":")
            self._attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
        self._instruments = _instruments_of(meter_provider or get_meter_provider())
        self._durations: deque[float] = deque()
        self._recording: list[int] = []  # the threads that do

    def exported(self, seconds: float) -> None:
        """A batch has its outcomes."""
        self._durations.append(seconds)
        ident = get_ident()
        if ident in self._recording:  # a signal handler, or a finalizer: the SDK's lock is not reentrant
            return
        try:
            self._recording.append(ident)
            while self._durations:
                with suppress(IndexError):  # another thread was quicker
                    self._instruments.duration.record(self._durations.popleft(), self._attributes)
        finally:
            self._recording.remove(ident)

    def observe(self, delivery: Observed) -> None:
        """Tell of this delivery, for as long as it lives."""
        count_in(delivery)
        self._instruments.observe(delivery, self._attributes)


class _Instruments:
    """The instruments of one provider, which keeps them for ever: deliveries come and go, and share them."""

    def __init__(self, provider: MeterProvider) -> None:
        self._observed: dict[int, tuple[weakref.ref[Observed], Attributes]] = {}
        meter = provider.get_meter(QUIET_LOGGER)
        self.duration = meter.create_histogram(
            "otel.sdk.exporter.operation.duration", "s", "How long an export took, acknowledgements included."
        )
        meter.create_observable_up_down_counter(
            "otel.sdk.exporter.log.inflight",
            self._stats(lambda found: found.in_flight),
            "{log_record}",
            "Records that are handed over and have no outcome yet.",
        )
        meter.create_observable_counter(
            "otel.sdk.exporter.log.exported",
            self._each(_exported),
            "{log_record}",
            "Records with a final outcome; error.type says why one was not delivered.",
        )
        meter.create_observable_counter(
            "otel_kafka_exporter.values.truncated",
            self._stats(lambda found: found.truncated),
            "{value}",
            "Values that were too large and cut.",
        )
        meter.create_observable_gauge(
            "otel_kafka_exporter.outbox.records",
            self._stats(lambda found: found.spooled),
            "{log_record}",
            "Records that wait in the outbox.",
        )
        meter.create_observable_gauge(
            "otel_kafka_exporter.outbox.dead_letters",
            self._stats(lambda found: found.dead_lettered),
            "{log_record}",
            "Records in the outbox that no broker will take.",
        )
        meter.create_observable_gauge(
            "otel_kafka_exporter.outbox.size",
            self._usage(lambda found: found.allocated),
            "By",
            "What the outbox takes on the disk.",
        )
        meter.create_observable_gauge(
            "otel_kafka_exporter.outbox.age",
            self._usage(lambda found: _age(found) if found.oldest else 0.0),
            "s",
            "For how long the oldest part of the outbox has waited.",
        )
        meter.create_observable_gauge(
            "otel_kafka_exporter.outbox.stranded",
            self._each(lambda alive, attributes: _stranded(alive, attributes, lambda each: each.records, sum)),
            "{log_record}",
            "Records that dead processes have left for another cluster or other topics, and nobody delivers by itself.",
        )
        meter.create_observable_gauge(
            "otel_kafka_exporter.outbox.stranded.age",
            self._each(lambda alive, attributes: _stranded(alive, attributes, _age, max)),
            "s",
            "For how long the oldest of them have waited.",
        )

    def observe(self, delivery: Observed, attributes: Attributes) -> None:
        """Tell of a delivery from now on."""
        key = id(delivery)
        self._observed[key] = weakref.ref(delivery, lambda _: self._observed.pop(key, None)), attributes

    def _each(self, read: Callable[[Observed, Attributes], Iterable[Observation]]) -> Sequence[Callable[..., Any]]:
        def callback(_options: object) -> Iterable[Observation]:
            for reference, attributes in list(
                self._observed.values()
            ):  # a `tuple` is collected for before it is filled
                alive = reference()
                if alive is not None:
                    yield from read(alive, attributes)

        return [callback]

    def _stats(self, read: Callable[[DeliveryStats], int]) -> Sequence[Callable[..., Any]]:
        return self._each(lambda alive, attributes: [Observation(read(alive.stats()), attributes)])

    def _usage(self, read: Callable[[OutboxUsage], float]) -> Sequence[Callable[..., Any]]:
        def observations(alive: Observed, attributes: Attributes) -> Iterable[Observation]:
            found = alive.outbox_usage()
            return [] if found is None else [Observation(read(found), attributes)]

        return self._each(observations)


def _age(found: OutboxUsage | Stranded) -> float:
    return max(0.0, time.time() - found.oldest / 1e9)


def _stranded(
    delivery: Observed,
    attributes: Attributes,
    read: Callable[[Stranded], float],
    combine: Callable[[Iterable[float]], float],
) -> Iterable[Observation]:
    """One for each cluster that something waits for, and one that says 0 where nothing does."""
    found = delivery.outbox_usage()
    if found is None:
        return
    if not found.stranded:
        yield Observation(0, attributes)
    for servers in {each.servers for each in found.stranded}:
        of_these = [read(each) for each in found.stranded if each.servers == servers]
        yield Observation(combine(of_these), {**attributes, "otel_kafka_exporter.outbox.servers": servers})


def _exported(delivery: Observed, attributes: Attributes) -> Iterable[Observation]:
    found = delivery.stats()
    if found.delivered:
        yield Observation(found.delivered, attributes)
    for reason, records in found.dropped.items():
        yield Observation(records, {**attributes, "error.type": reason})


_instruments: weakref.WeakKeyDictionary[MeterProvider, _Instruments] = weakref.WeakKeyDictionary()


def _instruments_of(provider: MeterProvider) -> _Instruments:
    found = _instruments.get(provider)
    if found is None:
        found = _instruments[provider] = _Instruments(provider)
    return found
