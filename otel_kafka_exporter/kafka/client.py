"""One librdkafka producer, from its making to its end. Nobody waits for its end, and nobody else brings it about."""

from __future__ import annotations

import ctypes
from _thread import TIMEOUT_MAX
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# From the extension module itself: opentelemetry-instrumentation-confluent-kafka patches the package's attribute, and
# would make a span of every log record.
from confluent_kafka.cimpl import Producer

from otel_kafka_exporter.process import Flag, OsThread, RLock, get_ident, librdkafka_log

from .reports import EnoughServedError, Reports


class Client:
    """A librdkafka producer that a thread of its own closes when it is given up and nobody is in a call to it.

    To close it under a call would be a segmentation fault. To wait for its close could take as long as a name
    resolution that hangs, because librdkafka joins its threads. The thread is there from the start: at the
    interpreter's exit none can be started any more, from Python 3.12 on. A client without one is never closed, and ends
    with its process.

    Args:
        config: librdkafka's configuration.
        logger: has the method `log`, which is given librdkafka's log lines.
        reports: where its callbacks collect reports, which are acted upon when a call to it is over.

    Raises:
        Exception: of many types, for whatever librdkafka cannot make a producer of.
    """

    def __init__(self, config: dict[str, Any], logger: object, reports: Reports[Any]) -> None:
        self.producer = Producer(config, logger=logger)
        # With one reference too many it is not destroyed by chance: that, too, would wait, be it for threads that are
        # not there in a forked child, or at the interpreter's end while the close is under way.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.producer))
        self._reports = reports
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._inside: list[int] = []  # the threads that are in a call to it
        self._given_up = False
        #: Whether a call to it has ended by an exception, perhaps a signal handler's.
        self.was_broken_off = False
        self._unused = Flag()
        self._thread = OsThread(self._close)
        with suppress(RuntimeError):  # the interpreter is about to end
            self._thread.start()

    @contextmanager
    def used(self) -> Iterator[Producer]:
        """For the length of a call that gives the GIL up.

        Raises:
            RuntimeError: it was given up, and is closed by now or about to be.
        """
        ident = get_ident()
        before = self._inside.count(ident)
        try:  # around all of it: Ctrl-C may come at any moment
            with self._lock:
                if self._given_up and not self._inside:
                    raise RuntimeError("the client was given up")  # noqa: TRY301 - the `try` is for Ctrl-C
                self._inside.append(ident)
            yield self.producer
        except EnoughServedError:
            raise
        except BaseException:
            self.was_broken_off = True
            raise
        finally:
            with self._lock:
                if self._inside.count(ident) > before:
                    self._inside.remove(ident)
                is_last = self._given_up and not self._inside
            if is_last:
                self._unused.set()
            if not before and self._reports.collected:
                self._reports.settle()

    def is_inside(self) -> bool:
        """Whether this thread is in a call to it, be it in a callback or a signal handler within that.

        confluent-kafka aborts the process when one is entered again there.
        """
        return bool(self._inside) and get_ident() in self._inside

    def give_up(self) -> None:
        """Take back what is on its way, and have it closed. Whoever is in a call to it gets out of it first."""
        if self.is_inside():
            self._given_up = True  # the thread that closes it takes back what is on its way
            return
        with suppress(RuntimeError), self.used() as producer:
            try:
                # Closing one that still has records takes up to `message.timeout.ms`.
                purge(producer)
                producer.flush(0)
            except Exception as error:  # noqa: BLE001 - one with a fatal error raises from any of these, SystemError included
                librdkafka_log.debug("%s while a producer was given up: %s", type(error).__name__, error)
            finally:
                with self._lock:
                    self._given_up = True

    def wait_closed(self, seconds: float) -> None:
        """Wait for its end, at most for so long."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _close(self) -> None:
        self._unused.wait(TIMEOUT_MAX)
        try:
            purge(self.producer)  # what was given to it since, or by whoever gave it up from within a call
            self.producer.close()
        except Exception as error:  # noqa: BLE001 - as above
            librdkafka_log.debug("%s while a producer was closed: %s", type(error).__name__, error)
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(self.producer))
        self._reports.settle()


def purge(producer: Producer) -> None:
    """Take back every record that has no report yet; the reports, which come with the next polls, say so."""
    # confluent-kafka has it the wrong way round: with `blocking=False` this waits, with the GIL held, for threads that
    # may be in a name resolution that hangs.
    producer.purge(in_queue=True, in_flight=True, blocking=True)
