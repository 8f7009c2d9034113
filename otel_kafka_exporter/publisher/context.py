"""A publisher for the length of an `async with`."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry._logs import LoggerProvider

from otel_kafka_exporter.settings import CommonArguments

from .publisher import LoggingEventPublisher

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PublisherArguments(CommonArguments, total=False):
    """What `LoggingEventPublisher` has by name."""

    outbox: bool | None
    service_name: str | None
    publish_timeout: float
    start_timeout: float
    logger_provider: LoggerProvider | None


class LoggingEventPublisherContext:
    """A publisher that is started when its `async with` begins, and stopped when that ends.

    Several tasks may be within it at once: the first starts the publisher, the last one stops it.

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
        **settings: Unpack[PublisherArguments],
    ) -> None:
        self._publisher = LoggingEventPublisher(bootstrap_servers, enable_events, **settings)
        self._within: list[None] = []  # one for each that is; threads need no lock for that

    async def __aenter__(self) -> LoggingEventPublisher:
        self._within.append(None)
        try:
            await self._publisher.start()
        except BaseException:  # it was cancelled, also in the way of a loop that is gone
            if self._leave():
                self._publisher.abandon_start()
            raise
        return self._publisher

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._leave():
            await self._publisher.stop()

    def _leave(self) -> bool:
        """Whether that was the last one."""
        self._within.pop()
        return not self._within
