"""Outcomes on their way to the event loop whose tasks await them.

Whichever thread serves delivery reports puts them in, and wakes the loop once per round of reports, however many came:
a wake-up for each record would cost more than the record. The loop's own thread does everything else, so that nothing
in here needs a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from otel_kafka_exporter.delivery import Batch, Delivery, Entry
from otel_kafka_exporter.process import DeliveryOutcome


class Awaited(Batch):
    """One record whose outcome a task awaits.

    Attributes:
        outcome: what has become of it; None until then.
        future: what the task awaits, if it had to.
        deadline: until when, by the loop's clock.
    """

    __slots__ = ("_settled", "deadline", "future", "outcome")

    def __init__(self, settled: deque[Awaited], deadline: float) -> None:
        super().__init__()
        self.outcome: DeliveryOutcome | None = None
        self.future: asyncio.Future[DeliveryOutcome | None] | None = None
        self.deadline = deadline
        self._settled = settled

    def settle(self, outcome: DeliveryOutcome) -> None:
        """Called by delivery, in whichever thread."""
        super().settle(outcome)
        self.outcome = outcome
        self._settled.append(self)

    def goes_on_without_probe(self) -> bool:
        """It holds up no other task."""
        return False


class Inbox:
    """The outcomes that tasks of one event loop await. All but `announce` is for the loop's own thread.

    Args:
        loop: it.
        delivery: takes the records.
        seconds: how long an outcome is awaited.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, delivery: Delivery, seconds: float) -> None:
        self.loop = loop
        self._delivery = delivery
        self._seconds = seconds
        self._settled: deque[Awaited] = deque()
        self._open: deque[Awaited] = deque()  # by their deadlines
        self._no_room: deque[tuple[Awaited, Entry]] = deque()
        self._turns: deque[asyncio.Future[None]] = deque()
        self._announced = self._kicks = self._watches = False
        self._flushing: asyncio.Future[None] | None = None
        self._flushed_next: asyncio.Future[None] | None = None

    def awaited(self) -> Awaited:
        """What a record is handed over with; from here on the time counts."""
        return Awaited(self._settled, self.loop.time() + self._seconds)

    @property
    def crowded(self) -> bool:
        """Whether others wait for room already, so that a record must not be handed over before them."""
        return bool(self._no_room or self._turns)

    async def turn(self, awaited: Awaited) -> None:
        """Wait until those before have found room, or this one's time is over."""
        future = self.loop.create_future()
        self._turns.append(future)
        # Nothing is in flight that could end this one's wait by its outcome, hence a timer of its own.
        timer = self.loop.call_at(awaited.deadline, _let_go, future)
        try:
            await future
        finally:
            timer.cancel()

    async def outcome(self, awaited: Awaited, without_room: Entry | None) -> DeliveryOutcome | None:
        """The outcome of a record that was handed over; None when it is not known in time."""
        if without_room is not None:
            self._no_room.append((awaited, without_room))
        if awaited.outcome is not None:
            return awaited.outcome
        future: asyncio.Future[DeliveryOutcome | None] = self.loop.create_future()
        awaited.future = future
        self._open.append(awaited)
        if not self._watches:
            self._watches = True
            self.loop.call_at(awaited.deadline, self._expire)
        if not self._kicks:
            self._kicks = True
            self.loop.call_soon(self._kick)
        return await future

    async def on_disk(self) -> None:
        """Return when what was handed over by now is on the disk. A thread waits for that, and not the loop's.

        Those who come while it does share the next turn.
        """
        if self._flushed_next is None:
            self._flushed_next = asyncio.ensure_future(self._flush_after(self._flushing))
        await asyncio.shield(self._flushed_next)

    async def _flush_after(self, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._flushing, self._flushed_next = self._flushed_next, None
        await self.loop.run_in_executor(None, self._delivery.sync)

    def _kick(self) -> None:
        """All tasks of this turn of the loop have handed their records over."""
        self._kicks = False
        self._delivery.hurry()

    def announce(self) -> None:
        """A round of reports is over: wake the loop, if there is anything for it. From any thread."""
        if (self._settled or self._no_room or self._turns) and not self._announced:
            self._announced = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody awaits anything any more
                self.loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        self._announced = False  # first: what is put in from here on is announced again
        settled, records = self._settled, 0
        while settled:
            awaited = settled.popleft()
            records += 1
            future = awaited.future
            if future is not None and not future.done():
                future.set_result(awaited.outcome)
        while self._open and self._open[0].outcome is not None:
            self._open.popleft()
        if self._no_room or self._turns:
            self._give_room(records)

    def _give_room(self, records: int) -> None:
        """Hand over, in their order, what there was no room for; then let as many others come as have gone."""
        while self._no_room:
            if not self._delivery.try_again(self._no_room[0][1]):
                return
            self._no_room.popleft()
        if self._delivery.stats().in_flight == 0:
            records = max(records, 1)
        while records and self._turns:
            turn = self._turns.popleft()
            records -= not turn.done()  # else its task was cancelled
            _let_go(turn)

    def give_up(self) -> None:
        """Nothing finds room any more. From any thread."""
        try:
            self.loop.call_soon_threadsafe(self._give_up)
        except RuntimeError:  # it is closed: nothing runs there beside us
            self._give_up_waiting()

    def _give_up_waiting(self) -> None:
        while self._no_room:
            self._delivery.give_up(self._no_room.popleft()[1])

    def _give_up(self) -> None:
        self._give_up_waiting()
        while self._turns:
            _let_go(self._turns.popleft())
        self._resolve()

    def _expire(self) -> None:
        """Answer those that have waited long enough."""
        now = self.loop.time()
        while self._no_room and self._no_room[0][0].deadline <= now:
            self._delivery.give_up(self._no_room.popleft()[1])
        while self._open and (self._open[0].outcome is not None or self._open[0].deadline <= now):
            awaited = self._open.popleft()
            if awaited.future is not None and not awaited.future.done():
                awaited.future.set_result(awaited.outcome)
        self._watches = bool(self._open)
        if self._open:
            self.loop.call_at(self._open[0].deadline, self._expire)


def _let_go(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
