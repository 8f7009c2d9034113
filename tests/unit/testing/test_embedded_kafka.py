"""The embedded Kafka: what tests and demos that stand on it may rely on."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from otel_kafka_exporter.testing import _mock_cluster
from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOPIC = "logs"


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as kafka:
        yield kafka


def quick_producer(kafka: EmbeddedKafka, **config: Any) -> Producer:
    """A producer that says nothing and comes back within milliseconds."""
    quick: dict[str, Any] = {"linger.ms": 0, "log_level": 0, "retry.backoff.ms": 1, "reconnect.backoff.ms": 5}
    quick |= {"reconnect.backoff.max.ms": 20, "bootstrap.servers": kafka.bootstrap_servers}
    return Producer(quick | {name.replace("_", "."): value for name, value in config.items()})


def deliver(producer: Producer, *values: bytes, **record: Any) -> list[int | None]:
    """Produce one after the other, each alone in its request; the error code of each, None for delivered."""
    codes: list[int | None] = []
    for value in values:
        producer.produce(
            TOPIC, value, on_delivery=lambda error, _: codes.append(error.code() if error else None), **record
        )
        assert producer.flush(10) == 0
    return codes


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own; what it printed."""
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def address(kafka: EmbeddedKafka) -> tuple[str, int]:
    host, port = kafka.bootstrap_servers.split(":")
    return host, int(port)


def test_a_record_comes_back_as_it_was_sent(kafka: EmbeddedKafka) -> None:
    """Key, value, headers (their order, empty and missing values too) and timestamp survive."""
    headers: list[tuple[str, bytes | None]] = [("b", b"1"), ("a", b""), ("b", None)]
    deliver(quick_producer(kafka), b"value", key=b"key", headers=headers, timestamp=1_700_000_000_123)
    [message] = kafka.consume(TOPIC, 1)
    assert (message.topic(), message.key(), message.value()) == (TOPIC, b"key", b"value")
    assert message.headers() == headers
    assert message.timestamp()[1] == 1_700_000_000_123


@pytest.mark.parametrize("read", ["consume", "messages"])
def test_messages_come_by_partition_and_offset(kafka: EmbeddedKafka, read: str) -> None:
    """Either way of reading gives every record once, each partition's in the order of its offsets."""
    producer = quick_producer(kafka)
    for number in range(100):
        producer.produce(TOPIC, b"%d" % number, partition=number % 4)
    assert producer.flush(10) == 0
    messages = kafka.consume(TOPIC, 100) if read == "consume" else kafka.messages(TOPIC)
    assert [message.value() for message in messages] == [b"%d" % n for p in range(4) for n in range(p, 100, 4)]


def test_consume_waits_for_a_topic_and_its_messages(kafka: EmbeddedKafka) -> None:
    """A reader may be there before the topic is."""
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(kafka.consume, TOPIC, 2)
        producer = quick_producer(kafka)
        deliver(producer, b"1", partition=0)
        deliver(producer, b"2", partition=1)
        assert [message.value() for message in reading.result(10)] == [b"1", b"2"]


def test_consume_reads_from_the_start_each_time(kafka: EmbeddedKafka) -> None:
    """One read takes nothing from the next, and gives no more than was asked for."""
    deliver(quick_producer(kafka), b"1", b"2", b"3", partition=0)
    assert [[m.value() for m in kafka.consume(TOPIC, n)] for n in (2, 3, 0)] == [[b"1", b"2"], [b"1", b"2", b"3"], []]


def test_reading_creates_no_topic(kafka: EmbeddedKafka) -> None:
    """An unknown topic is empty or too late, and is still unknown after that."""
    assert kafka.messages(TOPIC) == []
    with pytest.raises(TimeoutError, match=r"expected 1 messages in 'logs', found no such topic in 0\.1 s$"):
        kafka.consume(TOPIC, 1, timeout=0.1)
    kafka.create_topic(TOPIC)


def test_too_few_messages_are_a_timeout_that_counts_them(kafka: EmbeddedKafka) -> None:
    """The error says what was expected and what came."""
    deliver(quick_producer(kafka), b"1")
    with pytest.raises(TimeoutError, match=r"expected 2 messages in 'logs', got 1 in 0\.1 s"):
        kafka.consume(TOPIC, 2, timeout=0.1)


@pytest.mark.parametrize("brokers", [1, 3])
def test_topics_made_on_first_use_have_four_partitions(brokers: int) -> None:
    """A topic that a client asks for, and one that is created without a number, have librdkafka's own."""
    with EmbeddedKafka(brokers=brokers) as kafka:
        assert kafka.bootstrap_servers.count("127.0.0.1:") == brokers
        kafka.create_topic("created")
        producer = quick_producer(kafka)
        found = [len(producer.list_topics(topic, timeout=5).topics[topic].partitions) for topic in (TOPIC, "created")]
        assert found == [4, 4]


def test_create_topic_sets_the_partitions_once(kafka: EmbeddedKafka) -> None:
    """An explicit topic has the partitions asked for; creating it again says that it exists."""
    kafka.create_topic(TOPIC, partitions=9)
    assert len(quick_producer(kafka).list_topics(TOPIC, timeout=5).topics[TOPIC].partitions) == 9
    with pytest.raises(KafkaException) as raised:
        kafka.create_topic(TOPIC, partitions=9)
    assert raised.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


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


def test_a_partition_keeps_its_newest_five_mebibytes(kafka: EmbeddedKafka) -> None:
    """The limit that the documentation names: older batches go, and reading starts behind them."""
    deliver(quick_producer(kafka), *[b"x" * 900_000] * 8, partition=0)
    assert [message.offset() for message in kafka.messages(TOPIC)] == [3, 4, 5, 6, 7]


def test_a_consumer_group_gets_messages_without_delay(kafka: EmbeddedKafka) -> None:
    """Subscribing works, and does not wait the three seconds of a real group's first rebalance."""
    deliver(quick_producer(kafka), b"1")
    config = {"group.id": "readers", "auto.offset.reset": "earliest", "log_level": 0}
    consumer = Consumer(config | {"bootstrap.servers": kafka.bootstrap_servers})
    consumer.subscribe([TOPIC])
    start = time.monotonic()
    message = consumer.poll(10)
    assert message is not None
    assert message.value() == b"1"
    assert time.monotonic() - start < 2.5
    consumer.close()


def test_start_and_stop_can_be_repeated() -> None:
    """Both may be called twice; each start is a new, empty Kafka."""
    kafka = EmbeddedKafka()
    kafka.stop()
    for _ in range(20):
        kafka.start()
        servers = kafka.bootstrap_servers
        kafka.start()
        assert kafka.bootstrap_servers == servers
        assert kafka.messages(TOPIC) == []
        assert deliver(quick_producer(kafka), b"1") == [None]
        kafka.stop()
        kafka.stop()


def test_two_at_a_time_are_strangers() -> None:
    """What one holds, fails or refuses is nothing to the other."""
    with EmbeddedKafka() as one, EmbeddedKafka() as other:
        one.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
        assert deliver(quick_producer(other), b"other") == [None]
        one.down()
        assert deliver(quick_producer(other), b"other") == [None]
        one.up()
        assert one.messages(TOPIC) == []


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


def test_what_is_not_started_says_so(kafka: EmbeddedKafka) -> None:
    """Neither before the start nor after the stop is anything done silently."""
    kafka.stop()
    for use in (lambda: kafka.bootstrap_servers, kafka.down, kafka.up, lambda: kafka.messages(TOPIC)):
        with pytest.raises(RuntimeError, match=r"does not run: use `with EmbeddedKafka\(\) as kafka:`"):
            use()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda _: EmbeddedKafka(brokers=0), "brokers: expected 1 to 100, got 0"),
        (lambda kafka: kafka.create_topic(TOPIC, 0), "partitions: expected 1 to 10000, got 0"),
        (lambda kafka: kafka.fail_next(KafkaError._MSG_TIMED_OUT), "code: expected -1 to 32767, got -192"),
        (lambda kafka: kafka.fail_next(10, 0), "n: expected 1 to 1000000, got 0"),
        (lambda kafka: kafka.slow(-1), "rtt_ms: expected 0 to 3600000, got -1"),
        (lambda kafka: kafka.consume(TOPIC, -1), "n: expected 0 to 10000000, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(kafka: EmbeddedKafka, wrong: Callable[[Any], object], message: str) -> None:
    """A number that the mock cluster would choke on is an error that names its range."""
    with pytest.raises(ValueError, match=message):
        wrong(kafka)


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


def test_a_librdkafka_without_the_functions_is_named() -> None:
    """The error lists what is missing, where it was looked for, and what to install."""
    path = importlib.import_module("_ctypes").__file__
    assert path is not None
    with pytest.raises(RuntimeError, match=r"rd_kafka_mock_topic_create.*looked in .*_ctypes.*--only-binary"):
        _mock_cluster.load_library(path)


def test_another_process_can_use_it(kafka: EmbeddedKafka) -> None:
    """The brokers are there for every process of this machine."""
    script = """
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": sys.argv[1]})
producer.produce("logs", b"from afar")
assert producer.flush(10) == 0
"""
    run(script, kafka.bootstrap_servers)
    assert [message.value() for message in kafka.consume(TOPIC, 1)] == [b"from afar"]


def test_a_forked_child_leaves_its_parents_brokers_alone() -> None:
    """A child may read and produce, cannot stop or steer, and does not hold the parent's ports while it lives."""
    # In a process of its own: where this goes wrong, librdkafka aborts.
    script = """
import os, signal, warnings
from confluent_kafka import Producer
from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka

def deliver(kafka, value):
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    producer.produce("logs", value, partition=0)
    return producer.flush(10)

with EmbeddedKafka(brokers=2) as kafka:
    assert deliver(kafka, b"parent") == 0
    reading, writing = os.pipe()
    warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, of a fork beside threads: the very case
    child = os.fork()
    if child == 0:
        try:
            assert deliver(kafka, b"child") == 0
            assert len(kafka.consume("logs", 2)) == 2
            try:
                kafka.down()
            except RuntimeError as error:
                assert "belongs to process" in str(error), error
                kafka.stop()
                with EmbeddedKafka() as own:
                    assert deliver(own, b"own") == 0
                os.write(writing, b"ok")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    assert os.read(reading, 2) == b"ok"
    kafka.down()
    kafka.up()
    assert deliver(kafka, b"parent again") == 0
    print([message.value() for message in kafka.messages("logs")])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
    assert run(script) == "[b'parent', b'child', b'parent again']\n"
