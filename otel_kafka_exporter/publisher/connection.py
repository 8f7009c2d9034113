"""A publisher between its start and its stop: a delivery, and the inboxes of the event loops that use it."""

from __future__ import annotations

import time

from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter.delivery import Batch
from otel_kafka_exporter.kafka import check_with_librdkafka, librdkafka_config
from otel_kafka_exporter.otel import (
    Disk,
    are_there,
    cleaner_of,
    delivery_of,
    record_builder_of,
    registry_of,
    tell_way,
)
from otel_kafka_exporter.process import (
    DeliveryOutcome,
    DeliveryStats,
    RLock,
    after_fork_in_child,
    monotonic,
    running_loop,
)
from otel_kafka_exporter.records import (
    CATEGORIES,
    MAX_SERVICE_NAME_LENGTH,
    UNKNOWN_SERVICE,
    Publication,
    PublicationBuilder,
    identifier,
    uuid7,
)
from otel_kafka_exporter.settings import Settings

from .inbox import Inbox
from .route import KafkaError


class Connection:
    """Publishes, from any thread and event loop.

    Args:
        settings: of delivery and conversion.
        source: of events whose arguments name no service; the process's own name unless given.
        publish_timeout: seconds that an outcome is waited for.

    Attributes:
        delivery: what it stands on.

    Raises:
        SettingsError: librdkafka refuses its configuration.
    """

    def __init__(self, settings: Settings, source: str | None, publish_timeout: float) -> None:
        config = librdkafka_config(settings)
        check_with_librdkafka(config)
        self._settings = settings
        self._publish_timeout = publish_timeout
        self._registry = registry_of(settings)
        self._records = record_builder_of(settings)
        cleaner = cleaner_of(settings)
        resource = Resource.create().attributes if source is None or settings.resource_context else {}
        context = {name: resource[name] for name in settings.resource_context if name in resource}
        self._builder = PublicationBuilder(
            self._records,
            cleaner,
            uuid7,
            time.time_ns,
            namespace=settings.namespace,
            tenant_id=settings.tenant_id,
            source=identifier(source or resource.get("service.name"), MAX_SERVICE_NAME_LENGTH) or UNKNOWN_SERVICE,
            context=cleaner.clean_mapping(context),
        )
        self._inboxes: tuple[Inbox, ...] = ()
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        # An event loop does not wait for the disk, a thread does.
        self.delivery = delivery_of(settings, config, self._registry, self._announce)
        self._disk = Disk(self.delivery.sync) if self.delivery.needs_disk else None
        tell_way(settings, "a publisher")
        after_fork_in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = RLock()
        self._inboxes = ()  # the parent's tasks

    def connect(self, seconds: float) -> None:
        """Wait for the cluster and the registry. Without them only a connection with an outbox is of use.

        Raises:
            KafkaError: there were none in time.
        """
        deadline = monotonic() + seconds
        problem = self.delivery.reachable(seconds)
        expected, name = f"a broker at {self._settings.bootstrap_servers}", "bootstrap_servers"
        if problem is None and self._registry is not None and not self._settings.outbox:
            topics = [self._records.topic(category) for category in CATEGORIES]
            problems = [self._registry.wait(topic, deadline - monotonic()) for topic in topics]
            problem = next((each for each in problems if each), None)
            expected, name = f"the Schema Registry at {self._registry.url}", "schema_registry_url"
        if problem is not None and not self._settings.outbox:
            self.delivery.close(0.0)
            raise KafkaError(
                f"start: expected {expected} to answer within {seconds:g} s, got: {problem}. Check {name} and that it"
                " is up, or pass outbox=True to start without it and deliver later."
            )
        self.delivery.hurry()  # the thread is there when the first event is

    async def publish(self, publication: Publication) -> bool:
        """Publish, and wait for the outcome; whether that is a good one."""
        inbox = self._inbox()
        awaited = inbox.awaited()
        if inbox.crowded:
            entry, room = self.delivery.hold(publication, self._builder, awaited), False
        else:
            entry, room = self.delivery.begin(publication, self._builder, awaited)
        if entry is not None and not room:
            inbox.wait_for_room(awaited, entry)
        outcome = awaited.outcome or await inbox.outcome(awaited)
        if outcome is DeliveryOutcome.SPOOLED:
            return await self._is_kept(awaited.deadline - inbox.loop.time())
        return outcome is DeliveryOutcome.DELIVERED

    async def hand_over(self, publication: Publication) -> bool:
        """Publish without waiting for the outcome; whether it was taken."""
        inbox = self._inbox()
        batch = Batch()
        if inbox.crowded:
            inbox.let_in()
        if inbox.crowded:  # it would overtake them
            entry = self.delivery.hold(publication, self._builder, batch)
            if entry is not None:
                self.delivery.give_up(entry)
        else:
            self.delivery.put(publication, self._builder, batch)
        return not batch.failed and await self._is_kept(self._publish_timeout)

    async def _is_kept(self, seconds: float) -> bool:
        """Whether what is in the outbox by now is there as `durability` asks for it, within so many seconds."""
        return self._disk is None or await are_there([self._disk.take()], seconds)

    def stats(self) -> DeliveryStats:
        """How many events are in which state."""
        return self.delivery.stats()

    def close(self) -> None:
        """Wait for what is on its way, at most for `shutdown_timeout`, and end."""
        deadline = monotonic() + self._settings.shutdown_timeout
        for inbox in self._inboxes:
            inbox.finish(deadline - monotonic())
        self.delivery.close(max(0.0, deadline - monotonic()))
        self._announce()

    def _inbox(self) -> Inbox:
        """The running loop's."""
        loop = running_loop()
        for inbox in self._inboxes:
            if inbox.loop is loop:
                return inbox
        inbox = Inbox(loop, self.delivery, self._publish_timeout)
        with self._lock:
            closed = [each for each in self._inboxes if each.loop.is_closed()]
            self._inboxes = (*(each for each in self._inboxes if each not in closed), inbox)
        for each in closed:
            inbox.take_over(each)
        return inbox

    def _announce(self) -> None:
        for inbox in self._inboxes:
            inbox.announce()
