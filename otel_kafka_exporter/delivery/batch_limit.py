"""Batches that a topic does not take: librdkafka makes them as large as `batch.size`, a topic's limit may be lower.

A batch that is refused for its size is halved until its parts are taken (see `recovery`). Where no single record was at
fault the lesson is kept: the client is made anew with smaller batches, in a moment in which it has nothing; new records
go to the outbox until that has come. Else each batch would be refused, and halved, again and again.
"""

from __future__ import annotations

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.process import monotonic, note

from .state import DeliveryState


class BatchLimit:
    """Keeps batches within what topics take.

    Args:
        state: the records' states; it notes the limit that was found.
        producer: makes the batches.
        delivery_wait: seconds for which new records are held up at most; the lesson waits for the next one then.
    """

    def __init__(self, state: DeliveryState, producer: KafkaProducer, delivery_wait: float) -> None:
        self._state = state
        self._producer = producer
        self._delivery_wait = delivery_wait
        self._gives_up_at = 0.0

    def step(self) -> None:
        """Make the client anew, if there is reason to and it has nothing. Takes the lock itself."""
        state = self._state
        if not state.batch_limit:
            return
        with state.lock:
            limit = state.batch_limit
            if state.with_client():
                self._hold_up()
                return
            state.batch_limit = 0
            state.resume_all()
            if limit >= self._producer.batch_bytes:
                return
            self._producer.limit_batches(limit)
        note(
            "batch_limit",
            "a topic refuses batches by its max.message.bytes, and takes smaller ones: they have %d bytes at most from"
            " here on. Set batch.size in producer_config, and no process has to find that out",
            limit,
        )

    def _hold_up(self) -> None:
        state, now = self._state, monotonic()
        if state.outbox is None:
            return  # a moment without records comes, or does not
        if not state.holds_up:
            state.holds_up = True
            self._gives_up_at = now + self._delivery_wait
        elif now >= self._gives_up_at:
            state.batch_limit = 0
            state.resume_all()
