"""One category's records in one process: which are on their way to its topic, and which wait behind others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from otel_kafka_exporter.outbox import Place, Segment, Stream
from otel_kafka_exporter.process import chance, monotonic
from otel_kafka_exporter.records import Category

from .entry import Entry

_BUCKETS = 256
#: How many records without a key go to one partition before the next one is chosen: a batch's worth.
_SAME_PARTITION = 64
#: The pauses after which a blocked topic is tried: an operator is slower than an election.
_FIRST_BLOCK, _LONGEST_BLOCK = 0.1, 5.0


class Backlog:
    """Which keys have records in the outbox that newer ones of the same key have to wait behind.

    Those that are on their way again are not among them: librdkafka keeps the order of what it is given. Keys share 256
    counters, so that its size does not grow with their number; that a key waits behind a stranger now and then costs
    nothing but the detour. Counted by segment as well, because the outbox evicts whole segments.

    Attributes:
        of_segment: how many records of each counter wait in each segment; empty when nothing waits.
    """

    __slots__ = ("_counts", "of_segment")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.of_segment: dict[Segment, Counter[int]] = {}

    def holds(self, key: bytes | None) -> bool:
        """Whether a record with this key has to wait."""
        return self._counts[hash(key) % _BUCKETS] > 0

    def add(self, place: Place, key: bytes | None) -> None:
        """A record with this key waits at that place from now on."""
        bucket = hash(key) % _BUCKETS
        self._counts[bucket] += 1
        self.of_segment.setdefault(place.segment, Counter())[bucket] += 1

    def remove(self, place: Place, key: bytes | None) -> None:
        """It no longer does. Adopted records were never added: nothing is promised about their order."""
        bucket = hash(key) % _BUCKETS
        counts = self.of_segment.get(place.segment)
        if counts is None:
            return
        if not place.segment.waiting:
            self._forget(place.segment)
        elif counts[bucket]:
            counts[bucket] -= 1
            self._counts[bucket] -= 1

    def forget_empty(self) -> None:
        """Forget what waited in segments that are gone, or in which nothing waits any more."""
        for segment in tuple(self.of_segment):
            if segment.closed or not segment.waiting:
                self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        for bucket, records in self.of_segment.pop(segment).items():
            self._counts[bucket] -= records


class Partition:
    """What is known of one partition of a topic while something is wrong with it.

    Attributes:
        open: its records that librdkafka has.
        overdue: those of them that have waited for too long.
        failed: what came back, and with which of Kafka's error codes; its fate is open.
        again: what is to be sent again before anything else, one group after the other.
        group: of those on their way that were sent again; 0 for none.
        silent: whether it has acknowledged nothing since a record of it was overdue, or came back for its sake.
        is_held: whether what came back for its client's sake is sent once more, by a new one.
        rests_until: when what came back may be tried again, by the monotonic clock; 0 for at once.
        is_looked_for: whether the outbox is looked through for a record that tells whether it is back.
        is_parted: whether some of a company that was refused wait in the outbox already.
        too_large: bytes of the smallest company that was refused for its size, where no record was at fault; or 0.
    """

    __slots__ = (
        "again",
        "failed",
        "group",
        "is_held",
        "is_looked_for",
        "is_parted",
        "open",
        "overdue",
        "rests_until",
        "silent",
        "too_large",
    )

    def __init__(self, open_: int) -> None:
        self.open = open_
        self.overdue = 0
        self.failed: deque[tuple[Entry, int]] = deque()
        self.again: deque[Entry] = deque()
        self.group = 0
        self.silent = self.is_held = False
        self.rests_until = 0.0
        self.too_large = 0
        self.is_parted = False
        self.is_looked_for = False

    def wait_again(self, entry: Entry) -> None:
        """An entry waits in memory for those before it, in the order of hand-over."""
        self.again.append(entry)
        if len(self.again) > 1 and self.again[-2].number > entry.number:
            self.again = deque(sorted(self.again, key=lambda each: each.number))

    def is_sorted_out(self) -> bool:
        """Whether nothing of it is overdue, is sent again, or has an open fate."""
        return not (self.overdue or self.is_tried() or self.failed or self.again or self.rests_until)

    def is_tried(self) -> bool:
        """Whether something is on its way that was refused in other company."""
        return bool(self.group and self.open)

    def wants_probe(self) -> bool:
        """Whether it was silent, and nothing of it is on its way, or about to be, that tells whether it is back."""
        return self.silent and not (self.open or self.failed or self.again or self.rests_until)


class Lane:
    """What one process knows of one topic.

    Attributes:
        category: whose topic it is.
        topic: that topic; empty until the first record.
        durable: whether a record is in the outbox before it is on its way.
        recent: what librdkafka has, by number, in the order in which it was given.
        overdue: what librdkafka has had for too long.
        acknowledged: when each partition last did, by the monotonic clock.
        partitions: those with which something is wrong; the others have no object. By their number; what has a key
            whose partition is not known is counted with others of its key, by a negative number.
        count: how many partitions the topic has; 0 while that is not known.
        count_at: when they are to be counted, by the monotonic clock.
        blocked: why the topic takes no records until an operator mends that; empty when it does.
        probe_at, backoff: when a blocked topic is tried next, by the monotonic clock, and how long after that.
        trial: whether a record is on its way that tells whether the topic is open again.
        let_go: by partition, the number of a record whose caller waits for it no longer; it may have been reported on.
        told: whether it was said that partitions of it take no records.
        probed: the partitions of which librdkafka has something, while the cluster is away; none otherwise.
        backlog: the keys that wait.
        cursor: up to where the outbox was read for this topic; None for from its start.
    """

    __slots__ = (
        "_chosen", "_partition_of", "_pauses", "acknowledged", "backlog", "backoff", "blocked",
        "category", "count", "count_at", "cursor", "dead", "durable", "let_go", "overdue", "partitions", "probe_at",
        "probed", "recent", "stream", "told", "topic", "trial",
    )  # fmt: skip

    def __init__(
        self, category: Category, *, durable: bool, partition_of: Callable[[bytes, int], int] | None = None
    ) -> None:
        self.category = category
        self.topic = ""
        self.durable = durable
        self.stream = Stream(category, dead=False)
        self.dead = Stream(category, dead=True)
        self.recent: dict[int, Entry] = {}
        self.overdue: dict[int, Entry] = {}
        self.acknowledged: dict[int, float] = {}
        self.partitions: dict[int, Partition] = {}
        self.count = 0
        self.count_at = 0.0
        self.blocked = ""
        self.probe_at = 0.0
        self.backoff = 0.0
        self.trial = self.told = False
        self.let_go: dict[int, int] = {}
        self.probed: set[int] = set()
        self.backlog = Backlog()
        self.cursor: Place | None = None
        self._partition_of = partition_of
        self._chosen = (0, -1)
        self._pauses: dict[int, float] = {}

    # Which partition

    def partition(self, entry: Entry) -> int:
        """The partition of an entry, or a negative number where it is not known."""
        return entry.partition if entry.partition >= 0 else self.partition_of(entry.record.key)

    def partition_of(self, key: bytes | None) -> int:
        """The partition of a key, or a negative number where it is not known."""
        if key is None:
            return -1
        if self.count and self._partition_of is not None:
            return self._partition_of(key, self.count)
        return -2 - hash(key) % _BUCKETS

    def choose(self) -> int:
        """A partition for a record without a key, for some records the same: one with which nothing is wrong.

        Now and then one that was silent, to see whether it is back.
        """
        left, chosen = self._chosen
        for number, each in self.partitions.items():
            if number >= 0 and each.wants_probe() and number not in self.probed:
                return number
        if not left or not self.takes(chosen) or chosen >= self.count:
            open_ = self.open_partitions() or range(self.count)
            left, chosen = _SAME_PARTITION, chance.choice(open_)
        self._chosen = (left - 1, chosen)
        return chosen

    def trouble(self, number: int) -> Partition:
        """What is known of a partition with which something is wrong, from now on if not before."""
        found = self.partitions.get(number)
        if found is None:
            open_ = sum(self.partition(entry) == number for entry in self.with_client())
            found = self.partitions[number] = Partition(open_)
        return found

    def with_client(self) -> list[Entry]:
        """What librdkafka has."""
        return [*self.overdue.values(), *self.recent.values()]

    # Whether to send

    def diverts(self, key: bytes | None) -> bool:
        """Whether a new record must not be sent at once."""
        if self.blocked or self.backlog.holds(key):
            return True
        if not self.partitions:
            return False
        if self.holds_all():
            return True
        if key is None and self.count:  # it is sent to one with which nothing is wrong
            return len(self.partitions) >= self.count
        return self.partition_of(key) in self.partitions

    def takes(self, number: int) -> bool:
        """Whether a partition takes records, as far as is known, or one to see whether it does."""
        found = self.partitions.get(number)
        return (found is None or found.wants_probe()) and number not in self.probed and not self.holds_all()

    def knows_partitions(self) -> bool:
        """Whether it is known which records share a partition, and so may share a batch."""
        return self.count > 0 and self._partition_of is not None

    def holds_all(self) -> bool:
        """Whether refused records are tried alone of which nobody knows what might share their batch."""
        return not self.knows_partitions() and any(each.again or each.is_tried() for each in self.partitions.values())

    def may_try(self, found: Partition) -> bool:
        """Whether what is sent again to a partition has no company but what was sent again as well."""
        return self.knows_partitions() or len(self.recent) + len(self.overdue) <= found.open

    def has_no_more(self, number: int) -> bool:
        """Whether no new record counts as of this partition: those without a key have one of their own by now."""
        return number == -1 and self.count > 0

    def open_partitions(self) -> list[int]:
        """Those of the topic that take records; none while their number is not known."""
        return [number for number in range(self.count) if self.takes(number)]

    def block(self, reason: str) -> None:
        """The topic takes no records until an operator mends that."""
        self.blocked = reason
        self.backoff = 0.0
        self.count_at = 0.0  # it may be made anew, with another number of partitions
        self.try_later()

    def try_later(self) -> None:
        """The topic is tried when some time has passed, and more of it each time."""
        self.backoff = min(2 * self.backoff, _LONGEST_BLOCK) or _FIRST_BLOCK
        self.probe_at = monotonic() + self.backoff

    def pause(self, number: int, first: float, longest: float) -> float:
        """Seconds until what came back from a partition is tried again: more each time, until it acknowledges."""
        seconds = self._pauses[number] = min(2 * self._pauses.get(number, first / 2), longest)
        return seconds

    def resumed(self, number: int) -> None:
        """A partition takes records again."""
        self._pauses.pop(number, None)

    def recount(self) -> None:
        """Count anew what may have been counted in part, when something came in between."""
        for number, found in self.partitions.items():
            found.overdue = sum(self.partition(entry) == number for entry in self.overdue.values())
            found.open = found.overdue + sum(self.partition(entry) == number for entry in self.recent.values())

    def expected(self) -> list[Entry]:
        """What is at hand, and whose fate is open."""
        troubled = self.partitions.values()
        return [entry for each in troubled for entry in (*each.again, *(failed for failed, _ in each.failed))]
