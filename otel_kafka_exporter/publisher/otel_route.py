"""A publisher's other way: its events become OpenTelemetry log records, which every exporter of the process sees."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

from opentelemetry._logs import LoggerProvider, SeverityNumber

from otel_kafka_exporter.delivery import Receipt, TaskWaiter, expected, receipts
from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.otel import (
    SCOPE,
    TaskLogRecord,
    are_there,
    cleaner_of,
    context_attributes,
    may_reach_kafka,
    record_builder_of,
)
from otel_kafka_exporter.process import DeliveryStats, monotonic, warn
from otel_kafka_exporter.records import OnexEnvelopeV1, Publication, PublicationBuilder, uuid7
from otel_kafka_exporter.records import attributes as names
from otel_kafka_exporter.settings import Settings

#: How long the provider is waited for at a stop.
_FLUSH_MILLISECONDS = 5_000
_SEVERITIES = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARN": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
}
_FIELDS = {
    "audit": (names.AUDIT_ACTION, names.AUDIT_ACTOR, names.AUDIT_RESOURCE, names.AUDIT_OUTCOME),
    "security": (
        names.SECURITY_EVENT_TYPE,
        names.SECURITY_USER_ID,
        names.SECURITY_RESOURCE,
        names.SECURITY_DECISION,
    ),
}


class OtelRoute:
    """Emits publications through an OpenTelemetry provider. What delivers them is that provider's affair.

    Args:
        provider: whose processors and exporters get them.
        publish_timeout: seconds that an acknowledgement is waited for, where an exporter of ours delivers.
    """

    def __init__(self, provider: LoggerProvider, publish_timeout: float) -> None:
        settings = Settings()
        self._provider = provider
        self._publish_timeout = publish_timeout
        self._resource: Any = getattr(getattr(provider, "resource", None), "attributes", {})
        self._builder = PublicationBuilder(
            record_builder_of(settings),
            cleaner_of(settings),
            uuid7,
            time.time_ns,
            namespace=settings.namespace,
            tenant_id=settings.tenant_id,
            source="",
        )

    def connect(self, seconds: float) -> None:
        """Nothing to do."""

    async def publish(self, publication: Publication) -> bool:
        """Emit, and wait for the broker's acknowledgement if an exporter of ours is there to tell of it."""
        envelope = self._convert(publication)
        if envelope is None:
            return False
        if not (receipts.is_pipeline_open() and may_reach_kafka(self._provider)):
            self._emit(publication, envelope)
            return True
        deadline = monotonic() + self._publish_timeout
        with expected(envelope.event_id, TaskWaiter()) as waiter:
            taken = self._emit(publication, envelope)
            is_acknowledged = isinstance(await waiter.outcome(self._publish_timeout), Receipt)
        if not is_acknowledged:  # it may be kept, or a dead letter
            await are_there(taken, deadline - monotonic())
        return is_acknowledged

    async def hand_over(self, publication: Publication) -> bool:
        """Emit."""
        envelope = self._convert(publication)
        if envelope is None:
            return False
        return await are_there(self._emit(publication, envelope), self._publish_timeout)

    def stats(self) -> DeliveryStats:
        """Nothing: whoever delivers counts."""
        return DeliveryStats(0, 0, 0, 0, 0, {}, 0)

    def close(self) -> None:
        """Have the provider deliver what it holds; it goes on without this publisher."""
        flush = getattr(self._provider, "force_flush", None)
        if flush is not None:
            flush(_FLUSH_MILLISECONDS)

    def _convert(self, publication: Publication) -> OnexEnvelopeV1 | None:
        try:
            return self._builder.convert(publication).envelope
        except ConversionError as error:
            warn(f"conversion:{error.field}", "an event is not published: %s", error)
            return None

    def _emit(self, publication: Publication, envelope: OnexEnvelopeV1) -> list[Future[bool]]:
        """Emit; by which disks it was taken, as of `Disk.take`."""
        category, payload = publication.category, envelope.payload
        taken: list[Future[bool]] = []
        attributes = context_attributes(payload["context"])
        decisive: dict[str, Any] = {names.CATEGORY: category, names.RECORD_UID: envelope.event_id}
        if publication.tenant_id is not None:
            decisive[names.TENANT_ID] = envelope.tenant_id
        if publication.correlation_id is not None:  # else the exporter takes the trace, as here
            decisive[names.CORRELATION_ID] = envelope.correlation_id
        if publication.causation_id is not None:
            decisive[names.CAUSATION_ID] = envelope.causation_id
        if category == "application":
            scope, body, event_name = payload["logger"], payload["message"], None
            severity = _SEVERITIES[payload["level"]]
            decisive[names.CODE] = payload["code"]
            for name in ("service.name", "service.instance.id"):  # the resource says whose log it is
                given = payload["service_name" if name == "service.name" else "instance_id"]
                if given and given != self._resource.get(name):
                    attributes[name] = given
        else:
            scope, body = SCOPE, None
            event_name = names.AUDIT_EVENT if category == "audit" else names.SECURITY_EVENT
            denied = payload.get("decision") == "deny"
            severity = SeverityNumber.WARN if denied else SeverityNumber.INFO
            for name in _FIELDS[category]:
                decisive[name] = payload[name.rpartition(".")[2]]
        self._provider.get_logger(scope).emit(
            TaskLogRecord(
                taken,
                decisive,
                attributes,
                severity_number=severity,
                severity_text=severity.name,
                body=body,
                event_name=event_name,
            )
        )
        return taken
