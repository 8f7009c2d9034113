"""The reason of a loss names what is in the way, as far as that is known: each has another remedy."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import (
    DeliveryError,
    DeliveryTimeout,
    KafkaLogExporter,
    KafkaLogRecordProcessor,
    emit_audit_event,
)
from otel_kafka_exporter.kafka import trouble
from otel_kafka_exporter.kafka.trouble import Trouble, connection_reason
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.tls_front import LOOPBACK, TlsFront, certified, pem
from tests.waiting import until

from .pipelines import audit_records, delivery_of

Situation = tuple[str, dict[str, Any]]


@contextmanager
def nothing_listens(_directory: Path) -> Iterator[Situation]:
    with socket.create_server((LOOPBACK, 0)) as free:
        address = f"{LOOPBACK}:{free.getsockname()[1]}"
    yield address, {}


@contextmanager
def no_such_host(_directory: Path) -> Iterator[Situation]:
    yield "no-such-host.invalid:9092", {}


@contextmanager
def tls_at_a_plain_port(_directory: Path) -> Iterator[Situation]:
    with EmbeddedKafka() as kafka:
        yield kafka.bootstrap_servers, {"security.protocol": "SSL"}


@contextmanager
def an_unknown_authority(directory: Path) -> Iterator[Situation]:
    with TlsFront(certified(trustme.CA(), LOOPBACK), "127.0.0.1:1") as front:
        known = pem(trustme.CA(), directory / "ca.pem")
        yield front.address, {"security.protocol": "SSL", "ssl.ca.location": str(known)}


@contextmanager
def no_certificate_of_ours(directory: Path) -> Iterator[Situation]:
    ca = trustme.CA()
    with TlsFront(certified(ca, LOOPBACK, client_ca=ca), "127.0.0.1:1") as front:
        yield front.address, {"security.protocol": "SSL", "ssl.ca.location": str(pem(ca, directory / "ca.pem"))}


@contextmanager
def no_sasl_there(_directory: Path) -> Iterator[Situation]:
    with EmbeddedKafka() as kafka:
        sasl = {"sasl.mechanism": "PLAIN", "sasl.username": "shop", "sasl.password": "x"}
        yield kafka.bootstrap_servers, {"security.protocol": "SASL_PLAINTEXT", **sasl}


@contextmanager
def plain_text_at_a_tls_port(_directory: Path) -> Iterator[Situation]:
    with TlsFront(certified(trustme.CA(), LOOPBACK), "127.0.0.1:1") as front:
        yield front.address, {}


@contextmanager
def silence(_directory: Path) -> Iterator[Situation]:
    with socket.create_server((LOOPBACK, 0)) as listening:
        yield f"{LOOPBACK}:{listening.getsockname()[1]}", {}


REASONS: dict[Callable[[Path], AbstractContextManager[Situation]], str] = {
    nothing_listens: "connection_refused",
    no_such_host: "name_unresolved",
    tls_at_a_plain_port: "tls_failed",
    an_unknown_authority: "tls_failed",
    no_certificate_of_ours: "tls_failed",
    no_sasl_there: "not_authenticated",
    plain_text_at_a_tls_port: "broker_unavailable",
    silence: "delivery_timeout",
}


@pytest.mark.parametrize(("situation", "reason"), REASONS.items(), ids=[each.__name__ for each in REASONS])
def test_what_is_in_the_way_is_the_reason(
    situation: Any, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is what is counted, what the line on stderr says, and what whoever waits for an event is told."""
    with situation(tmp_path) as (address, properties):
        processor = KafkaLogRecordProcessor(
            bootstrap_servers=address, producer_config=properties, delivery_wait=0.5, outbox=False
        )
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(processor)
        event: tuple[Any, ...] = ("order.delete", "bob", "order/17", "success")
        with pytest.raises(DeliveryError) as error:
            emit_audit_event(*event, logger=provider.get_logger("shop"), wait=30)
        assert error.value.reason == reason
        provider.shutdown()
        assert processor.stats().dropped == {reason: 1}
        assert f"log records dropped: 1, because of {reason}" in capfd.readouterr().err


def test_what_is_in_the_way_of_all_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The line about an outage names it, and so does the time that runs out for who waits for an event."""
    with nothing_listens(tmp_path) as (address, _):
        processor = KafkaLogRecordProcessor(bootstrap_servers=address, delivery_wait=0.2)
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(processor)
        event: tuple[Any, ...] = ("order.delete", "bob", "order/17", "success")
        with pytest.raises(DeliveryTimeout, match=r"got none yet; last error: .*Connection refused"):
            emit_audit_event(*event, logger=provider.get_logger("shop"), wait=1)
        said = ""

        def is_said() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "Kafka takes no records at present, because of connection_refused; they wait in the outbox" in said

        until(is_said)
        provider.shutdown()
        assert processor.stats().dropped == {}


def test_an_error_that_is_over_is_no_cause(embedded_kafka: EmbeddedKafka, capfd: pytest.CaptureFixture[str]) -> None:
    """What a client told before brokers acknowledged again explains no later loss."""
    exporter = KafkaLogExporter(bootstrap_servers=embedded_kafka.bootstrap_servers, delivery_wait=0.3)
    exporter.export(audit_records(["before"]))
    embedded_kafka.down()
    exporter.export(audit_records(["held up"]))
    until(lambda: "refused" in delivery_of(exporter).trouble())
    embedded_kafka.up()
    until(lambda: exporter.stats().delivered == 2)
    exporter.shutdown()
    capfd.readouterr()
    exporter.export(audit_records(["too late"]))
    said = capfd.readouterr().err
    assert "log records dropped: 1, because of shutdown" in said
    assert "last error" not in said


def test_that_all_brokers_are_down_says_less_than_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """It replaces what a broker's own error says only when that is of another outage."""
    now = 1_000.0
    monkeypatch.setattr(trouble, "monotonic", lambda: now)
    known = Trouble()
    known.hear(KafkaError(KafkaError._ALL_BROKERS_DOWN), "1/1 brokers are down")
    assert known.why("delivery_timeout", 0.0) == "broker_unavailable"
    known.hear(KafkaError(KafkaError._RESOLVE), "Failed to resolve")
    known.hear(KafkaError(KafkaError._ALL_BROKERS_DOWN), "1/1 brokers are down")
    assert known.why("delivery_timeout", 0.0) == "name_unresolved"
    assert known.why("not_enough_replicas", 0.0) == "not_enough_replicas"
    assert known.why("delivery_timeout", now) == "delivery_timeout"
    now += 61
    known.hear(KafkaError(KafkaError._ALL_BROKERS_DOWN), "1/1 brokers are down")
    assert known.why("delivery_timeout", 0.0) == "broker_unavailable"
    known.learn("")
    assert (known.why("delivery_timeout", 0.0), known.cause(0.0)) == ("delivery_timeout", "")


@pytest.mark.parametrize(
    "text", ["refused.ssl.example:9092: Disconnected", "SSL:9092/bootstrap: Connect to ipv4#192.0.2.1:9092 failed: no"]
)
def test_a_hosts_name_is_no_reason(text: str) -> None:
    """Only what librdkafka says itself decides, and not how a broker is called."""
    assert connection_reason(KafkaError._TRANSPORT, text) == "broker_unavailable"
