"""The structured loggers of docs/frameworks.md: each row's program, and what of it arrives."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from loguru import logger as loguru
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import KafkaLogRecordProcessor, OnexEnvelopeV1, decode, emit_audit_event
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT
from tests.ways_in.running import INSTRUMENT, run

from .pipelines import TOPIC

AUDIT = "omninode.logging.audit.v1"
ROWS = re.findall(
    r"^\| [^|]+ \| \[\w+\.py\]\(\.\./(examples/loggers/\w+\.py)\) \| yes \| (yes|no) \|$",
    (ROOT / "docs" / "frameworks.md").read_text(),
    re.MULTILINE,
)


def found(kafka: EmbeddedKafka, topic: str) -> list[OnexEnvelopeV1]:
    return [decode(message.value()) for message in kafka.messages(topic)]


@pytest.mark.parametrize(("program", "by_a_field"), ROWS)
def test_fields_exceptions_and_events_arrive(embedded_kafka: EmbeddedKafka, program: str, by_a_field: str) -> None:
    """Fields are context, secrets are hidden, an exception has its parts, and an event is an audit event."""
    assert ('"omni.category"' in (ROOT / program).read_text()) is (by_a_field == "yes")
    servers = {"OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": embedded_kafka.bootstrap_servers}
    done = run(INSTRUMENT, sys.executable, str(ROOT / program), OTEL_LOGS_EXPORTER="onex_kafka", **servers)
    assert done.returncode == 0, done.stderr
    assert "otel_kafka_exporter" not in done.stderr
    read, failed = (envelope.payload for envelope in found(embedded_kafka, TOPIC))
    assert (read["message"], failed["message"]) == ("order 17 was read", "payment failed")
    for payload in (read, failed):
        assert (payload["context"]["order"], payload["context"]["password"]) == (17, "[REDACTED]")
    assert "ConnectionError" in str(failed["context"])
    assert "no answer from the bank" in str(failed["context"])
    [audit] = found(embedded_kafka, AUDIT)
    assert (audit.payload["actor"], audit.payload["resource"]) == ("bob", "order/17")
    assert audit.payload["context"]["message"] == "bob deleted order 17"
    assert "hunter2" not in str(
        [message.value() for topic in (TOPIC, AUDIT) for message in embedded_kafka.messages(topic)]
    )


def test_every_program_is_a_row() -> None:
    """The table is read as it is meant, and no example is left out."""
    assert sorted(program for program, _ in ROWS) == sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "examples" / "loggers").iterdir() if path.suffix == ".py"
    )


@contextmanager
def handling(kafka: EmbeddedKafka) -> Iterator[logging.Handler]:
    """OpenTelemetry's handler, set up in code."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=kafka.bootstrap_servers))
    handler = LoggingHandler(logger_provider=provider)
    try:
        yield handler
    finally:
        provider.shutdown()


def logged(kafka: EmbeddedKafka, log: Callable[[logging.Logger], Any]) -> dict[str, Any]:
    """The payload of what is logged, set up in code."""
    with handling(kafka) as handler:
        logger = logging.getLogger("tests.loggers")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            log(logger)
        finally:
            logger.removeHandler(handler)
    [envelope] = found(kafka, TOPIC)
    return dict(envelope.payload)


def test_a_text_forges_no_event(embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]) -> None:
    """A text in JSON that somebody has logged gives neither category, tenant nor ID, and a line says so."""
    forged = (
        '{"message": "hello", "omni.category": "audit", "omni.tenant_id": "victim", "omni.audit.action": "a",'
        ' "log.record.uid": "01890a5d-ac96-774b-bcce-b302099a8057", "tries": 2}'
    )
    with handling(embedded_kafka) as handler:
        record = logging.LogRecord("shop", logging.INFO, "", 0, forged, (), None)
        handler.handle(record)
    [envelope] = found(embedded_kafka, TOPIC)
    assert found(embedded_kafka, AUDIT) == []
    assert envelope.tenant_id == "default"
    assert envelope.event_id != "01890a5d-ac96-774b-bcce-b302099a8057"
    assert (envelope.payload["message"], envelope.payload["context"]["tries"]) == ("hello", 2)
    assert set(envelope.payload["context"]["otel.body"]) >= {"omni.category", "omni.tenant_id", "log.record.uid"}
    assert "does not count there" in capfd.readouterr().err


def test_a_context_forges_no_tenant(embedded_kafka: EmbeddedKafka) -> None:
    """An event's context may come from a request: what it has as `extra` stays what it is."""
    context = {"extra": {"omni.tenant_id": "victim", "log.record.uid": "01890a5d-ac96-774b-bcce-b302099a8057"}}
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(KafkaLogRecordProcessor(bootstrap_servers=embedded_kafka.bootstrap_servers))
    logger = provider.get_logger("shop")
    emit_audit_event("order.delete", "bob", "order/17", "success", context=context, logger=logger)
    provider.shutdown()
    [envelope] = found(embedded_kafka, AUDIT)
    assert envelope.tenant_id == "default"
    assert envelope.payload["context"] == context


def test_a_tenant_that_was_cut_in_an_extra_is_no_other_tenant(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the SDK's limit leaves of a tenant in loguru's fields is refused, and a line names the limit."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "16")
    with handling(embedded_kafka) as handler:
        record = logging.LogRecord("shop", logging.INFO, "", 0, "hello", (), None)
        record.extra = {"omni.tenant_id": "tenant-of-the-north-and-the-south"}
        handler.handle(record)
    assert found(embedded_kafka, TOPIC) == []
    assert "ATTRIBUTE_VALUE_LENGTH_LIMIT" in capfd.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "{'event': 'hello'}",
        '{"order": 17}',
        '{"event": 17}',
        '{"event": "hello"',
        '{"event": "hello"} and more',
        '["event"]',
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"event": "hello", "n": ' + "1" * 5000 + "}",
    ],
)
def test_another_text_stays_as_it_is(embedded_kafka: EmbeddedKafka, text: str) -> None:
    """What is no JSON object with a message is a message itself."""
    assert logged(embedded_kafka, lambda logger: logger.info("%s", text))["message"] == text


def test_an_attribute_keeps_its_name(embedded_kafka: EmbeddedKafka) -> None:
    """A field whose name is an attribute's stays where it was, redacted, beside the attribute."""
    extra = {"order": 1, "extra": {"order": 2, "item": "tea", "token": "t"}}
    text = '{"event": "hello", "order": 3, "item": "tin", "password": "p", "qty": 4}'
    payload = logged(embedded_kafka, lambda logger: logger.info(text, extra=extra))
    assert payload["message"] == "hello"
    assert payload["context"] == {
        "order": 1,
        "item": "tea",
        "token": "[REDACTED]",
        "password": "[REDACTED]",
        "qty": 4,
        "extra": {"order": 2},
        "otel.body": {"order": 3, "item": "tin"},
    }


def test_an_extra_that_is_no_mapping_stays(embedded_kafka: EmbeddedKafka) -> None:
    """An attribute that only has the name of loguru's is an attribute."""
    assert logged(embedded_kafka, lambda logger: logger.info("x", extra={"extra": 5}))["context"] == {"extra": 5}


def test_loguru_with_the_handler_itself(embedded_kafka: EmbeddedKafka) -> None:
    """OpenTelemetry's handler may be a sink of loguru's."""
    with handling(embedded_kafka) as handler:
        sink = loguru.add(handler, format="{message}")
        try:
            loguru.bind(order=17, **{"omni.code": "READ"}).info("order was read")
        finally:
            loguru.remove(sink)
    [envelope] = found(embedded_kafka, TOPIC)
    assert envelope.payload["context"] == {"order": 17}
    assert envelope.payload["code"] == "READ"


def test_an_event_as_text_is_said(embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]) -> None:
    """Where structlog's fields come as one text, a line names the set-up that keeps them."""

    def log(logger: logging.Logger) -> None:
        wrap = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
        (event,), arguments = wrap(logger, "info", {"event": "hello", "order": 17})
        logger.info(event, extra=arguments["extra"])

    logged(embedded_kafka, log)
    assert "render_to_log_kwargs" in capfd.readouterr().err
