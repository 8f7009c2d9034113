"""Reads a topic with confluent-kafka and prints what happened, each event once, whichever way it is encoded.

Usage: python read_topic.py localhost:9092 omninode.logging.audit.v1 [RECORDS]
"""

from __future__ import annotations

import sys

from confluent_kafka import Consumer

from otel_kafka_exporter import DecodeError, decode


def main(bootstrap_servers: str, topic: str, records: str = "") -> None:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "read-topic", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    seen: set[str] = set()  # a service keeps these where its own results are, and forgets old ones
    try:
        while not records or len(seen) < int(records):
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            try:
                envelope = decode(message.value(), message.headers())
            except DecodeError as error:
                # One bad message must not stop the others: say where it is, and go on.
                print(f"{topic}/{message.partition()}@{message.offset()}: {error}", file=sys.stderr)  # noqa: T201
                continue
            if envelope.event_id not in seen:  # delivery is at least once
                seen.add(envelope.event_id)
                print(envelope.timestamp, envelope.tenant_id, dict(envelope.payload), flush=True)  # noqa: T201
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
