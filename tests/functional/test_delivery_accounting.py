"""Without an outbox a flush, the accounting and the metrics say what became of the records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_kafka_exporter.delivery.delivery import Delivery
from otel_kafka_exporter.kafka.producer import KafkaProducer
from otel_kafka_exporter.process.metrics import Metrics
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import records
from .without_outbox import FAILURE, SUCCESS, exporting


def test_force_flush_tells_the_truth(embedded_kafka: EmbeddedKafka) -> None:
    """True when nothing is in flight, False when something still is at the end of its time."""
    with exporting(embedded_kafka, delivery_wait=1) as exporter:
        exporter.export(records(["before"]))
        assert exporter.force_flush() is True
        embedded_kafka.down()
        with ThreadPoolExecutor(1) as pool:
            export = pool.submit(exporter.export, records(["on its way"]))
            until(lambda: exporter.stats().in_flight == 1)
            assert exporter.force_flush(timeout_millis=50) is False
            assert exporter.force_flush(timeout_millis=5000) is True
            assert export.result(timeout=1) is FAILURE


def test_truncated_values_are_counted(embedded_kafka: EmbeddedKafka) -> None:
    """What was cut arrives cut, and says so in the accounting."""
    with exporting(embedded_kafka) as exporter:
        assert exporter.export(records(["x"], blob="y" * 100_000)) is SUCCESS
        assert exporter.stats().truncated == 1


def test_metrics_follow_the_conventions(embedded_kafka: EmbeddedKafka) -> None:
    """Exported records, those in flight and the duration are metrics, with the reason of each loss as error.type."""
    reader = InMemoryMetricReader()
    metrics = Metrics(embedded_kafka.bootstrap_servers, MeterProvider([reader]))
    producer = KafkaProducer({"bootstrap.servers": embedded_kafka.bootstrap_servers})
    delivery = Delivery(producer, metrics)
    with exporting(embedded_kafka) as exporter:
        [bad] = records(["bad"], **{"omni.category": "nonsense"})
        delivery.deliver([*records(["one", "two"]), bad], exporter._builder)
    delivery.close(1)
    found = _points(reader)
    assert found[("otel.sdk.exporter.log.exported", None)] == 2
    assert found[("otel.sdk.exporter.log.exported", "conversion:omni.category")] == 1
    assert found[("otel.sdk.exporter.log.inflight", None)] == 0
    assert found[("otel.sdk.exporter.operation.duration", None)] == 1


def _points(reader: InMemoryMetricReader) -> dict[tuple[str, Any], Any]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, (point.attributes or {}).get("error.type")): getattr(
            point, "value", getattr(point, "count", None)
        )
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
