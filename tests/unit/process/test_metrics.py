"""The exporter's metrics, as a reader of OpenTelemetry's collects them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_kafka_exporter.process.metrics import Metrics
from otel_kafka_exporter.process.outcome import DeliveryStats, OutboxUsage
from tests.interrupting import finalize_within


def collected(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    """Each metric's points: attributes, and the sum or the count of values."""
    data = reader.get_metrics_data()
    assert data is not None
    found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
    for resource_metrics in data.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            assert scope_metrics.scope.name == "otel_kafka_exporter"
            for metric in scope_metrics.metrics:
                for point in metric.data.data_points:
                    value = getattr(point, "value", None)
                    found.setdefault(metric.name, []).append(
                        (dict(point.attributes or {}), point.sum if value is None else value)  # type: ignore[union-attr]  # a histogram's point has no value
                    )
    return found


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


class Delivered:
    """What a delivery says of itself."""

    def __init__(self, stats: DeliveryStats, usage: OutboxUsage | None = None) -> None:
        self._stats = stats
        self._usage = usage

    def stats(self) -> DeliveryStats:
        return self._stats

    def outbox_usage(self) -> OutboxUsage | None:
        return self._usage


NOTHING = DeliveryStats(0, 0, 0, 0, 0, {}, 0)


def test_metrics(reader: InMemoryMetricReader) -> None:
    """The metrics are what the delivery says when they are collected, with the reason of each loss as error.type."""
    provider = MeterProvider([reader])
    metrics = Metrics("broker-1:9092,broker-2:9093", provider)
    delivery = Delivered(
        DeliveryStats(20, 5, 6, 4, 2, {"queue_full": 2, "closed": 1}, 4), OutboxUsage(4096, 10, time.time_ns() - 10**10)
    )
    metrics.observe(delivery)
    metrics.exported(0.25)
    found = collected(reader)
    (inflight,) = found["otel.sdk.exporter.log.inflight"]
    base, in_flight = inflight
    assert in_flight == 2
    assert base["otel.component.type"] == "onex_kafka_log_exporter"
    assert base["otel.component.name"].startswith("onex_kafka_log_exporter/")
    assert (base["server.address"], base["server.port"]) == ("broker-1", 9092)
    exported = {attributes.get("error.type"): value for attributes, value in found["otel.sdk.exporter.log.exported"]}
    assert exported == {None: 5, "queue_full": 2, "closed": 1}
    assert all(base.items() <= attributes.items() for attributes, _ in found["otel.sdk.exporter.log.exported"])
    assert found["otel.sdk.exporter.operation.duration"] == [(base, 0.25)]
    assert found["otel_kafka_exporter.values.truncated"] == [(base, 4)]
    assert found["otel_kafka_exporter.outbox.records"] == [(base, 6)]
    assert found["otel_kafka_exporter.outbox.dead_letters"] == [(base, 4)]
    assert found["otel_kafka_exporter.outbox.size"] == [(base, 4096)]
    [(_, age)] = found["otel_kafka_exporter.outbox.age"]
    assert 10 <= age < 100
    provider.shutdown()


def test_a_delivery_that_is_gone_has_no_metrics(reader: InMemoryMetricReader) -> None:
    """Metrics keep no delivery alive, and tell nothing of one that is gone."""
    provider = MeterProvider([reader])
    delivery = Delivered(NOTHING)
    Metrics("a:1", provider).observe(delivery)
    del delivery
    assert reader.get_metrics_data() is None
    provider.shutdown()


@pytest.mark.parametrize(
    ("bootstrap", "address", "port"),
    [("a:1", "a", 1), ("[::1]:9092,b:2", "::1", 9092), ("192.0.2.1:65535", "192.0.2.1", 65535)],
)
def test_server_attributes(bootstrap: str, address: str, port: int, reader: InMemoryMetricReader) -> None:
    """The first address gives host and port, an IPv6 host without its brackets."""
    provider = MeterProvider([reader])
    delivery = Delivered(NOTHING)
    Metrics(bootstrap, provider).observe(delivery)
    ((attributes, _),) = collected(reader)["otel.sdk.exporter.log.inflight"]
    assert (attributes["server.address"], attributes["server.port"]) == (address, port)
    provider.shutdown()


def test_each_exporter_has_its_own_name(reader: InMemoryMetricReader) -> None:
    """Two exporters of a process are told apart by the component's name."""
    provider = MeterProvider([reader])
    for _ in range(2):
        Metrics("a:1", provider).exported(1)
    points = collected(reader)["otel.sdk.exporter.operation.duration"]
    assert len({attributes["otel.component.name"] for attributes, _ in points}) == 2
    provider.shutdown()


def test_no_meter_provider() -> None:
    """Without a meter provider, nothing happens and nothing fails."""
    metrics = Metrics("a:1")
    metrics.observe(Delivered(NOTHING))
    metrics.exported(0.1)


def test_an_export_within_another_ones_measurement(reader: InMemoryMetricReader) -> None:
    """A finalizer may log there, and the SDK's lock is not reentrant: both are measured, and nobody waits for ever."""
    metrics = Metrics("", MeterProvider([reader]))
    metrics.exported(1.0)
    aggregate = _ExplicitBucketHistogramAggregation.aggregate
    finalize_within(
        aggregate.__code__,
        lambda: metrics.exported(2.0),
        lambda: metrics.exported(4.0),
        lambda frame: bool(frame.f_locals["self"]._lock.locked()),
    )
    [(_, seconds)] = collected(reader)["otel.sdk.exporter.operation.duration"]
    assert seconds == 7.0
