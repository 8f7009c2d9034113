"""What is held of a dead process while somebody reads it: its directory, and one of its segments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otel_kafka_exporter.process import breathe, making_locks

from .box import Box
from .segment import Segment


class Hold:
    """Holds a directory and a segment, one of each at a time, and lets go of both in a forked child."""

    def __init__(self) -> None:
        self._box: Box | None = None
        self._segment: Segment | None = None

    @contextmanager
    def box(self, path: Path) -> Iterator[Box | None]:
        """A dead process's directory, which nobody takes over meanwhile; None while that lives, or another holds it.

        Raises:
            UntrustedError: it is not to be trusted.
            OSError: it cannot be opened.
        """
        try:
            with making_locks():
                self._box = Box.take(path)
            yield self._box
        finally:
            with making_locks():
                if self._box is not None:
                    self._box.release()
                self._box = None

    @contextmanager
    def segment(self, path: Path) -> Iterator[Segment]:
        """A segment that is nobody else's, until the end; then it is let go of, unless it was moved meanwhile.

        Raises:
            NotASegmentError: it is no segment.
            BlockingIOError: its process lives, and somebody has removed the directory's lock.
            OSError: it has gone, or cannot be opened.
        """
        try:
            with making_locks():
                segment = self._segment = Segment.lock(path)
            segment.load(breathe)
            yield segment
        finally:
            with making_locks():
                if self._segment is not None and self._segment.path == path:
                    self._segment.close()
                self._segment = None

    def abandon(self) -> None:
        """Give up what is held, in a forked child whose parent goes on with it."""
        if self._segment is not None:
            self._segment.abandon()
        if self._box is not None:
            self._box.abandon()
