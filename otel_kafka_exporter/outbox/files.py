"""Outboxes as they are on the disk, for operators: whose they are, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.records import Category

from . import disk
from .box import Box
from .destination import Claim, Destination
from .directories import boxes, check_directories, configurations, is_alive, make_directories, read_owner
from .rows import Row, decode_row
from .segment import NotASegmentError, Segment
from .segment_format import count_try_on_disk, settle_on_disk
from .stream import Stream, parse_segment_name
from .trust import UntrustedError, check_directory, check_file


class StoredRow(NamedTuple):
    """A row, and where it is.

    Attributes:
        path: its segment.
        offset: where it is in there.
        stream: whose it is.
        row: what it holds.
        payload: its bytes.
        tries: how often it was tried again since it was put there, at most 255.
    """

    path: Path
    offset: int
    stream: Stream
    row: Row
    payload: bytes
    tries: int


class StoredOutbox(NamedTuple):
    """One process's outbox.

    Attributes:
        path: its directory.
        configuration: names which processes may deliver it.
        owner: what its process said of itself.
        alive: whether that process lives.
        segments: its files.
        problem: why nothing of it is sent, since somebody else may have written it; empty where it may be.
    """

    path: Path
    configuration: str
    owner: dict[str, Any]
    alive: bool
    segments: tuple[Path, ...]
    problem: str

    @property
    def destination(self) -> Destination:
        """For whom its records are."""
        return Destination.of(self.owner)

    def claim_of(self, ours: Destination, configuration: str) -> Claim:
        """Whether a process of a configuration, with that destination, takes it over once it is dead."""
        return ours.claims(self.destination, same_configuration=self.configuration == configuration)

    def size(self) -> int:
        """Its bytes on the disk."""
        found = 0
        for segment in self.segments:
            with suppress(OSError):
                found += segment.lstat().st_size
        return found

    def rows(self, on_problem: Callable[[str], None] = lambda _: None) -> Iterator[StoredRow]:
        """What is in it and not settled, in order within each stream.

        Args:
            on_problem: is told in a sentence of what cannot be read.
        """
        for path in self.segments:
            parsed = parse_segment_name(path.name)
            if parsed is None:
                continue
            try:
                segment = Segment.copy(path)
            except FileNotFoundError:
                continue  # its process is done with it
            except (OSError, NotASegmentError) as error:
                on_problem(f"{path}: {error}")
                continue
            if segment.damaged:
                on_problem(f"{path}: expected undamaged rows, got {segment.damaged} that are damaged")
            for offset, payload in segment.live_rows():
                row = _decoded(payload, parsed[0].category, f"{path}, byte {offset}", on_problem)
                if row is not None:
                    yield StoredRow(path, offset, parsed[0], row, payload, segment.tries(offset))

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Keep others from taking over a dead process's outbox; whether that is possible."""
        try:
            box = Box.take(self.path)
        except (OSError, UntrustedError):
            box = None
        try:
            yield box is not None
        finally:
            if box is not None:
                box.release()


def hand_over(stored: StoredOutbox, configuration: Path, owner: Mapping[str, object]) -> bool:
    """Have a dead process's outbox be one of a configuration, whose processes take it over.

    Args:
        stored: that outbox.
        configuration: the directory of the configuration.
        owner: for whom its records are from now on.

    Returns:
        Whether it was there, and nobody else's.

    Raises:
        OutboxError: it cannot be moved there, or it, or that directory, is not to be trusted.
    """
    try:
        make_directories(configuration)
        box = Box.take(stored.path)
        if box is None:
            return False
        try:
            _move(box, configuration, stored.owner, owner)
        finally:
            box.release()
    except (OSError, UntrustedError) as error:
        raise OutboxError("outbox_unavailable", str(error)) from error
    return True


def _move(box: Box, configuration: Path, before: Mapping[str, object], owner: Mapping[str, object]) -> None:
    # First, since that alone is enough, should a kill come behind it.
    box.describe({**{name: before.get(name) for name in ("pid", "command")}, **owner})
    try:
        disk.rename(box.path, configuration / box.path.name)
    except OSError:
        box.describe(before)
        raise


def stored_outboxes(directory: Path) -> list[StoredOutbox]:
    """All outboxes below a directory."""
    found = []
    for configuration in configurations(directory):
        for path in boxes(configuration):
            segments = tuple(sorted(file for file in path.glob("*.segment") if parse_segment_name(file.name)))
            found.append(
                StoredOutbox(path, configuration.name, read_owner(path), is_alive(path), segments, _problem(path))
            )
    return found


def _decoded(payload: bytes, category: Category, where: str, on_problem: Callable[[str], None]) -> Row | None:
    try:
        return decode_row(payload, category)
    except ValueError as error:
        on_problem(f"{where}: {error}")
        return None


def settle(stored: StoredRow) -> bool:
    """Take a row out of its outbox; whether it was there yet."""
    try:
        return settle_on_disk(stored.path, stored.offset, stored.payload)
    except FileNotFoundError:
        return False


def count_try(stored: StoredRow) -> None:
    """A row is about to be tried again by who does not own its outbox."""
    with suppress(OSError):  # it has just gone
        count_try_on_disk(stored.path, stored.offset, stored.payload)


def _problem(path: Path) -> str:
    try:
        check_directories(path.parent)
        check_directory(path)
        for file in path.iterdir():
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                check_file(file, descriptor)
            finally:
                os.close(descriptor)
    except UntrustedError as error:
        return str(error)
    except OSError as error:
        return "" if isinstance(error, FileNotFoundError) else str(error)  # somebody is done with it
    return ""
