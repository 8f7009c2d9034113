"""Random numbers of our own."""

from __future__ import annotations

import random

from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import exporting, records


def test_the_applications_random_numbers_are_its_own(embedded_kafka: EmbeddedKafka) -> None:
    """A service that has seeded `random` draws the same numbers with the exporter as without it."""
    random.seed(17)
    expected = [random.random() for _ in range(3)]
    random.seed(17)
    with exporting(embedded_kafka, application_key="none") as exporter:
        assert exporter.export(records(["one", "two"])) is LogRecordExportResult.SUCCESS
    assert [random.random() for _ in range(3)] == expected
