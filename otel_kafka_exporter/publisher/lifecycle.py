"""A publisher's start and stop: from any thread and event loop, several at once, and again."""

from __future__ import annotations

import asyncio
import atexit
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

from otel_kafka_exporter.process import DeliveryStats, OsThread, RLock, after_fork_in_child, call_in_child, running_loop

from .route import Route


class Lifecycle:
    """Starts and stops a route.

    Args:
        make: makes one.
        start_timeout: seconds that it may take to connect.

    Attributes:
        route: the present one; None while there is none.
    """

    def __init__(self, make: Callable[[], Route], start_timeout: float) -> None:
        self._make = make
        self._start_timeout = start_timeout
        self.route: Route | None = None
        self._latest: Route | None = None
        self._starting: Future[None] | None = None
        self._stops = 0
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        after_fork_in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = RLock()
        self._starting = None  # its thread is the parent's

    async def start(self) -> None:
        """Have a route that is connected. Raises what making and connecting it raise."""
        loop = running_loop()
        if self.route is None:
            await asyncio.wrap_future(self._begin_start(), loop=loop)

    def _begin_start(self) -> Future[None]:
        with self._lock:
            if self._starting is None or self._starting.done():
                self._starting = _in_thread(partial(self._start, self._stops))
            return self._starting

    def _start(self, stops: int) -> None:
        route = self._make()
        route.connect(self._start_timeout)
        self._use(route, stops)

    def open(self) -> None:
        """Have a route that may not be connected yet."""
        if self.route is None:
            self._use(self._make(), self._stops)

    def _use(self, route: Route, stops: int) -> None:
        """Have a route from here on, if there is none, and there was no stop since it was begun."""
        with self._lock:
            if self.route is None and self._stops == stops:
                self.route = self._latest = route
                _opened.add(self)
                return
        route.close()

    def abandon_start(self) -> None:
        """Have a start that is going on, and that nobody waits for any more, leave nothing; blocks nobody."""
        self._begin_stop()

    def _begin_stop(self) -> Future[None] | None:
        route = self._take()
        if route is None:
            return None
        stopping = _in_thread(route.close)
        _stopping.add(stopping)
        stopping.add_done_callback(_stopping.discard)
        return stopping

    async def stop(self) -> None:
        """Close the route, which may be started again, without blocking the loop.

        A start that is going on ends with what it has made closed.
        """
        loop = running_loop()
        stopping = self._begin_stop()
        if stopping is not None:
            await asyncio.wrap_future(stopping, loop=loop)

    def close(self) -> None:
        """As `stop`; blocks."""
        route = self._take()
        if route is not None:
            route.close()

    def _take(self) -> Route | None:
        with self._lock:
            route, self.route = self.route, None
            self._stops += 1
            self._starting = None
        return route

    def stats(self) -> DeliveryStats:
        """How many events are in which state, since the latest start."""
        return DeliveryStats(0, 0, 0, 0, 0, {}, 0) if self._latest is None else self._latest.stats()


def _in_thread(call: Callable[[], None]) -> Future[None]:
    """Make a call that blocks in a thread of its own: an event loop's pool may be full, or shut down."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
            future.set_exception(error)
        else:
            future.set_result(None)

    future.set_running_or_notify_cancel()  # so that no one who waits can cancel it for the others
    try:
        OsThread(run).start()
    except RuntimeError:  # the interpreter is about to end
        run()
    return future


_opened: weakref.WeakSet[Lifecycle] = weakref.WeakSet()
#: Stops that are under way; whoever waited for one may have been cancelled.
_stopping: set[Future[None]] = set()
#: Far more than a route takes, which has its own limits.
_LONGEST_STOP = 60
call_in_child(_stopping.clear)  # they go on in the parent


@atexit.register
def _close_all() -> None:
    """What nobody has stopped delivers what is on its way."""
    for lifecycle in tuple(_opened):
        lifecycle.close()
    wait(tuple(_stopping), timeout=_LONGEST_STOP)
