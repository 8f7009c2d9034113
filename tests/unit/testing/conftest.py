"""An embedded Kafka for each test of itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as kafka:
        yield kafka
