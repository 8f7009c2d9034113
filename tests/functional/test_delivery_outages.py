"""Without an outbox an outage costs its records and a bounded wait, and its cause is named without a secret."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from confluent_kafka import KafkaError

from otel_kafka_exporter import KafkaLogExporter
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, records
from .without_outbox import FAILURE, SUCCESS, exporting


def test_an_outage_is_waited_for_once(embedded_kafka: EmbeddedKafka) -> None:
    """The first batch of an outage waits `delivery_wait`, the next ones only ask; when it is over, records flow."""
    with exporting(embedded_kafka, delivery_wait=1) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.down()
        started = time.monotonic()
        assert exporter.export(records(["lost 1"])) is FAILURE
        first = time.monotonic() - started
        assert exporter.export(records(["lost 2"])) is FAILURE
        second = time.monotonic() - started - first
        assert first >= 1
        assert second < first
        embedded_kafka.up()
        until(lambda: exporter.export(records(["after"])) is SUCCESS)
        assert arrived(embedded_kafka)[0] == "before"
        assert arrived(embedded_kafka)[-1] == "after"
        stats = exporter.stats()
        assert stats.dropped["connection_refused"] >= 1
        assert stats.accepted == stats.delivered + sum(stats.dropped.values())


def test_a_broker_that_was_never_there_costs_its_records_only(capfd: pytest.CaptureFixture[str]) -> None:
    """Records for a cluster that does not answer are dropped, which few lines say, and the call returns."""
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:1", delivery_wait=0.5, outbox=False)
    for _ in range(3):
        assert exporter.export(records(["lost"] * 10)) is FAILURE
    exporter.shutdown()
    assert sum(exporter.stats().dropped.values()) == 30
    lines = [line for line in capfd.readouterr().err.splitlines() if "log records dropped" in line]
    assert len(lines) == 2  # of one reason: the first at once, and the rest at the end


def test_shutdown_keeps_its_time_with_the_broker_away(embedded_kafka: EmbeddedKafka) -> None:
    """Within its budget, twice, and what comes afterwards is dropped as `shutdown`."""
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, delivery_wait=30, outbox=False)
    exporter.export(records(["before"]))
    embedded_kafka.down()
    with ThreadPoolExecutor(1) as pool:
        export = pool.submit(exporter.export, records(["on its way"]))
        until(lambda: exporter.stats().in_flight == 1)
        started = time.monotonic()
        exporter.shutdown(timeout_millis=300)
        exporter.shutdown(timeout_millis=300)
        assert time.monotonic() - started < 2
        assert export.result(timeout=5) is FAILURE
    assert exporter.export(records(["late"])) is FAILURE
    stats = exporter.stats()
    assert stats.dropped == {"shutdown": 2}
    assert (stats.accepted, stats.delivered, stats.in_flight) == (3, 1, 0)


def test_what_a_shutdown_still_delivers_is_counted_as_delivered(embedded_kafka: EmbeddedKafka) -> None:
    """Records on their way at a shutdown that arrive within its time are delivered, for the accounting too."""
    with exporting(embedded_kafka, delivery_wait=5) as exporter:
        exporter.export(records(["before"]))
        embedded_kafka.fail_next(KafkaError.REQUEST_TIMED_OUT, 3)  # librdkafka tries again, which takes a while
        with ThreadPoolExecutor(1) as pool:
            export = pool.submit(exporter.export, records(["one", "two"]))
            until(lambda: exporter.stats().in_flight == 2)
            exporter.shutdown()
            result = export.result(timeout=5)
        stats = exporter.stats()
        assert len(arrived(embedded_kafka)) == stats.delivered == 3
        assert (result, stats.dropped) == (SUCCESS, {})


def test_a_client_that_cannot_be_made_any_more_is_named_as_the_cause(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A certificate that is gone at the first record costs the records, and the warning says why."""
    certificate = tmp_path / "ca.pem"
    certificate.write_bytes(trustme.CA().cert_pem.bytes())
    config = {"security.protocol": "SSL", "ssl.ca.location": str(certificate)}
    exporter = KafkaLogExporter(
        bootstrap_servers="127.0.0.1:1", producer_config=config, delivery_wait=0.5, outbox=False
    )
    certificate.unlink()
    assert exporter.export(records(["lost"])) is FAILURE
    assert exporter.stats().dropped == {"no_client": 1}
    assert "ssl.ca.location failed" in capfd.readouterr().err


def test_secrets_are_not_in_what_librdkafka_says(capfd: pytest.CaptureFixture[str]) -> None:
    """librdkafka's own words about a wrong token come without the configured value."""
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": "topsecret",
    }
    exporter = KafkaLogExporter(bootstrap_servers="127.0.0.1:1", producer_config=properties, delivery_wait=0.5)
    exporter.export(records(["lost"]))
    exporter.shutdown()
    said = capfd.readouterr().err
    assert "OAUTHBEARER" in said
    assert "topsecret" not in said
