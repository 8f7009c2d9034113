"""The embedded Kafka is there for every process of the machine, and a forked child cannot steer its parent's."""

from __future__ import annotations

import os
import subprocess
import sys

from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka
from tests.unit.testing.producing import TOPIC


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
