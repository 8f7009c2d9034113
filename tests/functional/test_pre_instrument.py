"""Which processor a service gets under `opentelemetry-instrument`, and what becomes of the one before."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor

from otel_kafka_exporter.otel.exporter import EntryPointKafkaLogExporter
from otel_kafka_exporter.otel.pre_instrument import _replace_processor
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.ways_in import checks
from tests.ways_in.running import INSTRUMENT, app, instrumented, run

from .pipelines import arrived

AUDIT = "omninode.logging.audit.v1"
DIRECT = "OTEL_EXPORTER_KAFKA_DIRECT"
BY_VARIABLE = {"OTEL_LOGS_EXPORTER": "onex_kafka"}
#: So that no queue is emptied before its process is killed.
SLOW_QUEUE = {"OTEL_BLRP_SCHEDULE_DELAY": "60000"}


def survives(kafka: EmbeddedKafka, variables: dict[str, str]) -> bool:
    """Whether an audit event is there after its process was killed, as only the direct processor's is."""
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    done = run(INSTRUMENT, sys.executable, app("killed"), **servers, **variables)
    assert done.returncode == -9
    assert "otel_kafka_exporter" not in done.stderr
    drained = run(str(Path(sys.executable).with_name("otel-kafka")), "outbox", "drain", **servers)
    assert drained.returncode == 0, drained.stderr
    return len(kafka.messages(AUDIT)) == 1


@pytest.mark.parametrize(
    ("variables", "direct"),
    [
        (BY_VARIABLE, True),
        ({**BY_VARIABLE, "OTEL_BLRP_SCHEDULE_DELAY": ""}, True),
        ({**BY_VARIABLE, **SLOW_QUEUE}, False),
        ({**BY_VARIABLE, **SLOW_QUEUE, DIRECT: "true"}, True),
        ({**BY_VARIABLE, DIRECT: "false"}, False),
        ({"OTEL_LOGS_EXPORTER": "none", DIRECT: "true"}, True),
    ],
)
def test_by_environment_variables(embedded_kafka: EmbeddedKafka, variables: dict[str, str], *, direct: bool) -> None:
    """It is the direct one, unless the setting or one of the queue's says that the queue is wanted."""
    assert survives(embedded_kafka, variables) is direct


@pytest.mark.parametrize(
    ("exporter", "variables", "direct"),
    [
        ("null", {}, False),
        ("{direct: true}", {}, True),
        ("{direct: true}", SLOW_QUEUE, True),
        ("null", {DIRECT: "true"}, True),
        ("{direct: false}", {DIRECT: "true"}, False),
    ],
)
def test_by_the_declarative_file(
    embedded_kafka: EmbeddedKafka, tmp_path: Path, exporter: str, variables: dict[str, str], *, direct: bool
) -> None:
    """It is the one that is written down there, unless `direct: true` stands beside it."""
    variables = {**variables, **checks.declarative_file(tmp_path, exporter)}
    assert survives(embedded_kafka, variables) is direct


def test_other_exporters_stay(embedded_kafka: EmbeddedKafka) -> None:
    """The direct processor takes the place of one before our exporter only."""
    variables = checks.settings(embedded_kafka.bootstrap_servers, "")
    done = instrumented("stdlib_logging", OTEL_LOGS_EXPORTER="console,onex_kafka", **variables)
    assert '"body": "order 17 placed"' in done.stdout
    assert len(embedded_kafka.messages("omninode.logging.application.v1")) == 3


def test_a_wrong_word_is_named() -> None:
    """What the variable expects is said in one line, and the service runs on."""
    done = instrumented("stdlib_logging", OTEL_LOGS_EXPORTER="none", OTEL_EXPORTER_KAFKA_DIRECT="maybe")
    assert "OTEL_EXPORTER_KAFKA_DIRECT: expected true or false, got 'maybe'" in done.stderr


class Remembering(LogRecordProcessor):
    """Somebody's own processor."""

    def __init__(self) -> None:
        self.bodies: list[object] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.bodies.append(log_record.log_record.body)

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        return True


@pytest.mark.parametrize("kind", [BatchLogRecordProcessor, SimpleLogRecordProcessor])
def test_the_processor_before_loses_nothing(
    embedded_kafka: EmbeddedKafka, kind: type[BatchLogRecordProcessor | SimpleLogRecordProcessor]
) -> None:
    """What is in the queue when the processor is replaced arrives, in order, and the queue's thread is gone."""
    threads = set(threading.enumerate())
    exporter = EntryPointKafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers)
    provider = LoggerProvider(shutdown_on_exit=False)
    first, last = Remembering(), Remembering()
    for processor in (first, kind(exporter), last):
        provider.add_log_record_processor(processor)
    logger = provider.get_logger("shop")
    for n in range(10):
        logger.emit(body=str(n))
    _replace_processor(provider, exporter)
    for n in range(10, 20):
        logger.emit(body=str(n))
    assert [thread for thread in threading.enumerate() if thread.name.startswith("OtelBatch")] == []
    provider.shutdown()
    expected = [str(n) for n in range(20)]
    assert arrived(embedded_kafka) == expected
    assert exporter.stats().delivered == len(expected)
    assert first.bodies == last.bodies == expected
    assert set(threading.enumerate()) <= threads


def test_an_exporter_behind_somebodys_processor_stays_there(
    embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the exporter's place is not known, nothing is changed, and a line says so if `direct` asked for it."""

    class Wrapping(Remembering):
        def __init__(self, processor: LogRecordProcessor) -> None:
            super().__init__()
            self.on_emit = processor.on_emit  # type: ignore[method-assign]
            self.shutdown = processor.shutdown  # type: ignore[method-assign]

    exporter = EntryPointKafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, direct=True)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Wrapping(SimpleLogRecordProcessor(exporter)))
    _replace_processor(provider, exporter)
    provider.get_logger("shop").emit(body="once")
    provider.shutdown()
    assert arrived(embedded_kafka) == ["once"]
    assert "no direct processor" in capfd.readouterr().err
