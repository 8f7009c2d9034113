"""What is produced while a client is being made: it waits in memory, as it would with librdkafka, and by its bounds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.cimpl import Producer

from otel_kafka_exporter.process import RLock, locked, monotonic

from .reports import EnoughServedError

#: Is called with what went wrong, if anything did, and the message as librdkafka has it.
OnReport = Callable[["KafkaError | None", Message], None]

#: librdkafka's own bounds and time, where a configuration says nothing.
_RECORDS, _KBYTES, _TIMEOUT_MS = 100_000, 1_048_576, 300_000
#: How long a client is waited for at least. confluent-kafka gives its making up after ten seconds, unless a callback
#: for tokens takes longer than that.
_LEAST_SECONDS = 60.0


class _Early(NamedTuple):
    arguments: tuple[Any, ...]
    on_report: OnReport
    size: int
    since: float


class EarlyRecords:
    """Records that wait for a client, in their order, for about as long as librdkafka would try to deliver them.

    Args:
        config: librdkafka's configuration.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._most_records = int(config.get("queue.buffering.max.messages", _RECORDS)) or _RECORDS
        self._most_bytes = 1024 * int(config.get("queue.buffering.max.kbytes", _KBYTES))
        self._seconds = int(config.get("message.timeout.ms", _TIMEOUT_MS)) / 1000 or math.inf
        self._seconds = max(self._seconds, _LEAST_SECONDS)
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._records: deque[_Early] = deque()
        self._bytes = 0
        self._produce: Callable[..., None] | None = None
        self._is_gone = False

    def produce(self, *arguments: Any) -> None:
        """As `Producer.produce`, by position.

        Raises:
            BufferError: too much waits already.
            RuntimeError: the client was given up, or could not be made.
        """
        _, value, key, _, on_report, *_ = arguments
        early = _Early(arguments, on_report, len(value) + len(key or b""), monotonic())
        locked(self._lock, self._add, _no_room, early)

    def _add(self, early: _Early) -> None:
        if self._is_gone:
            raise RuntimeError("the client was given up, or could not be made")
        if self._produce is not None:  # meanwhile it was made
            self._produce(*early.arguments)
            return
        if len(self._records) >= self._most_records or self._bytes + early.size > self._most_bytes:
            _no_room(early)
        self._records.append(early)
        self._bytes += early.size

    def hand_on(self, producer: Producer) -> bool:
        """Give what waits to the client that is there now; whether it took all, and gets newer ones straight away."""
        produce = producer.produce
        while True:
            taken: list[_Early] = []
            try:
                while self._take(math.inf, taken):
                    if not _is_taken(taken[0], produce):
                        self._put_back(taken)
                        return False
                    del taken[0]
            except BaseException:  # Ctrl-C: rather twice than not at all
                self._put_back(taken)
                raise
            with self._lock:
                if not self._records:
                    self._produce = produce
                    return True

    def expire(self) -> None:
        """Report on those whose time is over, as librdkafka does."""
        self._return(KafkaError._MSG_TIMED_OUT, monotonic() - self._seconds)

    def purge(self) -> None:
        """Report on all that they are taken back, as librdkafka does."""
        self._return(KafkaError._PURGE_QUEUE)

    def fail(self) -> None:
        """There will be no client: report so on all, and take no more."""
        self._is_gone = True
        self._return(KafkaError._DESTROY)

    def give_up(self) -> None:
        """Their client is given up: report on all that they are taken back, and take no more."""
        self._is_gone = True
        self.purge()

    def _return(self, code: int, before: float = math.inf) -> None:
        """Report on those that have waited since before then."""
        error, taken = KafkaError(code), list[_Early]()
        try:
            while self._take(before, taken):
                _report(taken[0].on_report, error)
                del taken[0]
        except BaseException:  # Ctrl-C; two reports on one are no harm
            self._put_back(taken)
            raise

    def _take(self, before: float, taken: list[_Early]) -> bool:
        """Put the oldest one that has waited since before then among those; whether there is one."""
        return locked(self._lock, self._take_locked, lambda *_: False, before, taken)

    def _take_locked(self, before: float, taken: list[_Early]) -> bool:
        # There is no call in between the steps, at which Ctrl-C could come.
        if not self._records or self._records[0].since >= before:
            return False
        self._bytes -= self._records[0].size
        taken += (self._records[0],)
        del self._records[0]
        return True

    def _put_back(self, taken: list[_Early]) -> None:
        size = sum(early.size for early in taken)
        with self._lock:
            self._records.extendleft(taken)
            self._bytes += size


def _no_room(_: _Early) -> None:
    """Too much waits, or others keep the lock, as where a finalizer within it waits for what this thread holds."""
    raise BufferError("the local queue is full")


def _is_taken(early: _Early, produce: Callable[..., None]) -> bool:
    """Whether the client had room for a record; one that it refuses is reported on."""
    try:
        produce(*early.arguments)
    except BufferError:
        return False
    except KafkaException as error:
        _report(early.on_report, error.args[0])
    except (TypeError, ValueError) as error:
        _report(early.on_report, KafkaError(KafkaError._INVALID_ARG, str(error)))
    except Exception as error:  # noqa: BLE001 - no memory, or a fault of the client: another one may do better
        _report(early.on_report, KafkaError(KafkaError._FATAL, str(error)))
    return True


def _report(on_report: OnReport, error: KafkaError) -> None:
    """No lock of ours may be held: who is told takes one of its own."""
    with suppress(EnoughServedError):  # it is no round of librdkafka's
        on_report(error, Message())
