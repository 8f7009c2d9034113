"""Every way in, and what a wrong setting does in each, against the embedded broker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_kafka_exporter.delivery.no_delivery import NoDelivery
from otel_kafka_exporter.process.metrics import Metrics
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.ways_in import checks
from tests.ways_in.running import app, envelopes, instrumented, run


@checks.every_way_in
def test_a_record_gets_to_kafka_by(way_in: str, embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Whichever way OpenTelemetry is set up, its records arrive as envelopes."""
    checks.WAYS_IN[way_in](embedded_kafka.bootstrap_servers, "dev.", tmp_path)


def test_events_without_a_provider_do_nothing_and_warn_once() -> None:
    """A process without OpenTelemetry's set-up goes on, with one line that says where its events went."""
    done = run(sys.executable, app("no_provider"))
    assert done.stdout == "still here\n"
    assert done.stderr.count("events go nowhere") == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, "bootstrap_servers: expected host:port, got nothing. Set OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS"),
        (
            {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": "broker"},
            "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS: expected host:port",
        ),
        (
            {"KAFKA_BOOTSTRAP_SERVERS": "b:9092", "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT": "soon"},
            "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT: expected a number of seconds from 0.01 to 300, got 'soon'",
        ),
        (
            {"KAFKA_BOOTSTRAP_SERVERS": "b:9092", "OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG": "lingr.ms=1"},
            'producer_config: expected properties that librdkafka takes, got: No such configuration property: "lingr',
        ),
    ],
)
def test_a_wrong_variable_costs_one_line_and_no_more(variables: dict[str, str], line: str) -> None:
    """With a wrong environment variable the application runs on, and one line names variable, expectation and value."""
    done = instrumented("stdlib_logging", OTEL_LOGS_EXPORTER="onex_kafka", **variables)
    ours = [text for text in done.stderr.splitlines() if "otel_kafka_exporter" in text]
    assert len(ours) == 1, done.stderr
    assert line in ours[0]
    assert_no_traceback_of_ours(done.stderr)


def assert_no_traceback_of_ours(stderr: str) -> None:
    """The application has one of its own, and OpenTelemetry's handler has one at the exit of Python 3.12."""
    assert "otel_kafka_exporter/" not in stderr


def test_a_misconfigured_exporter_counts_what_it_drops() -> None:
    """Nobody holds an exporter that OpenTelemetry's set-up made, so its drops are a metric."""
    reader = InMemoryMetricReader()
    drops = NoDelivery("misconfigured", Metrics("", MeterProvider([reader])))
    assert drops.deliver(["one", "two"], str) is False
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    [point] = metrics["otel.sdk.exporter.log.exported"].data.data_points
    assert (point.value, (point.attributes or {})["error.type"]) == (2, "misconfigured")  # type: ignore[union-attr]  # a counter's
    assert drops.stats().dropped == {"misconfigured": 2}


def test_a_wrong_variable_leaves_other_telemetry_alone() -> None:
    """Records still go to the other exporters that are configured."""
    done = instrumented("stdlib_logging", OTEL_LOGS_EXPORTER="onex_kafka,console")
    assert '"body": "order 17 placed"' in done.stdout


@pytest.mark.parametrize(
    ("exporter", "line"),
    [
        (
            "{bootstrap_servers: 'b:9092', topic_prefx: dev}",
            "topic_prefx: expected the name of a setting, got an unknown one. Did you mean topic_prefix?",
        ),
        ("{bootstrap_servers: 'b:9092', queue_max_records: -1}", "queue_max_records: expected a whole number"),
        ("null", "bootstrap_servers: expected host:port, got nothing."),
    ],
)
def test_a_wrong_key_of_the_declarative_file_costs_one_line_and_no_more(
    exporter: str, line: str, tmp_path: Path
) -> None:
    """With a wrong or unknown key the application runs on, and one line names it."""
    done = instrumented("declarative", **checks.declarative_file(tmp_path, exporter))
    ours = [text for text in done.stderr.splitlines() if "otel_kafka_exporter" in text]
    assert len(ours) == 1, done.stderr
    assert line in ours[0]
    assert_no_traceback_of_ours(done.stderr)


def test_an_unknown_variable_is_named_and_costs_nothing(embedded_kafka: EmbeddedKafka) -> None:
    """A slip in a variable's name gives one line with the likely name, and records go on."""
    done = instrumented(
        "stdlib_logging",
        **checks.LOGS_TO_KAFKA,
        **checks.settings(embedded_kafka.bootstrap_servers, ""),
        OTEL_EXPORTER_KAFKA_TENANTID="acme",
    )
    assert "Did you mean OTEL_EXPORTER_KAFKA_TENANT_ID?" in done.stderr
    assert len(envelopes(embedded_kafka.bootstrap_servers, "omninode.logging.application.v1", 3)) == 3
