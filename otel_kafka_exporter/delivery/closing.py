"""The end of delivery: what is on its way is waited for, and the rest is kept.

A signal handler that shuts down may have interrupted a call that hands over a record, in its own thread. That call
cannot go on before the handler returns, and what it has half done must not be done by anybody else meanwhile. So the
shutdown is another thread's then: it waits until that call is over, and the process's exit waits for it.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from types import FrameType

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.process import Flag, OsThread, get_ident, monotonic, pause

from .background import Background
from .intake import Intake
from .locking import OthersHaveItError
from .maintenance import Maintenance
from .recovery import Recovery
from .retreat import SHUTDOWN, Retreat
from .state import DeliveryState
from .waiting import Waiting

#: How long those that wait for room may take to find their place in the outbox.
_ROOM_SECONDS, _LOOK_SECONDS = 0.1, 0.005
#: How long another thread that decides over failed records is waited for, in each of two steps.
_END_SECONDS = 0.3
#: How long a call that a signal handler has interrupted is waited for, at least.
_INTERRUPTED_SECONDS = 1.0
#: How long what it has handed over is waited for, at least.
_LEAST_SECONDS = 0.1


class Closing:
    """Ends delivery, once.

    Args:
        state: the records' states.
        producer: has what is on its way; it is closed.
        recovery, retreat: take back what is not delivered in time.
        background: is stopped.
        intake: has what waits to be taken.
        waiting: serves reports.
        maintenance: looks after the outbox once more.
        look_after: does what could not be done in the middle of something else.
        tell_losses: says of all losses what was not said yet.
        in_flight: how many records have no outcome yet.
    """

    def __init__(
        self,
        state: DeliveryState,
        producer: KafkaProducer,
        recovery: Recovery,
        retreat: Retreat,
        background: Background,
        intake: Intake,
        waiting: Waiting,
        maintenance: Maintenance,
        look_after: Callable[[], None],
        tell_losses: Callable[[], None],
        in_flight: Callable[[], int],
    ) -> None:
        self._state = state
        self._producer = producer
        self._recovery = recovery
        self._retreat = retreat
        self._background = background
        self._intake = intake
        self._waiting = waiting
        self._maintenance = maintenance
        self._look_after = look_after
        self._tell_losses = tell_losses
        self._in_flight = in_flight
        self._begun = state.closed
        self._is_left = False  # to a thread that does it later
        self._closer = 0
        self._ended = Flag()
        if state.closed:
            self._ended.set()

    def close(self, seconds: float, interrupted: FrameType | None) -> None:
        """Take no more records; wait for those on their way for at most so many seconds, and keep the rest.

        Args:
            seconds: for all of it.
            interrupted: the call of this thread's that a signal handler has interrupted in order to call this, if any.
        """
        deadline = monotonic() + seconds
        if interrupted is not None or self._state.is_interrupted():
            if not self._leave(interrupted, deadline):
                self._close_now(deadline)  # what is half done may be counted as a fault
        elif not self._state.lock.bounded(self._close_once, deadline) and self._leave(None, deadline):
            # Others have kept the lock: in a signal handler, say, that waits for what this thread holds.
            self._ended.wait(deadline - monotonic())

    def _close_once(self, deadline: float) -> None:
        try:
            with self._state.lock:
                begun = self._begun
                if not begun:
                    self._closer = get_ident()
                    self._begun = True
            if not begun:
                self._close_now(deadline)
            elif self._closer != get_ident():  # else a signal handler has interrupted it
                self._ended.wait(deadline - monotonic())
        except BaseException:  # Ctrl-C, or others have kept the lock
            if self._closer == get_ident() and not self._ended.is_set():
                self._begun = False  # whoever comes next begins anew
            raise

    def _leave(self, interrupted: FrameType | None, deadline: float) -> bool:
        """Leave it to a thread, which the process's exit waits for; whether there is one to be had."""
        if self._begun or self._is_left:
            return True
        self._is_left = True
        ident = get_ident()
        try:
            OsThread(lambda: self._close_after(interrupted, ident, deadline)).start()
        except RuntimeError:
            return False
        atexit.register(self._await_end, os.getpid(), max(0.0, deadline - monotonic()) + _INTERRUPTED_SECONDS)
        return True

    def _await_end(self, pid: int, seconds: float) -> None:
        if pid == os.getpid():  # a forked child has no such thread
            self._ended.wait(seconds)

    def _close_after(self, interrupted: FrameType | None, ident: int, deadline: float) -> None:
        """Close when that call is over, if there is one: what it hands over goes its usual way."""
        latest = max(deadline, monotonic() + _INTERRUPTED_SECONDS)
        while interrupted is not None and monotonic() < latest and _runs(interrupted, ident):
            pause(_LOOK_SECONDS)
        self._close_once(max(deadline, monotonic() + _LEAST_SECONDS))

    def _close_now(self, deadline: float) -> None:
        is_given_up = False
        try:
            with self._state.lock:
                self._state.closed = True
            self._wait(deadline)
        except OthersHaveItError:
            is_given_up = True
            raise
        finally:
            if not is_given_up:
                self._keep_rest()  # after a second Ctrl-C, too
                self._ended.set()

    def _wait(self, deadline: float) -> None:
        state, started = self._state, monotonic()
        to_frame = set(self._recovery.waits_for_frames())
        while not state.away and (self._in_flight() or self._recovery.may_be_framed(to_frame)):
            if (left := deadline - monotonic()) <= 0:
                break
            self._waiting.serve(left, started)
            to_frame.update(self._recovery.waits_for_frames())

    def _keep_rest(self) -> None:
        state = self._state
        self._background.stop(_END_SECONDS)
        if not self._recovery.retreat(_END_SECONDS):
            self._retreat.put_away(SHUTDOWN)  # somebody hangs in the middle of a decision
        # Those that wait for room give up now, and have their place in the outbox in a moment.
        deadline = monotonic() + _ROOM_SECONDS
        while self._in_flight() and monotonic() < deadline:
            state.attention.wait(_LOOK_SECONDS)
        self._look_after()
        self._producer.close()
        self._maintenance.check_outbox()
        with state.lock:
            self._intake.start_deferred_locked()  # what a signal handler has logged meanwhile
            outbox, state.outbox = state.outbox, None
            if outbox is not None:
                state.close(outbox)
        self._look_after()
        self._tell_losses()


def _runs(frame: FrameType, ident: int) -> bool:
    """Whether a thread is still in a call."""
    step = sys._current_frames().get(ident)  # noqa: SLF001 - documented, in spite of its name
    while step is not None:
        if step is frame:
            return True
        step = step.f_back
    return False
