"""Dead letters while Kafka is healthy, for years: evidence that costs no live record its place."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from confluent_kafka import KafkaError

from otel_kafka_exporter.outbox.files import stored_outboxes
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import arrived, audit_records, exporting, records, settled
from .test_outbox_commands import otel_kafka

AUDIT_TOPIC = "omninode.logging.audit.v1"
LARGE = 70_000


def test_letters_leave_room_for_the_next_outage(embedded_kafka: EmbeddedKafka) -> None:
    """More audit letters than fit have the oldest go, counted; the outage behind them costs no event."""
    broken = {"omni.category": "audit", "pad": "x" * LARGE}
    with exporting(embedded_kafka, outbox_max_bytes=4 << 20, delivery_wait=0.3) as exporter:
        exporter.export(records([f"broken {n}" for n in range(80)], **broken))
        until(lambda: sum(exporter.stats().dropped.values()) + exporter.stats().dead_lettered == 80)
        lost = exporter.stats().dropped["dead_letters_full"]
        assert exporter.stats().dropped == {"dead_letters_full": lost}
        assert 8 <= exporter.stats().dead_lettered < 40
        embedded_kafka.down()
        events = [f"{n} {'x' * 2_000}" for n in range(500)]
        for part in range(0, 500, 100):
            exporter.export(audit_records(events[part : part + 100]))
        assert exporter.stats().spooled + exporter.stats().in_flight == 500
        embedded_kafka.up()
        until(lambda: settled(exporter), 30)
        assert set(exporter.stats().dropped) == {"dead_letters_full"}
    assert sorted(arrived(embedded_kafka, AUDIT_TOPIC)) == sorted(events)


def test_a_letter_that_is_too_large_is_cut_and_not_sent_again(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """Of a letter beyond its limit the beginning is kept, and a digest of the whole; `retry` leaves it alone."""
    small = {"outbox_max_bytes": 1 << 20, "outbox_dead_letters_max_bytes": 1 << 18}
    with exporting(embedded_kafka, **small) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)
        exporter.export(records(["y" * LARGE]))
        until(lambda: exporter.stats().dead_lettered == 1)
        assert exporter.stats().truncated == 1
    [stored] = stored_outboxes(outbox_dir)
    [letter] = stored.rows()
    event_id = letter.row.record.event_id
    assert len(letter.payload) <= (1 << 18) // 8
    shown = json.loads(otel_kafka(embedded_kafka, "show", "--json", event_id).stdout)
    assert shown["reason"] == "invalid_record"
    value = json.loads(shown["value"])
    assert LARGE < value["otel.truncated"]["bytes"] < 2 * LARGE
    assert len(value["otel.truncated"]["sha256"]) == len(hashlib.sha256().hexdigest())
    assert event_id in value["beginning"]
    run = otel_kafka(embedded_kafka, "retry")
    assert run.stdout == "0 delivered, 0 refused again, 1 cannot be sent as they are\n"
