"""Records to an output, with what is known only in their order: duplicates, and who is late."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .ordering import Ordered
from .output import Output
from .record import Record
from .scanning import Tally
from .text import visible

#: Of how many records the event IDs are remembered.
_REMEMBERED = 100_000


class Showing:
    """Passes records to an output.

    Args:
        output: takes them.
        tally: counts them.
        dedupe: whether those whose event_id came before are left out.

    Attributes:
        before_first: called before the first record goes to the output.
    """

    def __init__(self, output: Output, tally: Tally, *, dedupe: bool) -> None:
        self._output = output
        self._tally = tally
        self._dedupe = dedupe
        self.before_first: Callable[[], None] | None = None
        self._seen: dict[str, None] = {}  # in their order, the newest last

    def ordered(self, records: Iterable[Ordered]) -> None:
        """Show records in their turn."""
        for record, late in records:
            self._tally.late += late
            self._show(record, ["late"] if late else [])
        self._output.flush()

    def records(self, records: Iterable[Record]) -> None:
        """Show records, each with what an outbox knows about it."""
        for record in records:
            outbox = record.outbox
            notes = [] if outbox is None else [f"dead letter: {visible(outbox.reason)}" if outbox.reason else "waits"]
            if outbox is not None and outbox.tries:
                notes.append(f"tried again: {outbox.tries}")
            if outbox is not None and record.envelope is None:
                notes.append(f"event {visible(outbox.event_id)}")
            self._show(record, notes)
        self._output.flush()

    def _show(self, record: Record, notes: list[str]) -> None:
        duplicate = record.envelope is not None and self._is_duplicate(record.envelope.event_id)
        self._tally.duplicates += duplicate
        if not (duplicate and self._dedupe):
            if self.before_first is not None:
                self.before_first()
                self.before_first = None
            self._output.show(record, notes, duplicate=duplicate)

    def _is_duplicate(self, event_id: str) -> bool:
        if event_id in self._seen:
            return True
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False
