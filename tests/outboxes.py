"""Outboxes for tests, and what is in them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otel_kafka_exporter.outbox.outbox import Adopter, Outbox
from otel_kafka_exporter.outbox.stream import STREAMS, Place, Stream
from otel_kafka_exporter.process import RLock

APPLICATION, AUDIT, SECURITY = Stream("application"), Stream("audit"), Stream("security")
DEAD = Stream("application", dead=True)

CONFIGURATION = "configuration"
#: The least that a segment takes.
SEGMENT_BYTES = 65_536
#: A row of which a segment of the least size takes four.
QUARTER = 16_000


#: Where files need no disk.
_MEMORY = next((path for path in ("/dev/shm",) if Path(path).is_dir()), None)


class Losses(Counter[tuple[Stream, str]]):
    """What an outbox has told of losses: rows, by stream and reason."""

    def __call__(self, stream: Stream, rows: int, reason: str) -> None:
        assert rows >= 0  # 0: only such as were on their way
        if rows:
            self[stream, reason] += rows


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory for many outboxes one after the other, of which no test asks for the disk; in memory where it can."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name:
        yield Path(name)


def make_outbox(
    directory: Path | None,
    max_bytes: int = 1 << 20,
    losses: Losses | None = None,
    dead_max_bytes: int | None = None,
    *,
    power: bool = False,
) -> Outbox:
    """An outbox of this process."""
    told, owner = Losses() if losses is None else losses, {"pid": 7, "host": "h"}
    return Outbox(directory, CONFIGURATION, max_bytes, owner, told, dead_max_bytes=dead_max_bytes, power=power)


def adopt(outbox: Outbox) -> dict[Stream, int]:
    """Adopt all that there is; how many rows of each stream wait that did not before."""
    found: Counter[Stream] = Counter()

    def count(stream: Stream, rows: int) -> None:
        found[stream] += rows

    assert not outbox.adopt(Adopter(RLock(), count))
    return dict(found)


def places(outbox: Outbox, stream: Stream) -> list[Place]:
    """Where the rows are that wait, in their order."""
    found = []
    place = outbox.next_waiting(stream)
    while place is not None:
        found.append(place)
        place = outbox.next_waiting(stream, place)
    assert len(found) == outbox.waiting(stream)
    return found


def waiting(outbox: Outbox, stream: Stream = APPLICATION) -> list[bytes]:
    """The rows that wait, in their order."""
    return [outbox.read(place) for place in places(outbox, stream)]


def all_waiting(outbox: Outbox) -> dict[Stream, list[bytes]]:
    """The rows that wait, by stream, of all streams that have some."""
    found = {stream: waiting(outbox, stream) for stream in STREAMS}
    return {stream: rows for stream, rows in found.items() if rows}


def boxes(directory: Path) -> list[Path]:
    """The directories of processes."""
    return sorted(path for path in (directory / CONFIGURATION).glob("*-*-*-*-*") if path.is_dir())


def segments(directory: Path) -> list[Path]:
    """The segments of all processes."""
    return sorted(directory.glob(f"{CONFIGURATION}/*-*-*-*-*/*.segment"))


def set_aside(directory: Path) -> list[str]:
    """The names of what was set aside."""
    return sorted(path.name for path in (directory / CONFIGURATION / "set-aside").glob("*"))
