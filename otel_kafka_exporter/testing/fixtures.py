"""pytest fixtures, found through the entry-point group `pytest11`.

The package itself is imported when a fixture is first used: importing it while pytest loads its plugins would be too
early for coverage and assertion rewriting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_kafka_exporter import OnexEnvelopeV1

    from ._embedded_kafka import EmbeddedKafka

    CapturedEnvelopes = Callable[..., list[OnexEnvelopeV1]]


@pytest.fixture
def embedded_kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedKafka]:
    """An embedded Kafka of the test's own; `OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS` names it meanwhile."""
    from . import EmbeddedKafka  # noqa: PLC0415 - see above

    with EmbeddedKafka() as kafka:
        monkeypatch.setenv("OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
        yield kafka


@pytest.fixture
def captured_envelopes(embedded_kafka: EmbeddedKafka) -> CapturedEnvelopes:
    """A function that returns the envelopes of a category that are in the embedded Kafka, in their order.

        def test_a_login_is_audited(captured_envelopes):
            log_in("bob")
            [envelope] = captured_envelopes("audit", 1)
            assert envelope.payload["actor"] == "bob"

    Its arguments: the category (`application` unless given), how many to wait for (0: take what is there), and for how
    many seconds (10 unless given; then a `TimeoutError` says what came).
    """
    from otel_kafka_exporter import decode  # noqa: PLC0415 - see above

    def captured(
        category: str = "application", n: int = 0, timeout: float = 10.0, namespace: str = "omninode"
    ) -> list[OnexEnvelopeV1]:
        topic = f"{namespace}.logging.{category}.v1"
        messages = embedded_kafka.consume(topic, n, timeout) if n else embedded_kafka.messages(topic)
        return [decode(message.value(), message.headers()) for message in messages]

    return captured
