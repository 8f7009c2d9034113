"""The original publisher's API: asynchronous, and each call says whether the broker has the event.

A call's way: its arguments become a Kafka record on the caller's thread (`publications`), which `delivery` takes like
any other; its outcome comes back to the event loop by an `inbox`. Nothing but that inbox belongs to one loop, so that
loops, threads and forked processes may share a publisher.
"""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from opentelemetry._logs import LoggerProvider

from .connection import Connection
from .errors import OtelKafkaError, SettingsError
from .forks import after_fork_in_child
from .otel_route import OtelRoute, Route
from .outcome import DeliveryStats
from .publications import Publication
from .setting_values import boolean
from .settings import CommonArguments, Settings
from .telemetry import log, warn

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: How long an OpenTelemetry provider is waited for at a stop.
_SHUTDOWN_SECONDS = 5.0
ENABLED_VARIABLE = "KAFKA_ENABLE_LOGGING_EVENTS"


class KafkaError(OtelKafkaError, KafkaException):
    """No broker answered when a publisher was started: says which, why, and what to do.

    `confluent_kafka.KafkaError` is no exception class; this one can be caught.
    """


class LoggingEventPublisher:
    """Publishes application logs, audit events and security events, and says of each whether the broker has it.

        publisher = LoggingEventPublisher("localhost:9092")
        await publisher.start()
        published = await publisher.publish_audit_log("tenant-1", "user.login", "bob", "console", "success")
        await publisher.stop()

    Publishing never raises. It returns True when a broker has acknowledged the event, with all in-sync replicas; with
    `outbox=True` also when it is kept on disk, to be delivered later. It returns False when it was not, or when that is
    not known within `publish_timeout`: the event may arrive all the same, so a caller that tries again should pass the
    same `event_id=` each time, by which readers drop duplicates.

    Args:
        bootstrap_servers: `host:port,host:port`; `OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS` or `KAFKA_BOOTSTRAP_SERVERS`
            unless given.
        enable_events: whether anything is published at all; `KAFKA_ENABLE_LOGGING_EVENTS` unless given, else True.
        outbox: whether what cannot be delivered at present is kept on disk; then a publisher starts without a broker.
        service_name: the `source` of audit and security events; `OTEL_SERVICE_NAME` unless given.
        publish_timeout: seconds that a call waits for its outcome.
        start_timeout: seconds that `start` waits for a broker.
        logger_provider: OpenTelemetry's, to have its exporters see the events too; then delivery, its settings and the
            service's name are theirs. Where one of them is ours, True means the same as above, else that the event was
            emitted.
        **settings: any other setting by its name, as of `KafkaLogExporter`.

    Raises:
        SettingsError: a setting is unknown, wrong, missing, or contradicts another. Not when events are disabled.
    """

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str] | None = None,
        enable_events: bool | None = None,  # noqa: FBT001 - the original's signature
        *,
        outbox: bool = False,
        service_name: str | None = None,
        publish_timeout: float = 5.0,
        start_timeout: float = 5.0,
        logger_provider: LoggerProvider | None = None,
        **settings: Unpack[CommonArguments],
    ) -> None:
        self.enable_events = _is_enabled() if enable_events is None else bool(enable_events)
        self._source = service_name
        self._publish_timeout = publish_timeout
        self._start_timeout = start_timeout
        self._settings: Settings | None = None
        self._provider = logger_provider
        if logger_provider is not None:
            if bootstrap_servers or outbox or service_name or settings:
                raise SettingsError(
                    "logger_provider: expected no settings of delivery beside it, got some. Give them to its exporter."
                )
        elif self.enable_events:
            arguments = {"bootstrap_servers": bootstrap_servers, **settings, "outbox": outbox}
            loaded = Settings.load(arguments)
            # A log call may wait for room for a moment; an event loop may not. And who has no outbox waits for the
            # acknowledgement or for nothing, so there is no reason to give a record up before its caller does.
            given = loaded.given
            self._settings = dataclasses.replace(
                loaded,
                full_queue_wait=loaded.full_queue_wait if "full_queue_wait" in given else 0.0,
                delivery_wait=loaded.delivery_wait if outbox or "delivery_wait" in given else publish_timeout,
            )
        self._connection: Route | None = None
        self._latest: Route | None = None
        self._starting: Future[None] | None = None
        self._lock = threading.Lock()
        after_fork_in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._starting = None  # its thread is the parent's

    # Its life

    async def start(self) -> None:
        """Connect, and make the first events as quick as all others. Does nothing when that is done, or disabled.

        Raises:
            KafkaError: no broker answered within `start_timeout`, and there is no outbox.
            SettingsError: librdkafka refuses its configuration.
        """
        if self.enable_events and self._connection is None:
            # Shielded, because others may wait for the same start.
            await asyncio.shield(asyncio.wrap_future(self._begin_start()))

    def _begin_start(self) -> Future[None]:
        with self._lock:
            if self._starting is None or self._starting.done():
                self._starting = _in_thread(self._start)
            return self._starting

    def _start(self) -> None:
        connection = self._make()
        problem = connection.connect(self._start_timeout)
        if problem is not None and self._settings is not None and not self._settings.outbox:
            connection.close(0.0)
            raise KafkaError(
                f"start: expected a broker at {self._settings.bootstrap_servers} to answer within"
                f" {self._start_timeout:g} s, got: {problem}. Check bootstrap_servers and that the broker is up, or"
                " pass outbox=True to start without it and deliver later."
            )
        self._use(connection)

    def open(self) -> None:
        """Be ready to publish without waiting for a broker: the first call that publishes finds out.

        Raises:
            SettingsError: librdkafka refuses its configuration.
        """
        if self.enable_events and self._connection is None:
            self._use(self._make())

    def _make(self) -> Route:
        if self._provider is not None:
            return OtelRoute(self._provider, self._publish_timeout)
        assert self._settings is not None  # noqa: S101 - set when events are enabled
        return Connection(self._settings, self._source, self._publish_timeout)

    def _use(self, connection: Route) -> None:
        with self._lock:
            if self._connection is None:
                self._connection = self._latest = connection
                _started.add(self)
                return
        connection.close(0.0)  # another thread was first

    def abandon_start(self) -> None:
        """Have a start that is going on, and that nobody waits for any more, end with a stop."""
        starting = self._starting
        if starting is not None:
            starting.add_done_callback(lambda _: self.close())

    async def stop(self) -> None:
        """Wait for what is on its way, for at most `shutdown_timeout`, and disconnect. It may be started again."""
        connection = self._take()
        if connection is not None:
            await asyncio.shield(asyncio.wrap_future(_in_thread(lambda: self._close(connection))))

    def close(self) -> None:
        """As `stop`, without an event loop; also called at the interpreter's exit."""
        connection = self._take()
        if connection is not None:
            self._close(connection)

    def _take(self) -> Route | None:
        with self._lock:
            connection, self._connection = self._connection, None
        return connection

    def _close(self, connection: Route) -> None:
        connection.close(_SHUTDOWN_SECONDS if self._settings is None else self._settings.shutdown_timeout)

    def stats(self) -> DeliveryStats:
        """How many events are in which state, since the latest start."""
        return DeliveryStats(0, 0, 0, 0, 0, {}, 0) if self._latest is None else self._latest.stats()

    # Publishing

    async def publish_application_log(
        self,
        service_name: str,
        instance_id: str,
        level: str,
        logger_name: str,
        message: str,
        code: str,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        *,
        tenant_id: str | None = None,
        causation_id: str | None = None,
        event_id: str | None = None,
        wait: bool = True,
    ) -> bool:
        """Publish a log line to `omninode.logging.application.v1`, keyed by its service. Never raises.

        Args:
            service_name: which service logs, in 1 to 256 characters.
            instance_id: which instance of it.
            level: `DEBUG`, `INFO`, `WARN` or `ERROR`; `WARNING`, `CRITICAL` and `FATAL` too; in any case of letters.
            logger_name: the logger.
            message: what there is to say.
            code: what it is about, e.g. a `LogCode`.
            context: more to say, by name.
            correlation_id: what belongs together; the current trace unless given.
            tenant_id: whose log this is; the setting unless given.
            causation_id: what led to this; the correlation ID unless given.
            event_id: a UUID or ULID, for a caller that tries again; a new one unless given.
            wait: False returns as soon as the record is handed over; `stats` tells what has become of it.

        Returns:
            Whether it is published, see the class; without `wait`, whether it was taken.
        """
        fields = (service_name, instance_id, level, logger_name, code)
        return await self._publish(
            Publication("application", fields, message, tenant_id, context, correlation_id, causation_id, event_id),
            wait,
        )

    async def publish_audit_log(
        self,
        tenant_id: str,
        action: str,
        actor: str,
        resource: str,
        outcome: str,
        correlation_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        causation_id: str | None = None,
        event_id: str | None = None,
        wait: bool = True,
    ) -> bool:
        """Publish an audit event to `omninode.logging.audit.v1`, keyed by its tenant. Never raises.

        Args:
            tenant_id: whose event it is, in 1 to 128 characters.
            action: what was done, e.g. an `AuditAction`.
            actor: who did it.
            resource: to what.
            outcome: `success` or `failure`.
            correlation_id: what belongs together; the current trace unless given.
            context: more to say, by name.
            causation_id: what led to this; the correlation ID unless given.
            event_id: a UUID or ULID, for a caller that tries again; a new one unless given.
            wait: False returns as soon as the record is handed over; `stats` tells what has become of it.

        Returns:
            Whether it is published, see the class; without `wait`, whether it was taken.
        """
        fields = (action, actor, resource, outcome)
        publication = Publication("audit", fields, None, tenant_id, context, correlation_id, causation_id, event_id)
        return await self._publish(publication, wait)

    async def publish_security_log(
        self,
        tenant_id: str,
        event_type: str,
        user_id: str,
        resource: str,
        decision: str,
        correlation_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        causation_id: str | None = None,
        event_id: str | None = None,
        wait: bool = True,
    ) -> bool:
        """Publish a security event to `omninode.logging.security.v1`, keyed by its tenant. Never raises.

        Args:
            tenant_id: whose event it is, in 1 to 128 characters.
            event_type: what happened, e.g. a `SecurityEventType`.
            user_id: for whom it was decided.
            resource: about what.
            decision: `allow` or `deny`.
            correlation_id: what belongs together; the current trace unless given.
            context: more to say, by name.
            causation_id: what led to this; the correlation ID unless given.
            event_id: a UUID or ULID, for a caller that tries again; a new one unless given.
            wait: False returns as soon as the record is handed over; `stats` tells what has become of it.

        Returns:
            Whether it is published, see the class; without `wait`, whether it was taken.
        """
        fields = (event_type, user_id, resource, decision)
        publication = Publication("security", fields, None, tenant_id, context, correlation_id, causation_id, event_id)
        return await self._publish(publication, wait)

    async def _publish(self, publication: Publication, wait: bool) -> bool:  # noqa: FBT001 - as the callers have it
        if not self.enable_events:
            return False
        connection = self._connection
        if connection is None:
            warn("publisher_not_started", "an event is not published: expected start() before publishing, got none yet")
            return False
        try:
            if wait:
                return await connection.publish(publication)
            return connection.hand_over(publication)
        except Exception as error:  # noqa: BLE001 - the original's promise: publishing never raises
            log.exception("an event was lost by a fault of ours: %s", error, extra={"kind": type(error)})
            return False


class LoggingEventPublisherContext:
    """A publisher that is started when its `async with` begins, and stopped when that ends.

        async with LoggingEventPublisherContext() as publisher:
            await publisher.publish_audit_log("tenant-1", "user.login", "bob", "console", "success")

    Args:
        bootstrap_servers: as of `LoggingEventPublisher`, and so is the rest.
        enable_events: as there.
        **settings: as there.
    """

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str] | None = None,
        enable_events: bool | None = None,  # noqa: FBT001 - the original's signature
        **settings: Any,
    ) -> None:
        self._publisher = LoggingEventPublisher(bootstrap_servers, enable_events, **settings)

    async def __aenter__(self) -> LoggingEventPublisher:
        try:
            await self._publisher.start()
        except asyncio.CancelledError:
            self._publisher.abandon_start()
            raise
        return self._publisher

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._publisher.stop()


def _is_enabled() -> bool:
    given = os.environ.get(ENABLED_VARIABLE, "").strip()
    try:
        return boolean(given or True)
    except ValueError as error:
        raise SettingsError(f"{ENABLED_VARIABLE}: expected {error}, got {given[:80]!r}.") from None


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
        threading.Thread(target=run, name="otel-kafka-publisher", daemon=True).start()
    except RuntimeError:  # the interpreter is about to end
        run()
    return future


#: Those that were started.
_started: weakref.WeakSet[LoggingEventPublisher] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """What nobody has stopped delivers what is on its way."""
    for publisher in tuple(_started):
        publisher.close()
