"""The embedded Kafka is down, slow or refuses for as long as it is told to, as its clients see it."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka
from tests.unit.testing.producing import TOPIC, deliver, quick_producer


def address(kafka: EmbeddedKafka) -> tuple[str, int]:
    host, port = kafka.bootstrap_servers.split(":")
    return host, int(port)


def test_down_refuses_connections_until_up(kafka: EmbeddedKafka) -> None:
    """Down is a refused connection and not a silent one, at a port that stays the brokers' own."""
    for _ in range(3):
        kafka.down()
        kafka.down()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address(kafka), timeout=5)
        kafka.up()
        kafka.up()
        socket.create_connection(address(kafka), timeout=5).close()


def test_down_breaks_open_connections(kafka: EmbeddedKafka) -> None:
    """A client that is connected sees the end at once."""
    with socket.create_connection(address(kafka), timeout=5) as connection:
        quick_producer(kafka).list_topics(timeout=5)  # the broker has accepted everybody before this one
        kafka.down()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


@pytest.mark.parametrize("idempotent", [False, True])
def test_delivery_goes_on_after_an_outage(kafka: EmbeddedKafka, idempotent: bool) -> None:  # noqa: FBT001
    """What was there stays; what was in flight or queued is delivered in order, perhaps twice."""
    producer = quick_producer(kafka, enable_idempotence=idempotent, acks="all")
    assert deliver(producer, b"before", partition=0) == [None]
    kafka.slow(60_000)
    producer.produce(TOPIC, b"in flight", partition=0)
    assert producer.flush(0.1) == 1
    kafka.down()
    kafka.slow(0)
    producer.produce(TOPIC, b"meanwhile", partition=0)
    assert producer.flush(0.05) == 2
    kafka.up()
    assert producer.flush(10) == 0
    kept = dict.fromkeys(message.value() for message in kafka.messages(TOPIC))
    assert list(kept) == [b"before", b"in flight", b"meanwhile"]


def test_a_producer_gives_up_while_the_brokers_are_down(kafka: EmbeddedKafka) -> None:
    """An outage is a real one: a record's own timeout ends it, and only what comes after it is kept."""
    kafka.down()
    assert deliver(quick_producer(kafka, message_timeout_ms=100), b"lost") == [KafkaError._MSG_TIMED_OUT]
    kafka.up()
    assert deliver(quick_producer(kafka), b"kept") == [None]
    assert [message.value() for message in kafka.messages(TOPIC)] == [b"kept"]


@pytest.mark.parametrize(
    "code",
    [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_TIMESTAMP],
)
def test_fail_next_refuses_so_many_records(kafka: EmbeddedKafka, code: int) -> None:
    """The client gets the very code that was asked for, the record is not kept, and the next one is."""
    producer = quick_producer(kafka)
    assert deliver(producer, b"first") == [None]
    kafka.fail_next(code)
    kafka.fail_next(KafkaError.NO_ERROR)
    kafka.fail_next(KafkaError(code))
    assert deliver(producer, b"refused") == [code]
    # librdkafka itself refuses a topic's records for a while after an authorization failure.
    producer = quick_producer(kafka)
    assert deliver(producer, b"kept") == [None]
    assert deliver(producer, b"refused too") == [code]
    assert sorted(message.value() or b"" for message in kafka.messages(TOPIC)) == [b"first", b"kept"]


def test_fail_next_with_a_retriable_code_is_retried(kafka: EmbeddedKafka) -> None:
    """A client's own retries use the failures up, and the record arrives; without retries the code does."""
    kafka.fail_next(KafkaError.NOT_ENOUGH_REPLICAS, 3)
    assert deliver(quick_producer(kafka), b"kept") == [None]
    kafka.fail_next(KafkaError.NOT_ENOUGH_REPLICAS)
    assert deliver(quick_producer(kafka, retries=0), b"refused") == [KafkaError.NOT_ENOUGH_REPLICAS]
    assert [message.value() for message in kafka.messages(TOPIC)] == [b"kept"]


def test_fail_next_can_break_the_connection(kafka: EmbeddedKafka) -> None:
    """_TRANSPORT is a broker that hangs up on a request, without keeping its records."""
    kafka.fail_next(KafkaError._TRANSPORT)
    assert deliver(quick_producer(kafka, retries=0), b"lost") == [KafkaError._TRANSPORT]
    kafka.fail_next(KafkaError._TRANSPORT)
    assert deliver(quick_producer(kafka), b"kept") == [None]
    assert [message.value() for message in kafka.messages(TOPIC)] == [b"kept"]


def test_slow_holds_answers_back_until_it_ends(kafka: EmbeddedKafka) -> None:
    """The acknowledgement comes after the round trip asked for; at 0 it is as quick as before."""
    producer = quick_producer(kafka)
    deliver(producer, b"1")
    kafka.slow(150)
    start = time.monotonic()
    deliver(producer, b"2")
    assert time.monotonic() - start >= 0.15
    kafka.slow(60_000)
    producer.produce(TOPIC, b"3")
    assert producer.flush(0.05) == 1
    kafka.slow(0)
    assert producer.flush(10) == 0


def test_everything_ends_in_time_while_down(kafka: EmbeddedKafka) -> None:
    """Reading ends by its deadline and says why, and stopping does not wait for anybody."""
    producer = quick_producer(kafka)
    deliver(producer, b"1")
    kafka.down()
    producer.produce(TOPIC, b"2")
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"in 'logs', found no broker in 0\.1 s \(last problem: .+"):
        kafka.consume(TOPIC, 1, timeout=0.1)
    kafka.stop()
    assert time.monotonic() - start < 2.5


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """Brokers that go, and readers that miss them, do not write into the output of a test."""
    with EmbeddedKafka(brokers=3) as kafka:
        deliver(quick_producer(kafka), b"1")
        kafka.consume(TOPIC, 1)
        kafka.down()
        with pytest.raises(TimeoutError):
            kafka.consume(TOPIC, 1, timeout=0.1)
        kafka.up()
    assert capfd.readouterr() == ("", "")
