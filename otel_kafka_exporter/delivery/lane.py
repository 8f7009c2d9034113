"""One category's records in one process: which are on their way to its topic, and which wait behind others."""

from __future__ import annotations

from collections import Counter, deque

from otel_kafka_exporter.outbox import Place, Segment, Stream
from otel_kafka_exporter.records import Category

from .entry import Entry

_BUCKETS = 256


class Backlog:
    """Which keys have records in the outbox that newer ones of the same key have to wait behind.

    Those that are on their way again are not among them: librdkafka keeps the order of what it is given. Keys share 256
    counters, so that its size does not grow with their number; that a key waits behind a stranger now and then costs
    nothing but the detour. Counted by segment as well, because the outbox evicts whole segments.
    """

    __slots__ = ("_counts", "_of_segment")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._of_segment: dict[Segment, Counter[int]] = {}

    def holds(self, key: bytes | None) -> bool:
        """Whether a record with this key has to wait."""
        return self._counts[hash(key) % _BUCKETS] > 0

    def add(self, place: Place, key: bytes | None) -> None:
        """A record with this key waits at that place from now on."""
        bucket = hash(key) % _BUCKETS
        self._counts[bucket] += 1
        self._of_segment.setdefault(place.segment, Counter())[bucket] += 1

    def remove(self, place: Place, key: bytes | None) -> None:
        """It no longer does. Adopted records were never added: nothing is promised about their order."""
        bucket = hash(key) % _BUCKETS
        counts = self._of_segment.get(place.segment)
        if counts is None:
            return
        if not place.segment.waiting:
            self._forget(place.segment)
        elif counts[bucket]:
            counts[bucket] -= 1
            self._counts[bucket] -= 1

    def forget_empty(self) -> None:
        """Forget what waited in segments that are gone, or in which nothing waits any more."""
        for segment in tuple(self._of_segment):
            if segment.closed or not segment.waiting:
                self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        for bucket, records in self._of_segment.pop(segment).items():
            self._counts[bucket] -= records


class Lane:
    """What one process knows of one topic.

    Attributes:
        category: whose topic it is.
        topic: that topic; empty until the first record.
        durable: whether a record is in the outbox before it is on its way.
        in_flight: what librdkafka has, by number, oldest first.
        failed: what came back, and with which of Kafka's error codes; its fate is open.
        again: what is to be sent again before anything else, one group after the other.
        group: of those on their way that were sent again.
        paused: whether new records wait, because some have failed and must not be overtaken.
        blocked: why the topic takes no records until an operator mends that; empty when it does.
        probe_at, backoff: when a blocked topic is tried next, by the monotonic clock, and how long after that.
        backlog: the keys that wait.
        cursor: up to where the outbox was read for this topic; None for from its start.
    """

    __slots__ = (
        "again", "backlog", "backoff", "blocked", "category", "cursor", "dead", "durable", "failed", "group",
        "in_flight", "paused", "probe_at", "stream", "topic",
    )  # fmt: skip

    def __init__(self, category: Category, *, durable: bool) -> None:
        self.category = category
        self.topic = ""
        self.durable = durable
        self.stream = Stream(category, dead=False)
        self.dead = Stream(category, dead=True)
        self.in_flight: dict[int, Entry] = {}
        self.failed: deque[tuple[Entry, int]] = deque()
        self.again: deque[Entry] = deque()
        self.group = 0
        self.paused = False
        self.blocked = ""
        self.probe_at = 0.0
        self.backoff = 0.0
        self.backlog = Backlog()
        self.cursor: Place | None = None

    def diverts(self, key: bytes | None) -> bool:
        """Whether a new record with this key must not be sent at once."""
        return self.paused or bool(self.blocked) or self.backlog.holds(key)

    def wait_again(self, entry: Entry) -> None:
        """An entry waits in memory for those before it, in the order of hand-over."""
        self.again.append(entry)
        if len(self.again) > 1 and self.again[-2].number > entry.number:
            self.again = deque(sorted(self.again, key=lambda each: each.number))

    def expects(self, entry: Entry) -> bool:
        """Whether an entry is among those whose fate is open."""
        return entry in self.again or any(entry is each for each, _ in self.failed)

    def holds_back(self) -> bool:
        """Whether what waits in the outbox must not be sent at once."""
        return self.paused or bool(self.blocked)
