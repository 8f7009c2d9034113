"""One librdkafka producer, from its making to its end. Nobody waits for either, and nobody else brings them about."""

from __future__ import annotations

import ctypes
from _thread import TIMEOUT_MAX
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

# From the extension module itself: opentelemetry-instrumentation-confluent-kafka patches the package's attribute, and
# would make a span of every log record.
from confluent_kafka import KafkaException
from confluent_kafka.cimpl import Producer

from otel_kafka_exporter.process import Flag, OsThread, RLock, allocate_lock, get_ident, librdkafka_log, sleep

from .early import EarlyRecords
from .reports import EnoughServedError, Reports

#: How long the thread that has made a client waits for room in it.
_ROOM_SECONDS = 0.005
#: How long a round of reports of one that is given up lasts; then there is another one.
_ROUND_SECONDS = 0.1


class Client:
    """A librdkafka producer that a thread of its own makes, and closes when it is given up and nobody is in a call.

    To make it takes a second where the application gives tokens by a callback, and ten where that is slow, because
    confluent-kafka waits for the first one. What is produced meanwhile waits in memory.

    To close it under a call would be a segmentation fault. To wait for its close could take as long as a name
    resolution that hangs, because librdkafka joins its threads. The thread is there from the start: at the
    interpreter's exit none can be started any more, from Python 3.12 on. A client without one is made by whoever waits
    for it first, is never closed, and ends with its process.

    Args:
        config: librdkafka's configuration.
        logger: has the method `log`, which is given librdkafka's log lines.
        reports: where its callbacks collect reports, which are acted upon when a call to it is over.
        on_failure: called with what was raised when it could not be made; of many types, for whatever librdkafka cannot
            make a producer of.
        on_gone: called after that, when all that was given to it has come back.

    Attributes:
        inside: the threads that are in a call to it.
        produce: as `Producer.produce`, by position. Returns at once, whether the producer is there yet or not.
    """

    def __init__(
        self,
        config: dict[str, Any],
        logger: object,
        reports: Reports[Any],
        on_failure: Callable[[Exception], None],
        on_gone: Callable[[Client], None],
    ) -> None:
        self._config = config
        self._logger = logger
        self._reports = reports
        self._on_failure = on_failure
        self._on_gone = on_gone
        self._early = EarlyRecords(config)
        self.produce: Callable[..., None] = self._early.produce
        self._producer: Producer | None = None
        self._making = allocate_lock()  # held from the beginning of its making on
        self._settled = Flag()  # it is made, or will not be
        self._is_open = False
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self.inside: list[int] = []
        self._given_up = False
        #: Whether a call to it has ended by an exception, perhaps a signal handler's.
        self.was_broken_off = False
        self._unused = Flag()
        self._thread = OsThread(self._live)
        with suppress(RuntimeError):  # the interpreter is about to end
            self._thread.start()

    def _live(self) -> None:
        self._make()
        while not self._given_up and not self._hand_on():
            sleep(_ROOM_SECONDS)  # who waits for reports makes room
        self._unused.wait(TIMEOUT_MAX)
        self._close()

    def _make(self) -> None:
        if not self._making.acquire(blocking=False):
            return
        try:
            producer = Producer(self._config, logger=self._logger)
        except Exception as error:  # noqa: BLE001 - for a certificate that is gone, a token, or a limit of threads
            self._given_up = True
            self._unused.set()
            self._on_failure(error)
            self._early.fail()
            self._reports.settle()
            self._on_gone(self)
            self._settled.set()
            return
        # With one reference too many it is not destroyed by chance: that, too, would wait, be it for threads that are
        # not there in a forked child, or at the interpreter's end while the close is under way.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))
        with self._lock:
            self._producer = producer
        self._hand_on()  # first of all: who waits for it would serve no reports of these
        self._settled.set()

    def _hand_on(self) -> bool:
        """Give the producer what came before it; whether it has all of that."""
        if self._producer is None:
            return True  # and there will be none
        is_open = self._early.hand_on(self._producer)
        self._reports.settle()  # of those that it has refused
        if not is_open:
            return False
        self.produce = self._producer.produce
        self._is_open = True
        return True

    def ready(self, seconds: float) -> bool:
        """Wait until it is made, at most for so long; whether it is. What has waited for too long is reported."""
        if self._is_open:
            return True
        if seconds > 0 and not self._thread.is_alive() and not self._given_up:
            self._make()  # unless that was tried
            self._hand_on()
        if not self._settled.wait(seconds):
            self._early.expire()
            self._reports.settle()
        return self._producer is not None

    @property
    def is_open(self) -> bool:
        """Whether it is made, and has all that came before it: nothing is left to be done for it."""
        return self._is_open

    @property
    def is_settled(self) -> bool:
        """Whether it is made, or will not be."""
        return self._settled.is_set()

    @contextmanager
    def used(self) -> Iterator[Producer]:
        """For the length of a call that gives the GIL up. Takes no lock.

        Raises:
            RuntimeError: it is not made yet, or was given up, and is closed by now or about to be.
        """
        ident = get_ident()
        before = self.inside.count(ident)
        try:  # around all of it: Ctrl-C may come at any moment
            # First: whoever gives it up sees this thread, or this thread sees that it was given up.
            self.inside.append(ident)
            producer = self._producer
            if producer is None or self._given_up:
                raise RuntimeError("the client is not made yet, or was given up")  # noqa: TRY301 - the `try` is for Ctrl-C
            yield producer
        except (EnoughServedError, KafkaException):
            raise
        except BaseException:  # perhaps a signal handler's, in place of a report; it is passed on
            self.was_broken_off = True
            raise
        finally:
            try:
                self._leave(ident, before)
            except BaseException:  # Ctrl-C: it is not inside for ever
                self._leave(ident, before)
                raise
            if not before and self._reports.collected:
                self._reports.settle()

    def _leave(self, ident: int, before: int) -> None:
        """A thread is inside as often as before, and not more."""
        if self.inside.count(ident) > before:
            self.inside.remove(ident)
        if self._given_up and not self.inside:
            self._unused.set()

    def is_inside(self) -> bool:
        """Whether this thread is in a call to it, be it in a callback or a signal handler within that.

        confluent-kafka aborts the process when one is entered again there.
        """
        return get_ident() in self.inside

    def lacks(self, open_: int) -> bool:
        """Whether it has fewer records than are open, of those that it was given: reports were lost."""
        # Its count includes reports that are yet to be served; others may have been collected meanwhile.
        return (
            self._is_open and self._producer is not None and len(self._producer) + len(self._reports.collected) < open_
        )

    def purge(self) -> None:
        """Take back every record that has no report yet; their reports say so."""
        self._early.purge()
        self._reports.settle()
        with suppress(RuntimeError), self.used() as producer:
            purge(producer)

    def give_up(self) -> None:
        """Take back what is on its way, and have it closed. Whoever is in a call to it gets out of it first."""
        self._early.give_up()
        self._reports.settle()
        if self.is_inside():
            self._given_up = True  # the thread that closes it takes back what is on its way
            return
        with self._lock:  # no call in here: a finalizer at its end may wait for who waits for this lock
            is_made = self._producer is not None
            self._given_up = self._given_up or not is_made
        if not is_made:
            self._unused.set()  # it is closed when it is made
            return
        with suppress(RuntimeError), self.used() as producer:
            try:
                # Closing one that still has records takes up to `message.timeout.ms`.
                purge(producer)
                self._serve(producer)
            except Exception as error:  # noqa: BLE001 - one with a fatal error raises from any of these, SystemError included
                librdkafka_log.debug("%s while a producer was given up: %s", type(error).__name__, error)
            finally:
                with self._lock:
                    self._given_up = True

    def _serve(self, producer: Producer) -> None:
        """Serve all reports that are there, however many."""
        is_more = True
        while is_more:
            self._reports.begin_round(_ROUND_SECONDS)
            try:
                producer.flush(0)
            except EnoughServedError:
                continue
            is_more = False

    def wait_closed(self, seconds: float) -> None:
        """Wait for its end, at most for so long."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _close(self) -> None:
        producer = self._producer
        if producer is None:
            return
        try:
            purge(producer)  # what was given to it since, or by whoever gave it up from within a call
            self._serve(producer)
            producer.close()
        except Exception as error:  # noqa: BLE001 - as above
            librdkafka_log.debug("%s while a producer was closed: %s", type(error).__name__, error)
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(producer))
        self._reports.settle()


def purge(producer: Producer) -> None:
    """Take back every record that has no report yet; the reports, which come with the next polls, say so."""
    # confluent-kafka has it the wrong way round: with `blocking=False` this waits, with the GIL held, for threads that
    # may be in a name resolution that hangs.
    producer.purge(in_queue=True, in_flight=True, blocking=True)
