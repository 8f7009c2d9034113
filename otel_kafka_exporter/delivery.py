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
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from .accounting import Ledger
from .batch import Batch, Failure, Round
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
_TAKEN_BACK = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
#: Failures after which the very same record may be delivered at once.
_WORTH_ANOTHER_TRY = _TOO_LARGE | {
    # A broker refuses a whole batch for its size, or for one record in it: each goes again on its own.
    KafkaError.INVALID_TIMESTAMP,  # without the timestamp
    *_TAKEN_BACK,
    KafkaError._FATAL,  # by a new producer
}


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
        batch = Batch()
        try:
            for at, source in enumerate(sources):
                self._hand_over(batch, at, source, build, started + self._delivery_wait)
            self._settle(batch, started + self._delivery_wait)
        finally:
            # Something is open only after Ctrl-C in a thread of the application's that logs: it is taken back, so that
            # it is not delivered after it was counted.
            self._take_back(batch)
            interrupted = len(sources) - batch.delivered - batch.dropped.total()
            if interrupted:
                batch.dropped["interrupted"] = interrupted
            self._ledger.settle(batch.delivered, batch.dropped, batch.truncated)
            self._metrics.settled(batch.delivered, batch.dropped, batch.truncated, time.monotonic() - started)
        self._warn_of(batch)
        return not batch.dropped

    def wait_until_settled(self, seconds: float) -> bool:
        """Wait until nothing is in flight, at most for so long; whether that came about."""
        return self._ledger.wait_until_settled(seconds)

    def close(self, seconds: float) -> None:
        """Take no more records, and give up those that are on their way after so many seconds."""
        self._closed = True
        self._producer.close(seconds)

    def _hand_over(
        self, batch: Batch, at: int, source: _Source, build: Callable[[_Source], KafkaRecord], deadline: float
    ) -> None:
        try:
            record = build(source)
        except ConversionError as error:
            batch.drop(f"conversion:{error.field}")
            warn(f"conversion:{error.field}", "log record dropped, because of %s", error)
            return
        batch.truncated += record.cuts
        if batch.refused is None:
            batch.refused = self._refusal(record.topic)
        if batch.refused:
            batch.drop(batch.refused)
        else:
            self._produce(batch, at, record, deadline)

    def _settle(self, batch: Batch, deadline: float) -> None:
        """Wait for the reports, and judge what failed, until every record has its outcome."""
        self._wait(batch, deadline)
        while again := self._judge(batch, deadline):
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

    def _produce(self, batch: Batch, at: int, record: KafkaRecord, deadline: float) -> None:
        client = self._producer.client_number
        if not batch.open or batch.open[-1].client != client or at in batch.open[-1].records:
            batch.open.append(Round(client))
        round_ = batch.open[-1]
        code = KafkaError.NO_ERROR
        while code == KafkaError.NO_ERROR:  # again when the queue was full, until it has room
            try:
                self._producer.produce(record, partial(round_.report, at))
            except BufferError:  # noqa: PERF203 - the rare case, not the common one
                if time.monotonic() >= deadline:
                    code = KafkaError._QUEUE_FULL
                else:
                    self._producer.flush(_SLICE_SECONDS)
            except KafkaException as error:
                code = error.args[0].code()
            except RuntimeError:  # another thread closed the client, or gave it up, meanwhile
                code = KafkaError._FATAL
            else:
                round_.records[at] = record
                return
        if code == KafkaError._FATAL:
            self._producer.renew(client)
        batch.failed.append(Failure(at, record, code, reported=False))

    def _wait(self, batch: Batch, deadline: float) -> None:
        """Wait for the reports on a batch; what has none by the deadline is taken back."""
        while not batch.settled() and (left := deadline - time.monotonic()) > 0:
            if not self._producer.flush(min(left, _SLICE_SECONDS)):
                break
        if not batch.settled() and not batch.delivered and not any(round_.delivered() for round_ in batch.open):
            # Not one was acknowledged: the next batch asks first, and does not wait as long for the answer.
            self._reached = False
            self._probe_seconds = min(_PROBE_SECONDS, self._delivery_wait)
        self._take_back(batch)

    def _take_back(self, batch: Batch) -> None:
        """Close the open rounds: what has no report yet is given up, and everything that failed is to be judged."""
        for round_ in batch.open:
            if not round_.settled():
                self._producer.purge(round_.client)
        deadline = time.monotonic() + _PURGE_SECONDS
        while not batch.settled() and time.monotonic() < deadline:
            if not self._producer.flush(_SLICE_SECONDS):
                break
        for round_ in batch.open:
            if not round_.settled():
                # Its client swallowed reports, as one with a fatal error does, or is gone.
                self._producer.renew(round_.client)
                round_.give_up()
            batch.delivered += round_.delivered()
            batch.failed.extend(round_.failures())
        batch.open.clear()

    def _judge(self, batch: Batch, deadline: float) -> list[Failure]:
        """Give failed records their outcome; what comes back is worth another try."""
        failures = sorted(batch.failed)  # by their place: reports come partition by partition
        batch.failed.clear()
        again: list[Failure] = []
        for failure in failures:
            # What another thread took back, whose time was over, has not been tried.
            batch.tries[failure.at] += failure.code not in _TAKEN_BACK
            hopeful = time.monotonic() < deadline and batch.tries[failure.at] < _MAX_TRIES and not self._closed
            # What produce() itself refuses it refuses again; only the producer's own end is not the record's fault.
            mendable = failure.reported or failure.code == KafkaError._FATAL
            if hopeful and mendable and failure.code in _WORTH_ANOTHER_TRY:
                again.append(failure)
            else:
                given_up = self._closed and verdict(failure.code).disposition is Disposition.RETRY
                batch.dropped["shutdown" if given_up else verdict(failure.code).reason] += 1
        return again

    def _try_again(self, batch: Batch, failure: Failure, deadline: float) -> None:
        record = failure.record
        if failure.code == KafkaError.INVALID_TIMESTAMP:
            record = record._replace(milliseconds=0)  # librdkafka takes the time of sending
        self._produce(batch, failure.at, record, deadline)
        if failure.code in _TOO_LARGE:
            self._wait(batch, deadline)

    def _warn_of(self, batch: Batch) -> None:
        for reason, records in batch.dropped.items():
            if not reason.startswith("conversion:"):
                cause = f"; last error: {self._producer.last_error}" if self._producer.last_error else ""
                warn(reason, "log records dropped: %d, because of %s%s", records, reason, cause)


class NoDelivery:
    """Delivers nothing: every record is dropped with one and the same reason.

    Args:
        reason: that reason.
        metrics: told of it, since nobody holds an exporter that OpenTelemetry's own set-up made.
    """

    def __init__(self, reason: str, metrics: Metrics) -> None:
        self._reason = reason
        self._metrics = metrics
        self._ledger = Ledger()
        after_fork_in_child(self._ledger.begin)

    def stats(self) -> DeliveryStats:
        return self._ledger.stats()

    def deliver(self, sources: Sequence[_Source], _build: Callable[[_Source], KafkaRecord]) -> bool:
        dropped = Counter({self._reason: len(sources)})
        self._ledger.accept(len(sources))
        self._metrics.accepted(len(sources))
        self._ledger.settle(0, dropped, 0)
        self._metrics.settled(0, dropped, 0, 0.0)
        return not sources

    def wait_until_settled(self, _seconds: float) -> bool:
        return True

    def close(self, seconds: float) -> None:
        pass
