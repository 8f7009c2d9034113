"""Records that survive the process: what waits to be delivered, and what never will be.

Rows are kept in segments (`segment`), one queue of them for each stream (`stream`), in the process's own directory
(`box`), or in memory only. What a dead process left is adopted by a living one for the same cluster and topics
(`destination`, `adoption`); what nobody adopts is said (`stranded`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.process import Stranded

from .adoption import Adoption, Fate, Judge
from .directory_bound import DirectoryBound
from .expiry import expire
from .front import Front
from .merging import Adopter
from .room import LEAST_BYTES, OnLoss, Usage
from .segment import DONE, SENT, WAITING
from .storage import Storage
from .stranded import Survey
from .stream import Place, Stream
from .trust import problem_of

__all__ = ["Adopter", "Fate", "Front", "Judge", "OnLoss", "Outbox", "Usage"]


class Outbox:
    """What waits to be delivered, and the dead letters. Not thread-safe: its owner's lock guards every call but `sync`,
    `adopt` and `stranded`.

    With `power`, one rule holds for all that is put here: what was there when `sync` was called is on the disk when
    that returns, and no row goes before the one to which it has moved is there (`supersede`).

    Nothing is made on the disk before the first row is put here or adopted.

    Args:
        directory: below which every process has its own; None keeps the rows in memory.
        configuration: names the addresses and topics; the directory of a process is below one of that name.
        max_bytes: how much may be allocated. Where more is needed the oldest dead letters give way, and then the oldest
            application records; audit and security records never do.
        owner: what the process says of itself, for who looks at its directory: `bootstrap_servers`, `topic_prefix` and
            `namespace` tell for whom its records are.
        on_loss: is told the stream, how many rows of it were lost that waited, and why: `outbox_full` where they gave
            way, `expired` for their age, of dead letters `dead_letters_full` and `dead_letters_expired`; and
            `outbox_damaged`. It is called in the middle of other calls, and must make none itself.
        judge: tells what becomes of a row that a dead process left, given its stream and its payload.
        dead_max_bytes: how much of `max_bytes` dead letters may take, of which the oldest give way then; a quarter of
            it, unless given.
        ages: of each stream whose rows go after some time, after how many seconds.
        directory_max_bytes: how much all processes together may keep below `directory`; None for any.
        power: whether rows are to survive a power failure, and not only the process.
    """

    def __init__(
        self,
        directory: Path | None,
        configuration: str,
        max_bytes: int,
        owner: Mapping[str, object],
        on_loss: OnLoss,
        judge: Judge = lambda _stream, _payload: Fate.TAKEN,
        *,
        dead_max_bytes: int | None = None,
        ages: Mapping[Stream, float] | None = None,
        directory_max_bytes: int | None = None,
        power: bool = False,
    ) -> None:
        self._configuration = None if directory is None else directory.absolute() / configuration
        self._max_bytes = max_bytes
        self._owner = owner
        self._on_loss = on_loss
        self._judge = judge
        self._dead_max_bytes = max_bytes // 4 if dead_max_bytes is None else dead_max_bytes
        self._ages = ages or {}
        self._directory_max_bytes = directory_max_bytes
        self.power = power
        self._unflushed: OSError | None = None  # why the disk did not take what was there when it was closed
        self._begin()

    def _begin(self) -> None:
        self._storage = Storage(
            *(self._configuration, self._max_bytes, self._dead_max_bytes, self._owner, self._on_loss),
            self._directory_max_bytes,
        )
        self._bound = DirectoryBound(self._storage, self._judge)
        self._adoption = Adoption(self._storage, self._judge)
        self._survey = Survey()
        self._queues = self._storage.queues
        self._superseded: list[tuple[Place, Place]] = []

    def problem(self) -> str:
        """Why there cannot be an outbox, as far as can be told without making one; empty where nothing is known."""
        if self._configuration is None:
            return ""
        return problem_of(self._configuration.parent, self._configuration.name, LEAST_BYTES)

    @property
    def most_letter_bytes(self) -> int:
        """The bytes that a single dead letter may take: no one of them takes the others' place."""
        return self._dead_max_bytes // 8

    def append(self, stream: Stream, payload: bytes, state: int = WAITING) -> Place:
        """Put a row behind all others of its stream; once this returns it survives the process.

        Raises:
            OutboxError: it cannot be kept.
        """
        queue = self._queues[stream]
        segment = queue.writing
        if segment is not None:
            offset = segment.append(payload, state)
            if offset is not None:
                return Place(segment, offset)
        new = self._storage.add(queue, queue.order_behind(), len(payload), segment)
        queue.writing = new
        if segment is not None and not segment.live and not segment.closed:
            self._storage.discard(queue, segment)
        return Place(new, cast("int", new.append(payload, state)))

    def front(self, stream: Stream) -> Front:
        """A way to put rows before all that are in a stream now."""
        return Front(self._storage, self._queues[stream])

    def next_waiting(self, stream: Stream, after: Place | None = None) -> Place | None:
        """The first row that is WAITING, or the first behind another row; None when there is none."""
        return self._queues[stream].next_waiting(after)

    def read(self, place: Place) -> bytes:
        """The payload of a row.

        Raises:
            ValueError: it is damaged, or has gone. Who reads it counts a damaged one as lost, and sets it DONE.
        """
        return place.segment.read(place.offset)

    def set_state(self, place: Place, state: int) -> None:
        """Change the state of a row; of one that has gone, nothing."""
        segment = place.segment
        if segment.closed:
            return
        segment.set_state(place.offset, state)
        if segment.live:
            return
        for queue in self._queues.values():
            if queue.writing is segment:
                return
        for queue in self._queues.values():
            if segment in queue.segments:
                self._storage.discard(queue, segment)

    def count_try(self, place: Place, tries: int = 1) -> None:
        """A row is about to be tried again, before it is: who dies of a record has counted that.

        Args:
            place: where it is.
            tries: how often; -1 where nothing came of it.
        """
        place.segment.count_tries(place.offset, tries)

    def tries(self, place: Place) -> int:
        """How often a row was tried again, by this process or others, at most 255; 0 for one that has gone."""
        return place.segment.tries(place.offset) if self.exists(place) else 0

    def _settle(self, place: Place) -> None:
        self.set_state(place, DONE)

    def supersede(self, before: Place, after: Place) -> None:
        """A row is settled, since there is another one for its record; with `power`, when that is on the disk.

        The other one was tried as often.

        Args:
            before: the row.
            after: the other one.
        """
        if tries := self.tries(before):
            self.count_try(after, tries)
        if self.power and self.exists(before):
            self.set_state(before, SENT)  # nobody sends it meanwhile
            self._superseded.append((before, after))
        else:
            self.set_state(before, DONE)

    def exists(self, place: Place) -> bool:
        """Whether a row's segment is still there: it goes when it has to give way, or all its rows are DONE."""
        return place.segment.has(place.offset)

    def is_sent(self, place: Place) -> bool:
        """Whether a row is there, and SENT."""
        return self.exists(place) and place.segment.is_sent(place.offset)

    def waiting(self, stream: Stream) -> int:
        """How many rows of a stream are WAITING."""
        return self._queues[stream].waiting()

    def usage(self) -> Usage:
        """How much there is."""
        return self._storage.usage()

    def reached(self, cluster_id: str) -> None:
        """The cluster has answered: this is its own ID, empty where it has none. It is remembered for who adopts."""
        if self._storage.owner.get("cluster_id") != cluster_id:
            self._storage.describe(cluster_id=cluster_id)

    def adopt(self, adopter: Adopter, until: float = math.inf) -> bool:
        """Take over what dead processes left for the same cluster and topics, before all that is here.

        What was SENT by them is WAITING. What there is no room for stays where it is, until there is. Call it in one
        thread at a time, and without the lock, which it takes itself for moments.

        Args:
            adopter: who takes over.
            until: when to stop, by the monotonic clock, once something was adopted.

        Returns:
            Whether it was stopped by that, and goes on when it is called again.
        """
        return self._adoption.adopt(adopter, until)

    def keep_bound(self, adopter: Adopter) -> None:
        """See to it that all processes together keep no more than they may; call it every ten seconds or so.

        Call it without the lock, which it takes itself for moments.

        Args:
            adopter: as of `adopt`; what dead processes have left and gives way was adopted, and then lost.
        """
        self._bound.keep(adopter)

    def stranded(self) -> tuple[Stranded, ...]:
        """What waits in the directories of dead processes, and was passed over by the last adoption.

        Call it in the thread that adopts, and without the lock.
        """
        return self._survey.of(self._adoption.passed_over)

    def check(self) -> dict[Stream, int]:
        """See what others did, and what has become too old. Call it every second.

        What somebody removed is written anew: a segment's file, the directory, or its lock.

        Returns:
            How many rows of each stream waited that an operator has settled since the last call.
        """
        self._storage.check()
        settled = self._storage.settled_by_others()
        for stream, seconds in self._ages.items():
            before = time.time_ns() - int(seconds * 1e9)
            if expired := expire(self._queues[stream], before, self._settle):
                self._storage.on_loss(stream, expired, "dead_letters_expired" if stream.dead else "expired")
        return settled

    def cut_off(self) -> dict[Stream, int]:
        """How many rows of each stream waited that are lost, since somebody has cut their files short, since this
        was asked last. 0: only such as were on their way.
        """
        return self._storage.cut_off()

    def sync(self, lock: AbstractContextManager[object]) -> None:
        """Return when all rows that are here by now are on the disk, or have gone. Without `power`, at once.

        Call it without the lock, which it takes itself for a moment: threads that wait share a flush.

        Raises:
            OutboxError: the disk did not take some of them.
        """
        if not self.power:
            return
        if self._unflushed is not None:
            raise _refused(self._unflushed)
        try:
            self._storage.sync_all()
        except OSError as error:
            raise _refused(error) from error
        finally:
            if self._superseded:
                with lock:
                    self._settle_superseded()

    def _settle_superseded(self) -> None:
        superseded, self._superseded = self._superseded, []
        for before, after in superseded:
            if not self.exists(after) or after.segment.is_synced(after.offset) or after.segment.is_done(after.offset):
                self.set_state(before, DONE)
            else:
                self._superseded.append((before, after))

    def close(self) -> None:
        """Give the lock up; what is not DONE can be adopted, and the rest is removed.

        With `power` that is on the disk when this returns, for who is about to call `sync`, or waits in it.

        Raises:
            OutboxError: the disk did not take some of it. It is closed all the same, and `sync` raises from then on.
        """
        try:
            if self.power:
                self._storage.flush()
        except OSError as error:
            self._unflushed = error
            raise _refused(error) from error
        finally:
            self._settle_superseded()
            self._storage.close()
            self._begin()

    def abandon(self) -> None:
        """Forget everything, in a forked child whose parent goes on with it; no file is touched."""
        self._adoption.abandon()
        self._bound.abandon()
        self._storage.abandon()
        self._unflushed = None
        self._begin()


def _refused(error: OSError) -> OutboxError:
    return OutboxError("outbox_unavailable", f"expected the disk to take a record, got: {error}")
