"""Outcomes on their way to the event loop whose tasks await them, and the records that wait for room.

Whichever thread serves delivery reports puts outcomes in, and wakes the loop once per round of reports, however many
came: a wake-up for each record would cost more than the record. The loop's own thread does everything else, so that
nothing in here needs a lock.

A record counts from the call on that publishes it. One that finds no room waits here, and those that come later wait
behind it, whether the task of each still awaits it or was cancelled. When the loop is closed they go on with the next
one's inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from otel_kafka_exporter.delivery import Batch, Delivery, Entry
from otel_kafka_exporter.process import DeliveryOutcome, monotonic, pause

#: How many that wait for room are handed over in one turn of the loop.
_LET_IN = 256
#: By how much a loop's timers may come early.
_EARLY = 0.002
#: How long an end waits between two looks whether there is room.
_LOOK_SECONDS = 0.005


class Awaited(Batch):
    """One record whose outcome a task awaits.

    Attributes:
        outcome: what has become of it; None until then.
        future: what the task awaits, if it had to.
        deadline: until when, by the loop's clock.
    """

    __slots__ = ("_settled", "deadline", "future", "outcome")

    def __init__(self, settled: deque[Awaited], deadline: float) -> None:
        self.taken = self.open = self.failed = 0  # as `Batch` has it, without a call
        self.outcome: DeliveryOutcome | None = None
        self.future: asyncio.Future[DeliveryOutcome | None] | None = None
        self.deadline = deadline
        self._settled = settled

    def tell(self, outcome: DeliveryOutcome) -> None:
        """Called by delivery, in whichever thread."""
        if self.outcome is None:
            # No call in between, at which Ctrl-C could come.
            self.outcome = outcome
            self._settled += (self,)

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
        self._announced = False
        self._looks_at = (
            0.0  # when deadlines are seen to next; if that is past, a signal handler may have kept it from it
        )
        self._in_turn = self._more = False  # whether a record was awaited in this turn of the loop, and others after it

    def awaited(self) -> Awaited:
        """What a record is handed over with; from here on the time counts."""
        return Awaited(self._settled, self.loop.time() + self._seconds)

    @property
    def crowded(self) -> bool:
        """Whether others wait for room already, so that a record must not be handed over before them."""
        return bool(self._no_room)

    def wait_for_room(self, awaited: Awaited, entry: Entry) -> None:
        """An entry is handed over when there is room for it, after those before it, or given up at its deadline."""
        self._no_room.append((awaited, entry))

    def take_over(self, ended: Inbox) -> None:
        """What waits for room in the inbox of a loop that is closed waits here, where nobody awaits its outcome."""
        deadline = self.loop.time() + self._seconds
        while ended._no_room:
            awaited, entry = ended._no_room.popleft()
            awaited.future = None
            awaited.deadline = deadline
            self._no_room.append((awaited, entry))
            self._open.append(awaited)
        if self._open:
            self._watch()
        self.announce()

    def outcome(self, awaited: Awaited) -> asyncio.Future[DeliveryOutcome | None]:
        """The outcome of a record that was handed over or waits for room; None when it is not known in time."""
        future: asyncio.Future[DeliveryOutcome | None] = self.loop.create_future()
        awaited.future = future
        self._open.append(awaited)
        if self._in_turn:
            self._more = True
        else:
            # The thread that this wakes does nothing before this one waits or has had its share of the interpreter. For
            # a record that is alone its way to there is a good part of the time that it takes.
            # A signal handler may raise after each of these: then the next task does the same.
            if self._looks_at < self.loop.time():
                self._watch()
            self.loop.call_soon(self._end_turn)
            self._in_turn = True
            self._delivery.hurry()
        return future

    def _end_turn(self) -> None:
        """All tasks of this turn of the loop have handed their records over."""
        self._in_turn = False
        if self._more:
            self._more = False
            self._delivery.hurry()

    def announce(self) -> None:
        """A round of reports is over: wake the loop, if there is anything for it. From any thread."""
        if (self._settled or self._no_room) and not self._announced:
            self._announced = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody awaits anything any more
                self.loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        self._announced = False  # first: what is put in from here on is announced again
        try:
            self._tell_settled()
        except BaseException:  # a signal handler's, which asyncio passes over where it is an Exception
            self.announce()
            raise
        while self._open and self._open[0].outcome is not None:
            self._open.popleft()
        if self._no_room and not self.let_in():
            self.announce()

    def _tell_settled(self) -> None:
        settled = self._settled
        while settled:
            future = settled[0].future
            if future is not None and not future.done():
                future.set_result(settled[0].outcome)
            del settled[0]  # last: it has been told then, whatever came in between

    def let_in(self) -> bool:
        """Hand over, in their order, what there was no room for; False where there may be room for more of it."""
        let_in = 0
        while self._no_room and let_in < _LET_IN:
            first = self._no_room[0]
            if not self._delivery.try_again(first[1]):
                break
            if self._no_room and self._no_room[0] is first:  # else a signal handler has closed the publisher
                self._no_room.popleft()
            let_in += 1
        if let_in:
            self._delivery.hurry()
        return let_in < _LET_IN

    def finish(self, seconds: float) -> None:
        """Wait until all have found room, at most for so long; the rest is given up. From any thread."""
        deadline = monotonic() + seconds
        runs_beside_us = self.loop.is_running() and not _runs_here(self.loop)
        while self._no_room and (left := deadline - monotonic()) > 0 and not self._delivery.is_interrupted():
            if runs_beside_us:
                pause(min(left, _LOOK_SECONDS))
            else:
                self._delivery.flush(min(left, _LOOK_SECONDS))
                self.let_in()
        if not runs_beside_us:
            self._give_up()
            return
        for _, entry in tuple(self._no_room):  # here: the loop may be busy until all is closed
            self._delivery.give_up(entry)
        try:
            self.loop.call_soon_threadsafe(self._give_up)
        except RuntimeError:  # it is closed by now
            self._give_up()

    def _give_up(self) -> None:
        """Nothing finds room any more."""
        while self._no_room:
            self._give_up_first()
        self.announce()

    def _give_up_first(self) -> None:
        self._delivery.give_up(self._no_room[0][1])
        del self._no_room[0]  # last, as in `_tell_settled`

    def _expire(self) -> None:
        """Answer those that have waited long enough, and see to it that the next ones are."""
        try:
            self._answer_overdue()
        finally:
            if self._open and self._looks_at < max(self._open[0].deadline, self.loop.time()):
                self._watch()

    def _watch(self) -> None:
        deadline = self._open[0].deadline
        self.loop.call_at(deadline, self._expire)
        self._looks_at = deadline

    def _answer_overdue(self) -> None:
        self._announced = False  # as it stayed, where a signal handler raised just before that was seen to
        self._tell_settled()
        now = self.loop.time() + _EARLY
        while self._no_room and self._no_room[0][0].deadline <= now:
            self._give_up_first()
        while self._open and (self._open[0].outcome is not None or self._open[0].deadline <= now):
            future = self._open[0].future
            if future is not None and not future.done():
                future.set_result(self._open[0].outcome)
            del self._open[0]  # last, as in `_tell_settled`


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
