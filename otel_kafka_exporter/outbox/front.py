"""What goes before all that waits: records that come back, and were sent before it."""

from __future__ import annotations

from typing import cast

from .segment import WAITING, Segment
from .storage import Storage
from .stream import Place, SegmentQueue


class Front:
    """Puts rows before all that were in a stream when it was made, in the order in which they are appended."""

    def __init__(self, storage: Storage, queue: SegmentQueue) -> None:
        self._storage = storage
        self._queue = queue
        self._order = queue.orders_before()
        self._created = queue.segments[0].created if queue.segments else 0  # its rows are at least as old
        self._writing: Segment | None = None

    def append(self, payload: bytes, state: int = WAITING) -> Place:
        """Put a row there.

        Raises:
            OutboxError: it cannot be kept.
        """
        segment = self._writing
        if segment is not None and not segment.closed:
            offset = segment.append(payload, state)
            if offset is not None:
                return Place(segment, offset)
        new = self._storage.add(self._queue, self._order, len(payload), segment, self._created)
        self._order += 1
        self._writing = new
        return Place(new, cast("int", new.append(payload, state)))
