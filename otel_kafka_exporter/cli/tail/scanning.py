"""Messages to the records that are shown, and the count of what was read. The loop that history goes through."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from confluent_kafka import Message

from .ordering import Place
from .reading import Reader
from .record import Record, of_message
from .selection import Selection, Verdict
from .text import counted


@dataclasses.dataclass
class Tally:
    """What was read, and what became of it.

    Attributes:
        read: records that were looked at.
        matched: those that were shown, or would be if they were no duplicates.
        duplicates: of these, those whose event_id came before.
        undecodable: values that are no envelope.
        late: shown behind records of a later time.
    """

    read: int = 0
    matched: int = 0
    duplicates: int = 0
    undecodable: int = 0
    late: int = 0

    def line(self) -> str:
        """All of it, as the line at the end."""
        late = f", {self.late:,} late" if self.late else ""
        return (
            f"{self.read:,} read, {self.matched:,} matched, {counted(self.duplicates, 'duplicate')},"
            f" {self.undecodable:,} undecodable{late}"
        )


class Scan:
    """Picks records out of what is read.

    Args:
        selection: which.
        tally: counts them.
        since: Unix milliseconds; what is older does not count as read.
        until: likewise; what is of this time or later does not.
    """

    def __init__(self, selection: Selection, tally: Tally, since: float = -math.inf, until: float = math.inf) -> None:
        self._decide = selection.decide
        self._tally = tally
        self._since = since
        self._until = until

    def picked(self, records: Iterable[Record]) -> Iterator[Record]:
        """Those of some records."""
        return (record for record in records if self._is_of_the_time(record.milliseconds) and self._is_picked(record))

    def take(
        self, messages: Iterable[Message], limits: Mapping[Place, float]
    ) -> tuple[list[Record], Reached, set[Place]]:
        """The records of some messages that are shown.

        Args:
            messages: of any partitions.
            limits: offsets; what is there or behind, and what is of a partition without one, is passed over.

        Returns:
            The records, how far each partition has come (offset, and the latest time in Unix milliseconds), and which
            of them have come to their limits.
        """
        found: list[Record] = []
        reached: Reached = {}
        beyond: set[Place] = set()
        since, until, is_picked = self._since, self._until, self._is_picked
        for message in messages:
            # A consumer's message has all of these; the types know it as a producer's too.
            place: Place = (message.topic(), message.partition())  # type: ignore[assignment]
            offset: int = message.offset()  # type: ignore[assignment]
            if offset >= limits.get(place, -1):
                beyond.add(place)
                continue
            milliseconds = message.timestamp()[1]
            before = reached.get(place)
            reached[place] = (offset, milliseconds if before is None else max(milliseconds, before[1]))
            if since <= milliseconds < until:
                record = of_message(message)
                if is_picked(record):
                    found.append(record)
        return found, reached, beyond

    def _is_of_the_time(self, milliseconds: int) -> bool:
        return self._since <= milliseconds < self._until

    def _is_picked(self, record: Record) -> bool:
        tally = self._tally
        tally.read += 1
        verdict = self._decide(record)
        if verdict is Verdict.NO:
            return False
        if verdict is Verdict.YES:
            tally.matched += 1
            return True
        tally.undecodable += 1
        return verdict is Verdict.UNDECODABLE


Reached = dict[Place, tuple[int, int]]


class RangeReader:
    """Reads partitions from one offset to another, and beyond that where there is no end.

    Args:
        reader: reads them.
        scan: picks records.
        ranges: by partition, the first offset and the one to stop before.
        beyond: whether partitions go on at their ends; otherwise it is an error that nothing comes for long.
    """

    def __init__(
        self, reader: Reader, scan: Scan, ranges: Mapping[Place, tuple[int, int]], *, beyond: bool = False
    ) -> None:
        self._reader = reader
        self._scan = scan
        self._beyond = beyond
        #: Where those end that are on their way.
        self.pending = {place: end for place, (start, end) in ranges.items() if start < end}
        self._limits: dict[Place, float] = {place: math.inf if beyond else end for place, (_, end) in ranges.items()}
        reader.assign({place: start for place, (start, _) in ranges.items() if beyond or place in self.pending})

    def step(
        self, seconds: float, passed: Callable[[Place, int], None] = lambda *_: None
    ) -> tuple[list[Record], list[Place]]:
        """Read for so many seconds at most.

        Args:
            seconds: how long to wait for something to come.
            passed: is told how far a partition has come, in Unix milliseconds.

        Returns:
            The records that are shown, and the partitions that have come to their ends with these.

        Raises:
            ReaderError: they cannot be read.
        """
        batch = self._reader.read(seconds)
        found, reached, beyond = self._scan.take(batch.messages, self._limits)
        for place, (offset, milliseconds) in reached.items():
            end = self.pending.get(place)
            if end is not None:
                passed(place, milliseconds)
                if offset + 1 >= end:
                    beyond.add(place)
        # By offset and not by count: in between, transactions and compaction leave gaps.
        arrived = [place for place in self.pending if place in beyond or place in batch.reached]
        for place in arrived:
            del self.pending[place]
        if arrived and not self._beyond:
            self._reader.drop(arrived)
        if self.pending and not self._beyond:
            self._reader.check_progress()
        return found, arrived

    def go_on_with(self, starts: Mapping[Place, int]) -> None:
        """Read more partitions, for which there is no end."""
        self._limits.update(dict.fromkeys(starts, math.inf))
        self._reader.add(starts)

    def forget_topic(self, topic: str) -> list[Place]:
        """Read nothing more of a topic that is not there any more; returns its partitions."""
        places = [place for place in self._limits if place[0] == topic]
        for place in places:
            self.pending.pop(place, None)
            del self._limits[place]
        self._reader.forget_topic(topic, places)
        return places
