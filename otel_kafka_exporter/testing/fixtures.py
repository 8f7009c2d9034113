"""pytest fixtures, found through the entry-point group `pytest11`.

The package itself is imported when a fixture is first used: importing it while pytest loads its plugins would be too
early for coverage and assertion rewriting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ._captured import CapturedEnvelopes
    from ._embedded_kafka import EmbeddedKafka


@pytest.fixture
def embedded_kafka(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """An embedded Kafka of the test's own; `OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS` names it meanwhile.

    What does not reach it waits in the test's own directory, unless `OTEL_EXPORTER_KAFKA_OUTBOX_DIR` names another.
    """
    from otel_kafka_exporter.publisher import close_shared_publisher  # noqa: PLC0415 - see above

    from . import EmbeddedKafka  # noqa: PLC0415 - see above

    if not os.environ.get("OTEL_EXPORTER_KAFKA_OUTBOX_DIR"):
        monkeypatch.setenv("OTEL_EXPORTER_KAFKA_OUTBOX_DIR", str(tmp_path / "otel-kafka-outbox"))
    with EmbeddedKafka() as kafka:
        monkeypatch.setenv("OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
        close_shared_publisher()  # one that an earlier test made publishes elsewhere
        yield kafka
        close_shared_publisher()


@pytest.fixture
def captured_envelopes(request: pytest.FixtureRequest) -> Iterator[CapturedEnvelopes]:
    """What the test's code sends, captured in memory; see `CapturedEnvelopes`.

        def test_a_login_is_audited(captured_envelopes):
            log_in("bob")
            captured_envelopes.one("audit", actor="bob", outcome="success")

    No broker is needed, and any number of tests may follow each other in one process; see `capture_envelopes`. A test
    that also has the fixture `embedded_kafka` sends everything there, and gets what arrived, from other processes too.
    """
    from ._capture import capture_envelopes, captured_from  # noqa: PLC0415 - see above

    kafka = request.getfixturevalue("embedded_kafka") if "embedded_kafka" in request.fixturenames else None
    with capture_envelopes() if kafka is None else captured_from(kafka) as captured:
        yield captured
