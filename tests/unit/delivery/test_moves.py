"""Rows that move within the outbox: with `durability=power` the old one goes when the new one is on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_kafka_exporter.delivery.entry import Entry
from otel_kafka_exporter.delivery.rest import RestState
from otel_kafka_exporter.delivery.steps import State
from otel_kafka_exporter.kafka import Reports
from otel_kafka_exporter.outbox import SENT, Front, Outbox, encode_row
from otel_kafka_exporter.records import KafkaRecord


def keep(state: RestState, entry: Entry, front: Front) -> None:
    state.keep(state.lanes["audit"], entry, "retreat", front=front)


def move(state: RestState, entry: Entry, front: Front) -> None:
    entry.state = State.LATE
    state.move(entry, front)


def refuse(state: RestState, entry: Entry, _: Front) -> None:
    state.dead_letter(state.lanes["audit"], entry, "INVALID_RECORD")


@pytest.mark.parametrize("step", [keep, move, refuse])
@pytest.mark.parametrize("power", [True, False])
def test_a_row_goes_when_its_successor_is_on_the_disk(tmp_path: Path, step: object, power: bool) -> None:  # noqa: FBT001 - a parameter
    """Until then it is there for a power failure, and nobody sends it; without that setting it goes at once."""
    state = RestState(lambda on_loss: Outbox(tmp_path, "c", 1 << 20, {}, on_loss, power=power), {"audit"})
    assert state.outbox is not None
    record = KafkaRecord("log.audit", b"t", b"value", [], 1, "audit", "id")
    stream = state.lanes["audit"].stream
    with state.lock:
        before = state.outbox.append(stream, encode_row(record), SENT)
        other = state.outbox.append(stream, encode_row(record), SENT)
        entry = Entry(record, 1, 0.0, before, None, Reports())
        step(state, entry, state.outbox.front(stream))  # type: ignore[operator]
    assert state.outbox.is_sent(before) is power
    state.sync()
    assert not state.outbox.is_sent(before)
    assert state.outbox.is_sent(other)
    state.outbox.abandon()
