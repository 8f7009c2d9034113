"""The background thread of a process that has records: serves reports, recovers what failed, drains the outbox."""

from __future__ import annotations

from collections.abc import Callable

from otel_kafka_exporter.kafka import KafkaProducer
from otel_kafka_exporter.process import (
    OsThread,
    at_worker_exit,
    get_ident,
    is_interruption,
    kind_of_fault,
    locked,
    log,
    monotonic,
    note,
)

from .maintenance import Maintenance
from .recovery import Recovery
from .state import DeliveryState

#: How long one wait for reports lasts. Longer ones return at their end only in some versions of confluent-kafka.
_POLL_SECONDS = 0.05
#: How long records go without lingering when somebody waits for them. They linger for the next ones otherwise.
_HURRY_SECONDS = 0.001
_WARM_SECONDS, _WARM_TRIES = 0.25, 4
#: How often a thread is tried to be started, where there is none to be had.
_START_SECONDS = 1.0


class Background:
    """One daemon thread, started when the first record is there.

    Where no thread can be started, as at the interpreter's exit from Python 3.12 on, callers that wait for outcomes do
    its work.
    """

    def __init__(
        self,
        state: DeliveryState,
        recovery: Recovery,
        maintenance: Maintenance,
        producer: KafkaProducer,
        on_round: Callable[[], None],
        look_after: Callable[[], None],
        at_worker_exit: Callable[[], None],
    ) -> None:
        self._state = state
        self._recovery = recovery
        self._maintenance = maintenance
        self._producer = producer
        self._on_round = on_round
        self._look_after = look_after
        self._at_worker_exit = at_worker_exit
        self._thread: OsThread | None = None
        self._ident = 0  # its own
        self._start_at = 0.0
        self._idle = False
        self._stopped = False
        self._hurried = self._awaits_hurry = False
        self._stands_back_until = 0.0
        self._warm_tries = _WARM_TRIES

    @property
    def runs(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def notice(self) -> None:
        """There is a record: start the thread if that has not been done, wake it if it sleeps."""
        if self._idle:
            self._state.attention.set()
        elif self._thread is None and not self._stopped:
            locked(self._state.lock, self._start, _later)

    def await_hurry(self) -> None:
        """There is a record, and `hurry` will be called as soon as there are no more."""
        self._awaits_hurry = True

    def hurry(self) -> None:
        """There are records whose outcomes somebody waits for."""
        self._hurried, self._awaits_hurry = True, False
        if self._thread is None:
            self.notice()
        self._state.attention.set()

    def stand_back(self) -> None:
        """A caller serves reports; two at it would only take the interpreter from each other."""
        self._stands_back_until = monotonic() + _POLL_SECONDS

    def come_back(self) -> None:
        """That caller does so no longer."""
        self._stands_back_until = 0.0
        if self._state.with_client():
            self._state.attention.set()

    def _start(self) -> None:
        now = monotonic()
        if self._thread is not None or self._stopped or now < self._start_at:
            return
        thread = self._thread = OsThread(self._run)  # Ctrl-C may come behind its start, and no second one is wanted
        try:
            thread.start()
        except BaseException as error:
            if not thread.is_begun:
                self._thread = None
            if is_interruption(error):
                raise
            # The interpreter is about to end, or the system has no more threads.
            self._start_at = now + _START_SECONDS
            note("no_thread", "no thread for delivery can be started at present: %s", error)
        else:
            at_worker_exit(self._at_worker_exit)

    def stop(self, seconds: float) -> None:
        """Have the thread end; waits for it at most for so long."""
        self._stopped = True
        self._state.attention.set()
        if self._thread is not None and self._ident != get_ident():
            self._thread.join(seconds)

    def _run(self) -> None:
        self._ident = get_ident()
        step_at = 0.0
        while not self._stopped:
            try:
                self._warm()
                self._serve()
                self._on_round()
                now = monotonic()
                # Who waits for outcomes waits for the interpreter too: what nothing calls for can wait.
                if now < step_at and (self._hurried or not self._state.attention.is_set()):
                    continue
                step_at = now + _POLL_SECONDS
                self._recovery.step()
                self._look_after()
                self._maintenance.step()
            except Exception as error:  # noqa: BLE001 - without this thread nothing would be delivered any more
                log.exception(
                    "delivery goes on after a fault of its own: %s", error, extra={"kind": kind_of_fault(error)}
                )
                self._state.attention.wait(_POLL_SECONDS)

    def _warm(self) -> None:
        """Two answers of the cluster spare the first record of an idempotent producer half a second."""
        if self._warm_tries and not self._stopped:
            topic = next((lane.topic for lane in self._state.lanes.values() if lane.topic), "")
            if self._producer.warm or self._producer.reachable(topic, _WARM_SECONDS):
                self._warm_tries = 0
            elif not self._producer.is_being_made:
                self._warm_tries -= 1

    def _serve(self) -> None:
        """Serve reports while there are some to come, else sleep until there is something to do."""
        hurried, self._hurried = self._hurried, False
        if hurried:
            self._state.attention.clear()  # that was for us; whatever comes from here on sets it again
        with self._state.lock:
            self._idle = not self._state.on_the_way()
        if not self._idle:
            if monotonic() < self._stands_back_until:
                self._state.attention.wait(_POLL_SECONDS)
            elif self._awaits_hurry and not hurried:
                self._awaits_hurry = False  # it may never come: what was handed over may have had its outcome at once
                self._state.attention.wait(_HURRY_SECONDS)
            elif not (self._producer.flush(_HURRY_SECONDS) if hurried else self._producer.poll(_POLL_SECONDS)):
                self._state.attention.wait(_POLL_SECONDS)
        elif not self._stopped:
            self._state.attention.wait(self._recovery.due())
        self._idle = False


def _later() -> None:
    """Others have the lock: the next record starts the thread."""
