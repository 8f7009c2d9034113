"""Producers for the embedded Kafka's own tests."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from otel_kafka_exporter.testing._embedded_kafka import EmbeddedKafka

TOPIC = "logs"


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
