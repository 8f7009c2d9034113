"""Counting, by category: what a service emitted, by its own account, and what arrived. Values in, values out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from otel_kafka_exporter.records import CATEGORIES, Category, OnexEnvelopeV1
from otel_kafka_exporter.records import attributes as names

_CATEGORY_OF_EVENT: dict[object, Category] = {names.AUDIT_EVENT: "audit", names.SECURITY_EVENT: "security"}


class Line(NamedTuple):
    """One line of the accounting."""

    name: str
    emitted: int
    arrived: int

    @property
    def lost(self) -> int:
        return max(0, self.emitted - self.arrived)


class Tally:
    """What was emitted and what arrived; a record that arrives twice (Kafka's at-least-once) counts once."""

    def __init__(self) -> None:
        self.emitted: Counter[Category] = Counter()
        self._arrived: dict[str, Category] = {}

    def arrive(self, envelope: OnexEnvelopeV1) -> bool:
        """Count an envelope; whether it is one that was not there yet."""
        new = envelope.event_id not in self._arrived
        self._arrived[envelope.event_id] = category_of(envelope)
        return new

    def lines(self) -> list[Line]:
        """The accounting: a line per category, and the total."""
        arrived = Counter(self._arrived.values())
        lines = [Line(category, self.emitted[category], arrived[category]) for category in CATEGORIES]
        return [*lines, Line("total", self.emitted.total(), arrived.total())]

    @property
    def lost(self) -> int:
        """By category: a record too many in one does not make up for one that is missing in another."""
        return sum(line.lost for line in self.lines()[:-1])

    @property
    def complete(self) -> bool:
        """Whether there were records of each category, and all of them arrived, and no others."""
        return all(line.emitted == line.arrived > 0 for line in self.lines())


def category_of(envelope: OnexEnvelopeV1) -> Category:
    """An envelope's category."""
    return next(name for name in CATEGORIES if envelope.event_type.endswith(f".logging.{name}.v1"))


def count_emitted(output: str) -> Counter[Category]:
    """What OpenTelemetry's console exporter wrote, by category.

    It is the SDK's own and knows nothing of Kafka, so it counts independently of what is to be shown.

    Args:
        output: a service's stdout: the console exporter's JSON, among anything else.
    """
    return Counter(_category_of_record(record) for record in _records(output))


def _records(output: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    at = 0
    while at < len(output):
        if output[at] == "{":
            try:
                record, at = decoder.raw_decode(output, at)
            except json.JSONDecodeError:
                record = None  # a line of the service's own
            if isinstance(record, dict) and "severity_number" in record:
                yield record
        end = output.find("\n", at)
        at = len(output) if end < 0 else end + 1


def _category_of_record(record: dict[str, Any]) -> Category:
    given = (record.get("attributes") or {}).get(names.CATEGORY)
    for category in CATEGORIES:
        if given == category:
            return category
    return _CATEGORY_OF_EVENT.get(record.get("event_name"), "application")
