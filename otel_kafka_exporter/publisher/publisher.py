"""The original publisher's API: asynchronous, and each call says whether the broker has the event.

A call's way: its arguments become a Kafka record on the caller's thread (`publications`), which `delivery` takes like
any other; its outcome comes back to the event loop by an `inbox`. Nothing but that inbox belongs to one loop, so that
loops, threads and forked processes may share a publisher.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LoggerProvider

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.otel import record_builder_of
from otel_kafka_exporter.process import DeliveryStats, NoEventLoopError, is_interruption, kind_of_fault, log, warn
from otel_kafka_exporter.records import Publication, event_type
from otel_kafka_exporter.settings import OUTBOX_SETTINGS, CommonArguments, Settings, boolean, flag, refuse_argument

from .connection import Connection
from .lifecycle import Lifecycle
from .otel_route import OtelRoute
from .route import Route

if TYPE_CHECKING:
    from typing_extensions import Unpack

ENABLED_VARIABLE = "KAFKA_ENABLE_LOGGING_EVENTS"


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
            `OTEL_EXPORTER_KAFKA_OUTBOX` unless given, else False.
        service_name: the `source` of audit and security events; `OTEL_SERVICE_NAME` unless given.
        publish_timeout: seconds that a call waits for its outcome.
        start_timeout: seconds that `start` waits for a broker.
        logger_provider: OpenTelemetry's, to have its exporters see the events too; then delivery, its settings and the
            service's name are theirs. Where one of them is ours, True means the same as above, else that the event was
            emitted.
        **settings: any other setting by its name, as of `KafkaLogExporter`.

    Attributes:
        enable_events: as above.
        TOPIC_APPLICATION_LOG: the topic of application logs; of a publisher, by its settings.
        TOPIC_AUDIT_LOG: of audit events.
        TOPIC_SECURITY_LOG: of security events.

    Raises:
        SettingsError: a setting is unknown, wrong, missing, or contradicts another. Not when events are disabled.
    """

    TOPIC_APPLICATION_LOG = event_type("omninode", "application")
    TOPIC_AUDIT_LOG = event_type("omninode", "audit")
    TOPIC_SECURITY_LOG = event_type("omninode", "security")

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str] | None = None,
        enable_events: bool | None = None,  # noqa: FBT001 - the original's signature
        *,
        outbox: bool | None = None,
        service_name: str | None = None,
        publish_timeout: float = 5.0,
        start_timeout: float = 5.0,
        logger_provider: LoggerProvider | None = None,
        **settings: Unpack[CommonArguments],
    ) -> None:
        self.enable_events = _is_enabled() if enable_events is None else bool(enable_events)
        self._lifecycle = Lifecycle(
            self._route_of(bootstrap_servers, outbox, service_name, publish_timeout, logger_provider, settings),
            start_timeout,
        )

    def _route_of(
        self,
        bootstrap_servers: str | Sequence[str] | None,
        outbox: bool | None,  # noqa: FBT001 - the constructor has it by name
        service_name: str | None,
        publish_timeout: float,
        logger_provider: LoggerProvider | None,
        settings: Mapping[str, Any],
    ) -> Callable[[], Route]:
        """What makes the way that events take; all that can be wrong with its settings is found out here."""
        if logger_provider is not None:
            if bootstrap_servers or outbox or service_name or settings:
                raise SettingsError(
                    "logger_provider: expected no settings of delivery beside it, got some. Give them to its exporter."
                )
            return lambda: OtelRoute(logger_provider, publish_timeout)
        if not self.enable_events:
            return _no_route  # nothing is asked for where nothing is published
        refuse_argument("direct", settings, "It is for OpenTelemetry's own set-up; a publisher is direct.")
        if outbox is None:
            outbox = flag("outbox")
        if outbox is None:  # who says False may leave what belongs to it
            for name in OUTBOX_SETTINGS:
                refuse_argument(name, settings, "A publisher has an outbox with outbox=True beside it.")
            outbox = False
        # `outbox_required` in the environment is for those that have one.
        required = {} if outbox else {"outbox_required": False}
        loaded = Settings.load({"bootstrap_servers": bootstrap_servers, **required, **settings, "outbox": outbox})
        topic = record_builder_of(loaded).topic
        self.TOPIC_APPLICATION_LOG = topic("application")
        self.TOPIC_AUDIT_LOG = topic("audit")
        self.TOPIC_SECURITY_LOG = topic("security")
        # A log call may wait for room for a moment; an event loop may not. And who has no outbox waits for the
        # acknowledgement or for nothing, so there is no reason to give a record up before its caller does.
        given = loaded.given
        adapted = dataclasses.replace(
            loaded,
            full_queue_wait=loaded.full_queue_wait if "full_queue_wait" in given else 0.0,
            delivery_wait=loaded.delivery_wait if outbox or "delivery_wait" in given else publish_timeout,
        )
        return lambda: Connection(adapted, service_name, publish_timeout)

    async def start(self) -> None:
        """Connect, and make the first events as quick as all others. Does nothing when that is done, or disabled.

        Raises:
            KafkaError: no broker answered within `start_timeout`, and there is no outbox.
            SettingsError: librdkafka refuses its configuration.
            RuntimeError: it is not run by asyncio.
        """
        if self.enable_events:
            await self._lifecycle.start()

    def open(self) -> None:
        """Be ready to publish without waiting for a broker: the first call that publishes finds out.

        Raises:
            SettingsError: librdkafka refuses its configuration.
        """
        if self.enable_events:
            self._lifecycle.open()

    def abandon_start(self) -> None:
        """Have a start that is going on, and that nobody waits for any more, end with a stop."""
        self._lifecycle.abandon_start()

    async def stop(self) -> None:
        """Wait for what is on its way, for at most `shutdown_timeout`, and disconnect. It may be started again."""
        await self._lifecycle.stop()

    def close(self) -> None:
        """As `stop`, without an event loop. At the interpreter's exit that is done for all."""
        self._lifecycle.close()

    def stats(self) -> DeliveryStats:
        """How many events are in which state, since the latest start."""
        return self._lifecycle.stats()

    async def publish_application_log(
        self,
        service_name: str,
        instance_id: str,
        level: str | Enum,
        logger_name: str,
        message: str,
        code: str | Enum,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        tenant_id: str | None = None,
        *,
        causation_id: str | None = None,
        event_id: str | None = None,
        wait: bool = True,
    ) -> bool:
        """Publish a log line to `omninode.logging.application.v1`, keyed by its service. Never raises.

        Args:
            service_name: which service logs, in 1 to 256 characters.
            instance_id: which instance of it.
            level: a `LogLevel` or its text; `WARNING`, `CRITICAL` and `FATAL` too; in any case of letters.
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
        tenant_id: str | None = None,
        action: str | Enum | None = None,
        actor: str | None = None,
        resource: str | None = None,
        outcome: str | Enum | None = None,
        correlation_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        causation_id: str | None = None,
        event_id: str | None = None,
        wait: bool = True,
    ) -> bool:
        """Publish an audit event to `omninode.logging.audit.v1`, keyed by its tenant. Never raises.

        The four fields are required: without one of them it is False, and a line on stderr names it.

        Args:
            tenant_id: whose event it is, in 1 to 128 characters; the setting (`TENANT_ID`, `default`) unless given.
            action: what was done, e.g. an `AuditAction`.
            actor: who did it.
            resource: to what.
            outcome: an `Outcome`, or `success` or `failure`.
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
        tenant_id: str | None = None,
        event_type: str | Enum | None = None,
        user_id: str | None = None,
        resource: str | None = None,
        decision: str | Enum | None = None,
        correlation_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        causation_id: str | None = None,
        event_id: str | None = None,
        wait: bool = True,
    ) -> bool:
        """Publish a security event to `omninode.logging.security.v1`, keyed by its tenant. Never raises.

        The four fields are required: without one of them it is False, and a line on stderr names it.

        Args:
            tenant_id: whose event it is, in 1 to 128 characters; the setting (`TENANT_ID`, `default`) unless given.
            event_type: what happened, e.g. a `SecurityEventType`.
            user_id: for whom it was decided.
            resource: about what.
            decision: a `Decision`, or `allow` or `deny`.
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
        route = self._lifecycle.route
        if route is None:
            warn("publisher_not_started", "an event is not published: expected start() before publishing, got none yet")
            return False
        try:
            if wait:
                return await route.publish(publication)
            return await route.hand_over(publication)
        except NoEventLoopError as error:
            warn("no_event_loop", "an event is not published: %s", error)
            return False
        except Exception as error:  # the original's promise: publishing never raises
            if is_interruption(error):
                raise
            log.exception("an event was lost by a fault of ours: %s", error, extra={"kind": kind_of_fault(error)})
            return False


def _is_enabled() -> bool:
    given = os.environ.get(ENABLED_VARIABLE, "").strip()
    try:
        return boolean(given or True)
    except ValueError as error:
        raise SettingsError(f"{ENABLED_VARIABLE}: expected {error}, got {given[:80]!r}.") from None


def _no_route() -> Route:
    raise SettingsError("enable_events: expected true for a start, got false.")  # start() and open() do not ask for it
