"""librdkafka's own view of the connections, for a bundle."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import KafkaException

from otel_kafka_exporter.cli.admin import RefusedError

from .check import NotKnownError
from .subject import Subject

_EVERY_MS = 200


def statistics(subject: Subject) -> dict[str, Any] | str:
    """Its statistics; or why there are none."""
    found: list[str] = []
    try:
        admin = subject.admin({"statistics.interval.ms": _EVERY_MS, "stats_cb": found.append})
        admin.metadata()
        admin.client.poll(2 * _EVERY_MS / 1000)
    except NotKnownError as error:
        return f"not asked for: {error} failed, or was not asked"
    except (RefusedError, KafkaException) as error:
        if not found:
            return str(error)
    parsed: dict[str, Any] = json.loads(found[-1]) if found else {}
    return parsed
