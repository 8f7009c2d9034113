"""What the service does when Kafka does not answer, with a Kafka that does so on request."""

from __future__ import annotations

from confluent_kafka import KafkaError
from orders import close_account, delete_order

from otel_kafka_exporter.testing import CapturedEnvelopes, EmbeddedKafka


def test_the_trail_outlives_an_outage(embedded_kafka: EmbeddedKafka, captured_envelopes: CapturedEnvelopes) -> None:
    embedded_kafka.down()
    delete_order(17, "alice")
    embedded_kafka.up()
    captured_envelopes.one("audit", action="order.delete")


def test_no_account_is_closed_in_an_outage(
    embedded_kafka: EmbeddedKafka, captured_envelopes: CapturedEnvelopes
) -> None:
    embedded_kafka.down()
    assert not close_account("bob")
    embedded_kafka.up()
    assert close_account("bob")
    captured_envelopes("audit", 2, actor="bob")  # the first one is late, and not lost


def test_no_account_is_closed_when_kafka_is_slow(
    embedded_kafka: EmbeddedKafka, captured_envelopes: CapturedEnvelopes
) -> None:
    embedded_kafka.slow(3000)
    assert not close_account("bob")
    embedded_kafka.slow(0)
    captured_envelopes.one("audit", actor="bob")


def test_an_event_that_kafka_refuses(embedded_kafka: EmbeddedKafka, captured_envelopes: CapturedEnvelopes) -> None:
    embedded_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE, 2)
    assert not close_account("bob")
    captured_envelopes.none("audit")
