"""Callers that wait for the outcomes of what they have handed over, and serve reports meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.process import in_greenlet, monotonic, pause

from .background import Background
from .entry import Batch
from .lateness import LONGEST_LOOK, Lateness
from .recovery import Recovery
from .retreat import SLICE_SECONDS
from .state import DeliveryState

#: How much longer than `delivery_wait` a batch waits while brokers answer, and refuse some of it.
_PATIENCE = 5
#: After which part of `delivery_wait` a batch goes on without records that are missing while all others are there.
_LONE_SHARE = 0.25
#: How long what has just come back is waited for, until whoever decides over it has done so.
_DECISION_SECONDS = 1.0
#: Without an outbox librdkafka gives a record up after `delivery_wait`, or two seconds; it looks for such records once
#: a second.
_GIVEN_UP_AFTER, _LONGEST_REPORT = 2.0, 1.5


class Waiting:
    """Waits for outcomes.

    Args:
        state: the records' states.
        producer: serves reports.
        recovery: decides over what comes back.
        lateness: writes down what a batch waits for no longer.
        background: does all of that where it runs, and callers are greenlets.
        delivery_wait: seconds for which a batch waits.
        has_outbox: whether what is overdue can be written down.
        look_after: does what could not be done in the middle of something else.
    """

    def __init__(
        self,
        state: DeliveryState,
        producer: KafkaProducer,
        recovery: Recovery,
        lateness: Lateness,
        background: Background,
        delivery_wait: float,
        look_after: Callable[[], None],
        *,
        has_outbox: bool,
    ) -> None:
        self._state = state
        self._producer = producer
        self._recovery = recovery
        self._lateness = lateness
        self._background = background
        self._delivery_wait = delivery_wait
        self._look_after = look_after
        self._has_outbox = has_outbox

    def wait(self, batch: Batch, deadline: float) -> None:
        """Return when all of a batch is settled, or nothing is gained by waiting on.

        Args:
            batch: what was handed over.
            deadline: by the monotonic clock; time in which this process did not run does not count.
        """
        started = monotonic()
        longest = deadline + (_PATIENCE - 1) * self._delivery_wait
        open_, since = batch.open, started
        while batch.open and not self._state.is_interrupted():
            now = monotonic()
            if batch.open != open_:
                open_, since = batch.open, now
            left = deadline - now
            if left <= 0:
                # Brokers are there; only some records are refused, and have others wait until it is clear which ones.
                left = longest - now if self._recovery.is_sorting_out() else 0
            if left <= 0:
                self._expire(batch)
                return
            if open_ < batch.taken and self._is_alone(batch, now - since) and not self._recovery.is_sorting_out():
                # All else was settled long ago: what is missing holds up nothing behind this batch.
                self._lateness.let_go(batch)
                self._await_decisions(batch)
                return
            self.serve(left, started)
            frozen = monotonic() - now - SLICE_SECONDS
            if frozen > LONGEST_LOOK:  # this process did not run, and the reports may be there already
                deadline += frozen

    def _is_alone(self, batch: Batch, stalled: float) -> bool:
        """Whether what is missing of a batch has been waited for long enough, itself or what it stands behind."""
        enough = self._delivery_wait * _LONE_SHARE
        return stalled > enough or (stalled > SLICE_SECONDS and self._lateness.is_behind(batch))

    def _expire(self, batch: Batch) -> None:
        """A batch has waited for as long as it may: what is open of it is written down, or given up by librdkafka.

        Where nothing is acknowledged at all, its caller may as well wait for that.
        """
        self._recovery.step()  # what came back by now has a reason of its own
        self._lateness.expire(batch)
        if self._has_outbox or not self._state.away:
            self._await_decisions(batch)  # no more than those: others are delivered meanwhile
            return
        seconds = max(0.0, _GIVEN_UP_AFTER - self._delivery_wait) + _LONGEST_REPORT
        self._serve_while(lambda: bool(batch.open), seconds)

    def _await_decisions(self, batch: Batch) -> None:
        """What came back at the last moment has its outcome in a moment: another thread may be at it."""
        self._serve_while(lambda: bool(batch.open) and self._state.is_undecided(batch), _DECISION_SECONDS)

    def _serve_while(self, goes_on: Callable[[], bool], seconds: float) -> None:
        started = monotonic()
        while goes_on() and not self._state.is_interrupted() and (left := started + seconds - monotonic()) > 0:
            self.serve(left, started)

    def serve(self, seconds: float, since: float) -> None:
        """Serve reports for a moment, and decide over what has failed.

        Args:
            seconds: how long at most.
            since: when the wait began that this is a part of.
        """
        if self._state.is_interrupted():
            return  # no report can be served before that goes on
        if in_greenlet() and self._background.runs:
            self._background.hurry()  # that thread does all of it: all greenlets would wait for a call to the client
            pause(min(seconds, SLICE_SECONDS), since)
        else:
            if self._state.attention.is_set() or not self._background.runs:
                self._recovery.step()
            if not self._producer.is_inside():  # else a signal handler waits within a call to the client
                self._background.stand_back()
            if not self._producer.flush(min(seconds, SLICE_SECONDS)):
                self._state.attention.wait(min(seconds, SLICE_SECONDS))
        self._look_after()
