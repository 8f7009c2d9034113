"""Records that stay in this process: what stands in for delivery while a test captures them.

Everything before it is the real thing: settings, conversion, redaction, encoding. The one place in which an exporter
and a publisher hand a record to delivery is replaced for all of them, also for those that were made before, as an
application's are that sets logging up when it is imported.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

from otel_kafka_exporter.delivery import Batch, Delivery, Receipt, receipts
from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.process import DeliveryOutcome, DeliveryStats
from otel_kafka_exporter.records import KafkaRecord, OnexEnvelopeV1, decode


class Memory:
    """The records of one capture, in the order in which they were handed over.

    Attributes:
        patience: as of `Source`.
    """

    patience = 2.0  # a batch processor exports every second, unless told otherwise

    def __init__(self) -> None:
        self._records: list[KafkaRecord] = []
        self._envelopes: list[OnexEnvelopeV1] = []
        self._dead_letters: list[str] = []
        self._counts: WeakKeyDictionary[Delivery, list[int]] = WeakKeyDictionary()  # delivered, dead letters
        self._changed = threading.Condition(threading.RLock())  # a signal handler may log in the middle of it

    def envelopes(self) -> list[OnexEnvelopeV1]:
        with self._changed:
            # Decoded when a test asks: a record is what readers get, whichever way it is encoded.
            for record in self._records[len(self._envelopes) :]:
                self._envelopes.append(decode(record.value, record.headers))
            return list(self._envelopes)

    def wait(self, seconds: float) -> None:
        with self._changed:
            if len(self._envelopes) == len(self._records):
                self._changed.wait(seconds)

    def remarks(self) -> list[str]:
        with self._changed:
            letters = [f"a dead letter came instead of an envelope: {each}" for each in self._dead_letters]
        root = logging.getLogger()
        if not self._records and not letters and root.level > logging.INFO:
            level = logging.getLevelName(root.level)
            return [
                f"the root logger's level is {level}, so that lines below it are no records: caplog.set_level('INFO')"
            ]
        return letters

    def take(self, delivery: Delivery, source: Any, builder: Any, batch: Batch | None) -> None:
        """Take what was handed over to a delivery."""
        reason = said = ""
        try:
            record: KafkaRecord | None = builder.build(source)
        except ConversionError as error:
            record, reason, said = builder.letter(source), f"conversion:{error.field}", str(error)
        if record is None:
            return  # one of our own log lines
        outcome = DeliveryOutcome.DEAD_LETTERED if reason else DeliveryOutcome.DELIVERED
        with self._changed:
            offset = sum(each.topic == record.topic for each in self._records) if receipts.waiting else 0
            if reason:
                self._dead_letters.append(said)
            else:
                self._records.append(record)
            self._counts.setdefault(delivery, [0, 0])[bool(reason)] += 1
            self._changed.notify_all()
        if batch is not None:
            batch.take()
            batch.settle(outcome)
        if reason:
            receipts.failed(record.event_id, outcome, reason)
        elif receipts.waiting:
            at = record.milliseconds or time.time_ns() // 1_000_000
            receipts.delivered(Receipt(record.event_id, record.topic, 0, offset, at))

    def stats(self, delivery: Delivery, before: DeliveryStats) -> DeliveryStats:
        """A delivery's, with what is captured of it."""
        delivered, letters = self._counts.get(delivery, (0, 0))
        return before._replace(
            accepted=before.accepted + delivered + letters,
            delivered=before.delivered + delivered,
            dead_lettered=before.dead_lettered + letters,
        )


@contextmanager
def in_place_of_delivery(memory: Memory) -> Iterator[None]:
    """Meanwhile what any exporter or publisher of this process hands over comes to `memory`, and nowhere else."""
    stats = Delivery.stats

    def hand_over(delivery: Delivery, source: Any, builder: Any, batch: Batch | None = None) -> None:
        memory.take(delivery, source, builder, batch)

    def begin(delivery: Delivery, source: Any, builder: Any, batch: Batch) -> tuple[None, bool]:
        memory.take(delivery, source, builder, batch)
        return None, True

    def deliver(delivery: Delivery, sources: Sequence[Any], builder: Any) -> bool:
        for source in sources:
            memory.take(delivery, source, builder, None)
        return True

    stand_ins = {
        "hand_over": hand_over,
        "put": hand_over,
        "begin": begin,
        "hold": hand_over,  # there is always room
        "sync": lambda _delivery: True,
        "deliver": deliver,
        "stats": lambda delivery: memory.stats(delivery, stats(delivery)),
        "hurry": lambda _delivery: None,
        "reachable": lambda _delivery, _seconds: None,
        "drain": lambda _delivery, _seconds: True,
    }
    with ExitStack() as stack:
        for name, function in stand_ins.items():
            stack.enter_context(mock.patch.object(Delivery, name, function))
        yield
