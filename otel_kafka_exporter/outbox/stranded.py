"""What dead processes have left and nobody takes over by itself: it is counted and said, so that a person decides."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from otel_kafka_exporter.process import Stranded, breathe, note

from .destination import Destination
from .directories import is_alive, read_owner
from .segment import NotASegmentError, Segment
from .stream import parse_segment_name


class _File(NamedTuple):
    """What was found in a file when it had that size and time.

    Attributes:
        size: its bytes.
        modified: when it was, in Unix nanoseconds.
        records: those in it that wait.
        created: when it was made, in Unix nanoseconds.
    """

    size: int
    modified: int
    records: int
    created: int


class Survey:
    """Counts what was passed over. A file that has not changed since it was counted is not read again."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}
        self._told: set[str] = set()

    def of(self, boxes: Iterable[Path]) -> tuple[Stranded, ...]:
        """What waits in these directories, but for those whose process lives; a line tells of what is new."""
        files: dict[Path, _File] = {}
        found = []
        for box in boxes:
            if is_alive(box):
                continue
            counted = dict(self._count(box))
            files |= counted
            waiting = [file for file in counted.values() if file.records]
            if waiting:
                servers = Destination.of(read_owner(box)).servers
                records = sum(file.records for file in waiting)
                found.append(Stranded(str(box), servers, records, min(file.created for file in waiting)))
        self._files = files
        self._tell(found)
        return tuple(found)

    def _count(self, box: Path) -> Iterator[tuple[Path, _File]]:
        for path in _segments(box):
            try:
                status = path.lstat()
                known = self._files.get(path)
                if known is None or (known.size, known.modified) != (status.st_size, status.st_mtime_ns):
                    segment = Segment.copy(path, breathe)
                    known = _File(status.st_size, status.st_mtime_ns, segment.waiting + segment.sent, segment.created)
                    segment.close()
            except (OSError, NotASegmentError):
                continue  # it has gone, or whoever adopts it says what is wrong with it
            yield path, known

    def _tell(self, found: list[Stranded]) -> None:
        paths = {each.path for each in found}
        if paths - self._told:
            oldest = min(found, key=lambda each: each.oldest)
            note(
                "outbox_stranded",
                "%d records of dead processes wait in the outbox and are not delivered by this one, since they are for"
                " another cluster or other topics, need a Schema Registry, or are larger than outbox_max_bytes allows;"
                " the oldest since %s, for %s, in %s; see `otel-kafka outbox status`, and `otel-kafka outbox adopt`",
                sum(each.records for each in found),
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(oldest.oldest // 10**9)),
                oldest.servers or "servers that are not known",
                oldest.path,
            )
        self._told = paths


def _segments(box: Path) -> list[Path]:
    try:
        found = [(path, parse_segment_name(path.name)) for path in box.iterdir()]
    except OSError:
        return []
    return [path for path, parsed in found if parsed is not None and not parsed[0].dead]
