"""Running an application as a user does, and reading what it left in Kafka."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import Consumer, Message, TopicPartition

from otel_kafka_exporter import OnexEnvelopeV1, decode

APPS = Path(__file__).parent / "apps"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
_SECONDS = 30
_OUTBOX_DIR = "OTEL_EXPORTER_KAFKA_OUTBOX_DIR"


def environment(**variables: str) -> dict[str, str]:
    """These environment variables, this Python's programs first, and none of OpenTelemetry's or Kafka's from outside.

    But for where outboxes are: the user's own is not to be written to, and what is in there not to be delivered.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name == _OUTBOX_DIR or not name.startswith(("OTEL_", "KAFKA_", "TENANT_", "CELERY", "GUNICORN"))
    }
    quiet = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "PYTHONWARNINGS": "default"}
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return inherited | quiet | path | variables


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run to the end with these environment variables, and with none of OpenTelemetry's or Kafka's from outside."""
    return subprocess.run(
        command,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def app(name: str) -> str:
    return str(APPS / f"{name}.py")


def instrumented(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run an application under `opentelemetry-instrument`, and expect it to end well."""
    done = run(INSTRUMENT, *arguments, sys.executable, app(name), **variables)
    assert done.returncode == 0, done.stderr
    return done


def read(
    bootstrap_servers: str, topic: str, n: int, seconds: float = 10.0, credentials: Mapping[str, str] | None = None
) -> list[Message]:
    """The first `n` records of a topic, by a plain consumer; credentials by librdkafka's names."""
    config = {"bootstrap.servers": bootstrap_servers, "group.id": "tests", "auto.offset.reset": "earliest"}
    consumer = Consumer({**config, **(credentials or {})})
    deadline = time.monotonic() + seconds
    found: list[Message] = []
    try:
        partitions = consumer.list_topics(topic, timeout=seconds).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        while len(found) < n and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
    finally:
        consumer.close()
    assert len(found) >= n, f"expected {n} records in {topic}, got {len(found)} in {seconds} s"
    return found


def envelopes(bootstrap_servers: str, topic: str, n: int) -> list[OnexEnvelopeV1]:
    return [decode(message.value(), message.headers()) for message in read(bootstrap_servers, topic, n)]


def by_message(found: list[OnexEnvelopeV1]) -> Mapping[str, OnexEnvelopeV1]:
    return {str(envelope.payload.get("message")): envelope for envelope in found}
