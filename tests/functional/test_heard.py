"""What an operator hears of losses: each is said, whatever else is said, and no line says the opposite of what is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter.process import log_lines
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import audit_records, exporting, records


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the exporter says, from the first of each kind on."""
    log_lines.log.addHandler(caplog.handler)
    yield caplog
    log_lines.log.removeHandler(caplog.handler)


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """A file where the outbox's directory is to be."""
    path = tmp_path / "in the way"
    path.write_text("a file")
    return path


def losses(lines: pytest.LogCaptureFixture) -> dict[str, int]:
    """How many records were dropped, by reason, as the lines have it."""
    found: Counter[str] = Counter()
    for number, reason in re.findall(r"log records dropped: (\d+), because of ([\w:.]+)", lines.text):
        found[reason] += int(number)
    return dict(found)


@pytest.mark.parametrize("make", [audit_records, records], ids=["audit", "application"])
def test_an_outage_without_a_usable_outbox(
    make: Any, embedded_kafka: EmbeddedKafka, unusable: Path, lines: pytest.LogCaptureFixture
) -> None:
    """It is said that records are in memory only, and each that is lost is in a line; none is said to be kept."""
    with exporting(embedded_kafka, delivery_wait=0.2, outbox_dir=str(unusable)) as exporter:
        exporter.export(make(["before"]))
        until(lambda: exporter.stats().delivered == 1)
        embedded_kafka.down()
        exporter.export(make([f"{n}" for n in range(500)]))
        until(lambda: "Kafka takes no records at present" in lines.text)
    dropped = exporter.stats().dropped
    assert dropped == {"outbox_unavailable": 500}
    assert losses(lines) == dropped
    assert "stay in memory only" in lines.text
    assert "the outbox takes none (outbox_unavailable)" in lines.text
    assert "wait in the outbox" not in lines.text


def test_an_outage_with_an_outbox(embedded_kafka: EmbeddedKafka, lines: pytest.LogCaptureFixture) -> None:
    """It is said that records wait there, and nothing of a loss."""
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        exporter.export(records(["before"]))
        until(lambda: exporter.stats().delivered == 1)
        embedded_kafka.down()
        exporter.export(records(["held up"]))
        until(lambda: "they wait in the outbox (1 so far)" in lines.text)
    assert "memory only" not in lines.text
    assert not losses(lines)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "because of not_authorized at the topic"),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "because of cluster_not_authorized; they stay in memory only"),
    ],
    ids=["a topic", "the cluster"],
)
def test_a_refusal_without_a_usable_outbox(
    code: int, line: str, embedded_kafka: EmbeddedKafka, unusable: Path, lines: pytest.LogCaptureFixture
) -> None:
    """Records that came back, and cannot be kept, are not said to wait, in the first line about them either."""
    with exporting(embedded_kafka, delivery_wait=5, outbox_dir=str(unusable)) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.fail_next(code)
        exporter.export(records(["refused"]))
        until(lambda: line in lines.text)
    assert exporter.stats().dropped == {"outbox_unavailable": 1}
    assert losses(lines) == {"outbox_unavailable": 1}
    assert "wait in the outbox" not in lines.text


def test_a_dead_letter_that_cannot_be_kept(
    embedded_kafka: EmbeddedKafka, unusable: Path, lines: pytest.LogCaptureFixture
) -> None:
    """What cannot be delivered is called a dead letter where it is one, and a loss where it is none."""
    [wrong] = records(["x"], **{"omni.category": "nonsense"})
    with exporting(embedded_kafka, outbox_dir=str(unusable)) as exporter:
        exporter.export([wrong])
    assert losses(lines) == exporter.stats().dropped == {"outbox_unavailable": 1}
    assert "as a dead letter" not in lines.text
    lines.clear()
    with exporting(embedded_kafka) as exporter:
        exporter.export([wrong])
    assert not losses(lines)
    assert "is kept as a dead letter" in lines.text


def test_a_record_without_an_outbox_that_cannot_be_converted(
    embedded_kafka: EmbeddedKafka, lines: pytest.LogCaptureFixture
) -> None:
    """It is a loss, and its field is the reason."""
    [wrong] = records(["x"], **{"omni.category": "nonsense"})
    with exporting(embedded_kafka, outbox=False) as exporter:
        exporter.export([wrong, wrong])
    dropped = exporter.stats().dropped
    assert list(dropped.values()) == [2]
    assert losses(lines) == dropped


def test_two_faults_have_a_line_each(embedded_kafka: EmbeddedKafka, lines: pytest.LogCaptureFixture) -> None:
    """What goes wrong in one place does not withhold what goes wrong in another, be they of one type."""

    class Builder:
        def build(self, source: int) -> Any:
            if source:
                raise ValueError("the one")
            raise ValueError("the other")

        def letter(self, source: int) -> Any:
            raise NotImplementedError

    with exporting(embedded_kafka) as exporter:
        delivery: Any = exporter._delivery
        delivery.deliver([0, 1, 0, 1], Builder())
    assert "the one" in lines.text
    assert "the other" in lines.text
    assert losses(lines) == {"exporter_fault": 4}
