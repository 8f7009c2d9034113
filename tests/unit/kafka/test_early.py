"""What is produced before there is a client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, Message
from confluent_kafka.cimpl import Producer

from otel_kafka_exporter.kafka.early import EarlyRecords
from tests.interrupting import interrupt_at_signal_point

Reports = list[tuple[str, str]]


class Record:
    """A record whose reports are noted."""

    def __init__(self, name: str, reports: Reports) -> None:
        self.name = name
        self._reports = reports

    def report(self, error: KafkaError | None, _message: Message) -> None:
        self._reports.append((self.name, "delivered" if error is None else error.name()))

    def arguments(self) -> tuple[object, ...]:
        return "topic", self.name.encode(), b"key", -1, self.report, None, 0, []


@pytest.fixture
def small() -> Iterator[Producer]:
    """A client with room for two records, and nobody who takes them."""
    producer = Producer({"queue.buffering.max.messages": 2, "message.max.bytes": 1000})
    yield producer
    producer.purge()
    producer.flush(5)


def given_back(producer: Producer) -> None:
    """Have a client return what it has."""
    producer.purge()
    producer.flush(5)


def test_a_client_with_less_room(small: Producer) -> None:
    """A client that has no room for all of it gets the rest, and what came meanwhile, when it has, in that order."""
    reports: Reports = []
    early = EarlyRecords({})
    for name in "abc":
        early.produce(*Record(name, reports).arguments())
    assert not early.hand_on(small)
    early.produce(*Record("d", reports).arguments())
    given_back(small)
    assert early.hand_on(small)
    given_back(small)
    early.produce(*Record("e", reports).arguments())  # straight away from here on
    assert len(small) == 1
    given_back(small)
    assert reports == [(name, "_PURGE_QUEUE") for name in "abcde"]


def test_what_the_client_refuses(small: Producer) -> None:
    """A record that the client does not take is reported on, and costs no other."""
    reports: Reports = []
    early = EarlyRecords({})
    early.produce(*Record("x" * 2000, reports).arguments())
    early.produce("no time", b"", None, -1, Record("no time", reports).report, None, "now", [])
    early.produce(*Record("good", reports).arguments())
    assert early.hand_on(small)
    assert reports == [("x" * 2000, "MSG_SIZE_TOO_LARGE"), ("no time", "_INVALID_ARG")]
    assert len(small) == 1


def test_no_client_comes() -> None:
    """When none can be made, each record is told so, and a later one at once."""
    reports: Reports = []
    early = EarlyRecords({})
    early.produce(*Record("early", reports).arguments())
    early.fail()
    assert reports == [("early", "_DESTROY")]
    with pytest.raises(RuntimeError, match="could not be made"):
        early.produce(*Record("later", reports).arguments())


def test_a_report_that_takes_records_back() -> None:
    """A report may give more records up, as delivery does; each is reported on once."""
    reports: Reports = []
    early = EarlyRecords({})

    class Last(Record):
        def report(self, error: KafkaError | None, message: Message) -> None:
            super().report(error, message)
            early.purge()

    for record in (Last("a", reports), Record("b", reports)):
        early.produce(*record.arguments())
    early.purge()
    assert reports == [("a", "_PURGE_QUEUE"), ("b", "_PURGE_QUEUE")]


def test_bounds_are_for_what_waits() -> None:
    """What has left makes room, in records and in bytes."""
    reports: Reports = []
    early = EarlyRecords({"queue.buffering.max.messages": 2, "queue.buffering.max.kbytes": 1})
    large = Record("x" * 900, reports)
    early.produce(*large.arguments())
    with pytest.raises(BufferError):
        early.produce(*large.arguments())
    early.purge()
    early.produce(*large.arguments())
    early.produce(*Record("small", reports).arguments())
    with pytest.raises(BufferError):
        early.produce(*Record("tiny", reports).arguments())


def test_ctrl_c_while_records_are_given_back() -> None:
    """Wherever Python raises it, whoever gives up the client next reports on all that were not reported on."""
    number, interrupted = 0, True
    while interrupted:
        number += 1
        reports: Reports = []
        early = EarlyRecords({})
        for name in "abc":
            early.produce(*Record(name, reports).arguments())
        interrupted = interrupt_at_signal_point(number, early.purge)
        early.purge()
        assert list(dict.fromkeys(reports)) == [(name, "_PURGE_QUEUE") for name in "abc"], number
    assert number > 10
