"""Reads a topic from its beginning and prints who did what, each event once, whichever way it is encoded.

pip install "otel-kafka-exporter"
python read_topic.py localhost:9092 omninode.logging.audit.v1

It continues with new events until Ctrl-C, or ends after as many events as a third argument says. It joins no consumer
group and commits no offset, so that each run starts from the beginning. A service that continues where it was uses a
group of its own, and commits an offset after it has processed the event.
"""

from __future__ import annotations

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from otel_kafka_exporter import DecodeError, OnexEnvelopeV1, decode


def main(bootstrap_servers: str, topic: str, events: str = "") -> None:
    # librdkafka asks for a group even where none is joined.
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "none", "enable.auto.commit": False})
    topics = consumer.list_topics(timeout=10).topics
    if topic not in topics:
        sys.exit(f"expected a topic that exists, got {topic}. There are: {', '.join(sorted(topics)) or 'none'}.")
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in topics[topic].partitions])
    seen: set[str] = set()  # a service keeps these where its own results are, and forgets old ones
    try:
        while not events or len(seen) < int(events):
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                print(message.error(), file=sys.stderr)  # noqa: T201
                continue
            try:
                envelope = decode(message.value(), message.headers())
            except DecodeError as error:
                # One bad message must not stop the others: say where it is, and go on.
                print(f"{topic}/{message.partition()}@{message.offset()}: {error}", file=sys.stderr)  # noqa: T201
                continue
            if envelope.event_id not in seen:  # delivery is at least once
                seen.add(envelope.event_id)
                print(envelope.timestamp, envelope.tenant_id, sentence(envelope), flush=True)  # noqa: T201
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


def sentence(envelope: OnexEnvelopeV1) -> str:
    """Who did what to which resource, and how it ended; or what was logged."""
    said = envelope.payload
    names = {
        "audit": ("actor", "action", "resource", "outcome"),
        "security": ("user_id", "event_type", "resource", "decision"),
        "application": ("service_name", "level", "message"),
    }
    category = envelope.event_type.split(".")[-2]
    return " ".join(str(said[name]) for name in names[category])


if __name__ == "__main__":
    main(*sys.argv[1:])
