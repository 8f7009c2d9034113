"""This machine's clock against others: no broker tells its time, but a web server does, and so does a record."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from .check import Check, Finding, fail, ok, skipped, warn
from .registry_checks import first_url
from .subject import Subject

_OFF_SECONDS = 5.0
_REFUSED_SECONDS = 3600.0  # message.timestamp.after.max.ms, by default


def _clock(subject: Subject) -> Finding:
    found: dict[str, float] = {}
    if subject.settings.schema_registry_url:
        ahead = _ahead_of_registry(subject)
        if ahead is not None:
            found["the Schema Registry"] = ahead
    newest = _newest(subject)
    if newest is not None and newest > time.time() + _OFF_SECONDS:
        found["the newest record"] = time.time() - newest
    if not found:
        return skipped("nothing here tells the time: there is no Schema Registry, and no record from the future")
    source, ahead = max(found.items(), key=lambda item: abs(item[1]))
    text = f"this clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {source}"
    means = "Records of several machines come in a wrong order, and searches by time miss them."
    todo = "Set the clock: chrony or systemd-timesyncd here, and on the machine that the line names."
    if ahead > _REFUSED_SECONDS and source == "the Schema Registry":
        return fail(text, f"{means} Brokers refuse records from more than an hour ahead.", todo)
    if abs(ahead) > _OFF_SECONDS:
        return warn(text, means, todo)
    return ok(text)


def _ahead_of_registry(subject: Subject) -> float | None:
    """How far this clock is ahead of the registry's."""
    try:
        with urllib.request.urlopen(first_url(subject.settings), timeout=subject.patience) as answer:  # noqa: S310 - http or https
            said = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        said = error.headers.get("Date")
    except (OSError, ValueError):
        return None
    try:
        return time.time() - parsedate_to_datetime(said).timestamp() if said else None
    except ValueError:
        return None


def _newest(subject: Subject) -> float | None:
    """The time of the newest record that may be read, in Unix seconds."""
    config = {**subject.client, "bootstrap.servers": subject.settings.bootstrap_servers, "log_level": 0}
    consumer = Consumer({**config, "group.id": "otel-kafka", "enable.auto.commit": False})  # no group is joined
    newest = None
    try:
        for topic in subject.topics.values():
            for partition in range(len(topic.partitions)):
                place = TopicPartition(topic.name, partition)
                _, end = consumer.get_watermark_offsets(place, timeout=1.0)
                if end > 0:
                    consumer.assign([TopicPartition(topic.name, partition, end - 1)])
                    message = consumer.poll(0.5)
                    if message is not None and message.error() is None:
                        newest = max(newest or 0.0, message.timestamp()[1] / 1000)
    except KafkaException:
        pass  # they may not be read, which an exporter need not
    finally:
        consumer.close()
    return newest


CHECKS = (Check("clock.offset", _clock, ("topics.exist",)),)
