"""Records that are handed over together, on their way to their outcomes: which are open, which failed, and how."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from confluent_kafka import KafkaError, Message

from .kafka_record import KafkaRecord


class Failure(NamedTuple):
    """A record that could not be delivered, and with which of Kafka's error codes."""

    at: int  # its place in the batch
    record: KafkaRecord
    code: int
    reported: bool  # by the broker or librdkafka's threads, not by produce() at once


class Round:
    """Records that were produced together, and the reports on them.

    A report may come in any thread's wait. It is one insertion into a dict, which is atomic, and only the first one on
    a record counts; so a record is settled or it is not, for every thread, without a lock.
    """

    __slots__ = ("client", "records", "reports")

    def __init__(self, client: int) -> None:
        self.client = client  # the number of the client that got them
        self.records: dict[int, KafkaRecord] = {}
        self.reports: dict[int, int] = {}

    def report(self, at: int, error: KafkaError | None, _message: Message) -> None:
        self.reports.setdefault(at, KafkaError.NO_ERROR if error is None else error.code())

    def settled(self) -> bool:
        return len(self.reports) >= len(self.records)

    def give_up(self) -> None:
        """Settle what has no report: a fatal error can swallow one, and a closed client has none to give."""
        for at in self.records:
            self.reports.setdefault(at, KafkaError._FATAL)

    def delivered(self) -> int:
        return sum(code == KafkaError.NO_ERROR for code in self.reports.values())

    def failures(self) -> list[Failure]:
        return [
            Failure(at, record, self.reports[at], reported=True)
            for at, record in self.records.items()
            if self.reports[at] != KafkaError.NO_ERROR
        ]


class Batch:
    """Records handed over together, and what has become of them. Only the thread that handed them over touches it."""

    __slots__ = ("delivered", "dropped", "failed", "open", "refused", "tries", "truncated")

    def __init__(self) -> None:
        self.refused: str | None = None  # not asked yet
        self.open: list[Round] = []
        self.failed: list[Failure] = []
        self.tries: Counter[int] = Counter()
        self.delivered = 0
        self.dropped: Counter[str] = Counter()
        self.truncated = 0

    def drop(self, reason: str) -> None:
        self.dropped[reason] += 1

    def settled(self) -> bool:
        return all(round_.settled() for round_ in self.open)
