"""What a process sends is captured in memory, whichever way it takes, and nothing of it leaves the process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import (
    DeliveryError,
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    LoggingEventPublisher,
    emit_audit_event,
)
from otel_kafka_exporter.settings import SettingsArguments
from otel_kafka_exporter.testing._captured import CapturedEnvelopes
from otel_kafka_exporter.testing._memory import Memory, in_place_of_delivery

SERVERS = "captured.invalid:9092"
EVENT = ("order.cancel", "user-7", "order/42")


def provider_of(processor: KafkaLogRecordProcessor | BatchLogRecordProcessor) -> LoggerProvider:
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    return provider


def test_a_record_is_what_readers_would_get(outbox_dir: Path) -> None:
    """A captured envelope is converted and redacted by the exporter's settings, whichever encoding it has."""
    variants: list[SettingsArguments] = [
        {},
        {"encoding": "protobuf"},
        {"topic_prefix": "staging.", "namespace": "acme"},
    ]
    for settings in variants:
        settings["redact_keys"] = ["pin"]
        memory = Memory()
        with in_place_of_delivery(memory):
            processor = KafkaLogRecordProcessor(KafkaLogExporter(bootstrap_servers=SERVERS, **settings))
            logger = provider_of(processor).get_logger("orders")
            logger.emit(LogRecord(body="paid", severity_number=SeverityNumber.WARN, attributes={"pin": "1", "n": 2}))
            processor.shutdown()
        envelope = CapturedEnvelopes(memory).one(message="paid", level="WARN", service="shop", logger="orders")
        assert envelope.payload["context"] == {"pin": "[REDACTED]", "n": 2}
    assert not outbox_dir.exists()


def test_it_is_there_when_the_call_returns_and_starts_nothing() -> None:
    """A direct processor's record is captured within its log call, and no thread is started for it."""
    threads = threading.active_count()
    memory = Memory()
    with in_place_of_delivery(memory):
        processor = KafkaLogRecordProcessor(bootstrap_servers=SERVERS)
        logger = provider_of(processor).get_logger("orders")
        emit_audit_event(*EVENT, "success", logger=logger)
        assert [each.payload["action"] for each in CapturedEnvelopes(memory)("audit")] == ["order.cancel"]
        assert processor.stats().delivered == processor.stats().accepted == 1
        assert processor.force_flush()
        processor.shutdown()
    assert threading.active_count() == threads


def test_a_receipt_and_a_dead_letter() -> None:
    """Who waits for an event has its receipt; one that is no event is a dead letter, and a failure names its field."""
    memory = Memory()
    with in_place_of_delivery(memory):
        processor = KafkaLogRecordProcessor(bootstrap_servers=SERVERS)
        logger = provider_of(processor).get_logger("orders")
        receipts = [emit_audit_event(*EVENT, "success", logger=logger, wait=5) for _ in range(2)]
        assert [(receipt.topic, receipt.offset) for receipt in receipts] == [
            ("omninode.logging.audit.v1", 0),
            ("omninode.logging.audit.v1", 1),
        ]
        with pytest.raises(DeliveryError, match=r"dead.lettered"):
            emit_audit_event(*EVENT, "maybe", logger=logger, wait=5)  # type: ignore[call-overload]  # the fault itself
        assert processor.stats().dead_lettered == 1
        processor.shutdown()
    captured = CapturedEnvelopes(memory)
    assert [each.event_id for each in captured("audit", 2)] == [receipt.event_id for receipt in receipts]
    with pytest.raises(AssertionError, match=r"a dead letter came instead of an envelope: .*outcome: expected success"):
        captured.one("audit", outcome="maybe", timeout=0)


def test_a_batch_processor_is_waited_for() -> None:
    """What OpenTelemetry's batch processor exports later is waited for."""
    memory = Memory()
    with in_place_of_delivery(memory):
        exporter = KafkaLogExporter(bootstrap_servers=SERVERS)
        provider = provider_of(BatchLogRecordProcessor(exporter, schedule_delay_millis=20))
        provider.get_logger("orders").emit(LogRecord(body="paid"))
        CapturedEnvelopes(memory).one(message="paid", timeout=30)
        provider.shutdown()


def test_what_was_there_before_is_captured_too_and_let_go_after(outbox_dir: Path) -> None:
    """An exporter that is older than a capture is captured while that lasts, and goes its own way again after it."""
    memory = Memory()
    processor = KafkaLogRecordProcessor(bootstrap_servers=SERVERS, shutdown_timeout=0)
    logger = provider_of(processor).get_logger("orders")
    with in_place_of_delivery(memory):
        emit_audit_event(*EVENT, "success", logger=logger)
    assert len(CapturedEnvelopes(memory)("audit")) == 1
    emit_audit_event(*EVENT, "success", logger=logger)
    assert len(CapturedEnvelopes(memory)("audit")) == 1
    assert (processor.stats().accepted, outbox_dir.exists()) == (1, True)
    processor.shutdown()


@pytest.mark.parametrize("outbox", [False, True])
def test_a_publisher(*, outbox: bool) -> None:
    """A publisher starts and publishes without a broker, by each of its calls, waiting or not."""
    memory = Memory()

    async def publish() -> list[bool]:
        publisher = LoggingEventPublisher(SERVERS, outbox=outbox)
        await publisher.start()
        published = [
            await publisher.publish_audit_log("acme", *EVENT, "success"),
            await publisher.publish_audit_log("acme", *EVENT, "success", wait=False),
            await publisher.publish_audit_log("acme", *EVENT, "maybe"),
        ]
        await publisher.stop()
        return published

    with in_place_of_delivery(memory):
        assert asyncio.run(publish())[:2] == [True, True]
    assert len(CapturedEnvelopes(memory)("audit", tenant_id="acme")) == 2


def suite(directory: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A user's tests, run by pytest in a process of their own: a process has one LoggerProvider for good."""
    (directory / "test_of_a_service.py").write_text(dedent(text))
    (directory / "tmp").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "KAFKA_"))}
    # Not the plugins of this repository's own tests, which take longer to load than all else.
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "hypothesispytest", "anyio")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "--basetemp=made", *without],
        cwd=directory,
        env=kept
        | {"HOME": str(directory / "home"), "XDG_STATE_HOME": str(directory / "state")}
        | {"TMPDIR": str(directory / "tmp")}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SERVICE = """
    import asyncio, logging, os
    import pytest
    from otel_kafka_exporter import emit_audit_event, publish_audit_log, publish_security_log

    log = logging.getLogger("orders")

    def delete_order(number):
        log.warning("order %d is gone", number, extra={"order_id": number})
        emit_audit_event("order.delete", "bob", f"order/{number}", "success", context={"order_id": number})
        assert asyncio.run(publish_security_log("acme", "permission_check", "bob", f"order/{number}", "allow"))

    def check(captured):
        [event] = captured("audit")
        captured.one(level="WARN", logger="orders", context={"order_id": event.payload["context"]["order_id"]})
        captured.one("security", user_id="bob")
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_KAFKA_TOPIC_PREFIX": "staging.", "OTEL_EXPORTER_KAFKA_NAMESPACE": "acme"},
        {"OTEL_EXPORTER_KAFKA_ENCODING": "protobuf", "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": "kafka.invalid:9092"},
        {"KAFKA_BOOTSTRAP_SERVERS": "kafka.invalid:9092"},
    ],
)
def test_tests_of_a_service(tmp_path: Path, environment: dict[str, str]) -> None:
    """Tests follow each other in one process, in memory and with a Kafka, whatever the environment's settings are."""
    tests = """
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_in_memory(captured_envelopes, number):
        delete_order(number)
        check(captured_envelopes)

    @pytest.mark.parametrize("number", [1, 2])
    def test_in_kafka(captured_envelopes, embedded_kafka, number):
        delete_order(number)
        captured_envelopes("audit", 1)
        captured_envelopes("application", 1)
        check(captured_envelopes)
        assert sum(len(embedded_kafka.messages(topic)) for topic in embedded_kafka.topics()) == 3

    def test_in_memory_again(captured_envelopes):
        delete_order(4)
        check(captured_envelopes)

    @pytest.mark.parametrize("tenant", ["acme", "umbrella"])
    def test_settings_of_ones_own(monkeypatch, request, tenant):
        monkeypatch.setenv("OTEL_EXPORTER_KAFKA_TENANT_ID", tenant)
        captured_envelopes = request.getfixturevalue("captured_envelopes")
        emit_audit_event("order.delete", "bob", "order/1", "success")
        asyncio.run(publish_audit_log(None, "order.delete", "eve", "order/1", "success"))
        assert [event.tenant_id for event in captured_envelopes("audit")] == [tenant, tenant]

    def test_nothing_is_left():
        emit_audit_event("order.delete", "bob", "order/1", "success")  # goes nowhere
        assert dict(os.environ).get("OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS") in (None, "kafka.invalid:9092")
        assert "OTEL_EXPORTER_KAFKA_OUTBOX_DIR" not in os.environ
        assert [type(each).__name__ for each in logging.getLogger().handlers if "otel" in type(each).__module__] == []
    """
    done = suite(tmp_path, SERVICE + tests, **environment)
    assert "9 passed" in done.stdout, done.stdout + done.stderr
    left = {each.name for each in tmp_path.iterdir()} - {"test_of_a_service.py", "made", "__pycache__", "tmp"}
    assert not left | {each.name for each in (tmp_path / "tmp").iterdir()}


def test_where_no_outbox_can_be(tmp_path: Path) -> None:
    """Production's outbox need not be there in a test, also where an exporter does not start without one."""
    tests = """
    def test_in_memory(captured_envelopes):
        delete_order(1)
        check(captured_envelopes)
    """
    variables = {"OTEL_EXPORTER_KAFKA_OUTBOX_DIR": "/proc/outbox", "OTEL_EXPORTER_KAFKA_OUTBOX_REQUIRED": "true"}
    done = suite(tmp_path, SERVICE + tests, **variables)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_an_application_that_sets_logging_up_itself(tmp_path: Path) -> None:
    """A line comes once where the application has a provider and a handler of its own, also if its set-up is tested."""
    tests = """
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from otel_kafka_exporter import KafkaLogRecordProcessor

    def set_up():
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers="kafka.invalid:9092"))
        logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
        set_logger_provider(provider)

    def test_before(captured_envelopes):
        delete_order(1)
        check(captured_envelopes)

    def test_its_set_up(captured_envelopes):
        set_up()
        delete_order(2)
        check(captured_envelopes)

    def test_after(captured_envelopes):
        delete_order(3)
        check(captured_envelopes)
    """
    done = suite(tmp_path, SERVICE + tests)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    first, last = tests.index("    def test_before"), tests.index("    def test_its_set_up")
    done = suite(tmp_path, SERVICE + tests[:first] + tests[last:])
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_what_fails_says_why(tmp_path: Path) -> None:
    """A failure is shown at the test's own line, and names the level below which no line is a record."""
    tests = """
    def test_a_line(captured_envelopes):
        log.info("order 1 is gone")
        captured_envelopes.one(message="order 1 is gone", timeout=0)
    """
    done = suite(tmp_path, SERVICE + tests)
    assert "expected one application envelope with message='order 1 is gone', got 0 of 0 that came" in done.stdout
    assert "the root logger's level is WARNING, so that lines below it are no records" in done.stdout
    assert "_captured.py" not in done.stdout
