"""What happens next to a record: the one place that decides it, and counts it.

A batch's way: each record is built and handed to librdkafka; the caller waits, and serves the delivery reports
meanwhile, until each record has its report or `delivery_wait` is over; what has none by then is taken back. Then each
failed record is judged by `kafka_errors`: some are tried once more, the others get their outcome. So whoever hands
records over knows their outcomes when the call returns.

There is no outbox yet: what it will keep is dropped, with its reason counted and warned of once per reason and minute.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message

from .accounting import Ledger
from .errors import ConversionError
from .forks import after_fork_in_child
from .kafka_errors import verdict
from .kafka_record import KafkaRecord
from .outcome import DeliveryStats, Disposition
from .producer import KafkaProducer
from .telemetry import Metrics, warn

_Source = TypeVar("_Source")

#: How long a known outage is probed before the next batch is given up. No batch waits its whole time again.
_PROBE_SECONDS = 0.25
#: How long one wait for reports lasts. Others may produce all the while, so that the queue is never empty.
_SLICE_SECONDS = 0.1
#: How long the reports of purged records may take; they are local.
_PURGE_SECONDS = 1.0
_MAX_TRIES = 3
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
#: Failures after which the very same record may be delivered at once.
_WORTH_ANOTHER_TRY = _TOO_LARGE | {
    # A broker refuses a whole batch for its size, or for one record in it: each goes again on its own.
    KafkaError.INVALID_TIMESTAMP,  # without the timestamp
    KafkaError._PURGE_QUEUE,  # taken back by another thread, whose time was over
    KafkaError._PURGE_INFLIGHT,
    KafkaError._FATAL,  # by a new producer
}


class _Failure(NamedTuple):
    at: int  # its place in the batch
    record: KafkaRecord
    code: int
    reported: bool  # by the broker or librdkafka's threads, not by produce() at once


class _Batch:
    """Records handed over together.

    Reports may arrive in another thread's wait, at any time: they only take from `pending` and add to `failed`, each
    in one atomic step, so that no lock is needed.
    """

    __slots__ = ("dropped", "failed", "pending", "refused", "size", "tries", "truncated")

    def __init__(self, size: int) -> None:
        self.size = size
        self.refused: str | None = None  # not asked yet
        self.pending: dict[int, KafkaRecord] = {}
        self.failed: list[_Failure] = []
        self.tries: Counter[int] = Counter()
        self.dropped: Counter[str] = Counter()
        self.truncated = 0

    def report(self, index: int, error: KafkaError | None, _message: Message) -> None:
        record = self.pending.pop(index, None)
        if error is not None and record is not None:
            self.failed.append(_Failure(index, record, error.code(), reported=True))


class Delivery:
    """Delivers records, and accounts for each.

    Args:
        producer: takes them to Kafka.
        delivery_wait: seconds that a batch waits for its acknowledgements.
        metrics: told of what happens.
    """

    def __init__(self, producer: KafkaProducer, delivery_wait: float, metrics: Metrics) -> None:
        self._producer = producer
        self._delivery_wait = delivery_wait
        self._metrics = metrics
        self._ledger = Ledger()
        self._closed = False
        self._begin()
        after_fork_in_child(self._begin)

    def _begin(self) -> None:
        self._ledger.begin()
        # Whether the cluster has answered since it was last away, and whether it was ever asked.
        self._reached = False
        self._probe_seconds = self._delivery_wait

    def stats(self) -> DeliveryStats:
        """How many records are in which state."""
        return self._ledger.stats()

    def deliver(self, sources: Sequence[_Source], build: Callable[[_Source], KafkaRecord]) -> bool:
        """Deliver records; returns when each has its outcome, at most some seconds after `delivery_wait`.

        Args:
            sources: what the records are made of.
            build: makes one; raises `ConversionError` for one that cannot be made.

        Returns:
            Whether every record was delivered.
        """
        started = time.monotonic()
        self._ledger.accept(len(sources))
        self._metrics.accepted(len(sources))
        batch = _Batch(len(sources))
        reached_end = False
        try:
            self._deliver(batch, sources, build, started + self._delivery_wait)
            reached_end = True
        finally:
            # An interrupt in the application's own thread (Ctrl-C during a log call) ends here too.
            if not reached_end:
                batch.dropped["interrupted"] = len(sources) - batch.dropped.total()
            delivered = len(sources) - batch.dropped.total()
            self._ledger.settle(delivered, batch.dropped, batch.truncated)
            self._metrics.settled(delivered, batch.dropped, batch.truncated, time.monotonic() - started)
        self._warn_of(batch)
        return not batch.dropped

    def wait_until_settled(self, seconds: float) -> bool:
        """Wait until nothing is in flight, at most for so long; whether that came about."""
        return self._ledger.wait_until_settled(seconds)

    def close(self, seconds: float) -> None:
        """Take no more records, and give up those that are on their way after so many seconds."""
        self._closed = True
        self._producer.close(seconds)

    def _deliver(
        self, batch: _Batch, sources: Sequence[_Source], build: Callable[[_Source], KafkaRecord], deadline: float
    ) -> None:
        for index, source in enumerate(sources):
            try:
                record = build(source)
            except ConversionError as error:
                batch.dropped[f"conversion:{error.field}"] += 1
                warn(f"conversion:{error.field}", "log record dropped, because of %s", error)
                continue
            batch.truncated += record.cuts
            if batch.refused is None:
                batch.refused = self._refusal(record.topic)
            if batch.refused:
                batch.dropped[batch.refused] += 1
            else:
                self._produce(batch, index, record, deadline)
        self._wait(batch, deadline)
        while again := self._judge(batch, deadline):
            if any(failure.code == KafkaError._FATAL for failure in again):
                self._producer.renew()
            for failure in again:
                self._try_again(batch, failure, deadline)
            self._wait(batch, deadline)

    def _refusal(self, topic: str) -> str:
        """The reason why a batch need not be tried; empty when it may."""
        if self._closed:
            return "shutdown"
        if not self._reached:
            if not self._producer.reachable(topic, self._probe_seconds):
                self._probe_seconds = min(_PROBE_SECONDS, self._delivery_wait)
                return "broker_unavailable"
            self._reached = True
            self._probe_seconds = self._delivery_wait
        return ""

    def _produce(self, batch: _Batch, index: int, record: KafkaRecord, deadline: float) -> None:
        while True:
            # Before the call: the report may come in another thread, before this one goes on.
            batch.pending[index] = record
            try:
                self._producer.produce(record, partial(batch.report, index))
            except BufferError:
                del batch.pending[index]
                left = deadline - time.monotonic()
                if left <= 0:
                    batch.failed.append(_Failure(index, record, KafkaError._QUEUE_FULL, reported=False))
                    return
                self._flush(min(left, _SLICE_SECONDS))
            except KafkaException as error:
                del batch.pending[index]
                batch.failed.append(_Failure(index, record, error.args[0].code(), reported=False))
                return
            except RuntimeError:  # closed by another thread meanwhile
                del batch.pending[index]
                batch.dropped["shutdown"] += 1
                return
            else:
                return

    def _wait(self, batch: _Batch, deadline: float) -> None:
        """Wait for the reports of a batch; what has none by the deadline is taken back."""
        while batch.pending and (left := deadline - time.monotonic()) > 0:
            if not self._flush(min(left, _SLICE_SECONDS)):
                break
        if not batch.pending:
            return
        if len(batch.pending) + len(batch.failed) + batch.dropped.total() == batch.size:
            # Not one was acknowledged: the next batch asks first, and does not wait as long for the answer.
            self._reached = False
            self._probe_seconds = min(_PROBE_SECONDS, self._delivery_wait)
        self._take_back(batch)

    def _take_back(self, batch: _Batch) -> None:
        self._producer.purge()
        deadline = time.monotonic() + _PURGE_SECONDS
        while batch.pending and time.monotonic() < deadline and self._flush(_SLICE_SECONDS):
            pass
        # A fatal error can swallow a report, and a closed producer has none to give.
        for index in list(batch.pending):
            record = batch.pending.pop(index, None)
            if record is not None:
                batch.failed.append(_Failure(index, record, KafkaError._FATAL, reported=True))

    def _flush(self, seconds: float) -> bool:
        """Serve reports; whether the producer is still of use."""
        try:
            return self._producer.flush(seconds)
        except Exception as error:  # noqa: BLE001 - a fatal error comes as KafkaException, RuntimeError or SystemError
            warn("producer_fatal", "the Kafka producer failed and is made anew: %s", error)
            self._producer.renew()
            return False

    def _judge(self, batch: _Batch, deadline: float) -> list[_Failure]:
        """Give failed records their outcome; what comes back is worth another try."""
        failures, batch.failed = batch.failed, []
        again: list[_Failure] = []
        for failure in failures:
            batch.tries[failure.at] += 1
            hopeful = time.monotonic() < deadline and batch.tries[failure.at] < _MAX_TRIES and not self._closed
            # What produce() itself refuses it refuses again; only the producer's own end is not the record's fault.
            mendable = failure.reported or failure.code == KafkaError._FATAL
            if hopeful and mendable and failure.code in _WORTH_ANOTHER_TRY:
                again.append(failure)
            else:
                given_up = self._closed and verdict(failure.code).disposition is Disposition.RETRY
                batch.dropped["shutdown" if given_up else verdict(failure.code).reason] += 1
        # Reports come partition by partition; what goes again goes in the order of hand-over.
        return sorted(again, key=lambda failure: failure.at)

    def _try_again(self, batch: _Batch, failure: _Failure, deadline: float) -> None:
        record = failure.record
        if failure.code == KafkaError.INVALID_TIMESTAMP:
            record = record._replace(milliseconds=0)  # librdkafka takes the time of sending
        self._produce(batch, failure.at, record, deadline)
        if failure.code in _TOO_LARGE:
            self._wait(batch, deadline)

    def _warn_of(self, batch: _Batch) -> None:
        for reason, records in batch.dropped.items():
            if not reason.startswith("conversion:"):
                cause = f"; last error: {self._producer.last_error}" if self._producer.last_error else ""
                warn(reason, "log records dropped: %d, because of %s%s", records, reason, cause)


class NoDelivery:
    """Delivers nothing: every record is dropped with one and the same reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._ledger = Ledger()
        after_fork_in_child(self._ledger.begin)

    def stats(self) -> DeliveryStats:
        return self._ledger.stats()

    def deliver(self, sources: Sequence[_Source], _build: Callable[[_Source], KafkaRecord]) -> bool:
        self._ledger.accept(len(sources))
        self._ledger.settle(0, Counter({self._reason: len(sources)}), 0)
        return not sources

    def wait_until_settled(self, _seconds: float) -> bool:
        return True

    def close(self, seconds: float) -> None:
        pass
