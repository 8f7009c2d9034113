"""A client that is given up costs no record, none its place, and sends nothing again that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, delivery_of, exporting, records, settled


@pytest.mark.parametrize("has_outbox", [True, False])
def test_a_fatal_error_costs_no_record_and_none_its_place(
    embedded_kafka: EmbeddedKafka, tmp_path: Path, *, has_outbox: bool
) -> None:
    """An idempotent producer that has lost its place is made anew beside a log, with an outbox and without."""
    outbox = {"outbox_dir": tmp_path} if has_outbox else {"outbox": False}
    with exporting(embedded_kafka, **outbox) as exporter:
        exporter.export(records(["warm"]))
        number = delivery_of(exporter)._producer.client_number
        embedded_kafka.fail_next(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, 1)
        texts = [str(n) for n in range(3_000)]
        for text in texts:
            exporter.hand_over(records([text])[0])
        until(lambda: delivery_of(exporter)._producer.client_number > number, 10)
        until(lambda: settled(exporter), 20)
        assert exporter.stats().dropped == {}
        first = list(dict.fromkeys(arrived(embedded_kafka)))
        assert first == ["warm", *texts]


def test_what_was_acknowledged_is_not_sent_again(embedded_kafka: EmbeddedKafka) -> None:
    """Reports that nobody has served yet are, when their client is given up."""
    with exporting(embedded_kafka, delivery_wait=30) as exporter:
        exporter.export(records(["warm"]))
        delivery = delivery_of(exporter)
        delivery._background.stop(5)  # it would serve them
        for record in records([str(n) for n in range(400)]):
            exporter.hand_over(record)
        until(lambda: len(arrived(embedded_kafka)) == 401, 20)
        delivery._producer.renew(delivery._producer.client_number)
        assert exporter.stats().delivered == 401
        assert exporter.stats().in_flight == 0
