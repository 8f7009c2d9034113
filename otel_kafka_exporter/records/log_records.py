"""OpenTelemetry log records to Kafka records, and to dead letters where that cannot be."""

from __future__ import annotations

import copy
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

from otel_kafka_exporter.process import OWN_TRACE_ID

from . import attributes as names
from .conversion import Converter
from .envelope import CATEGORIES, Category
from .kafka_record import KafkaRecord, KafkaRecordBuilder
from .sdk_limits import restore
from .strict_json import json_bytes
from .values import Cleaner

SdkLogRecord = ReadableLogRecord | ReadWriteLogRecord
_CONTENT_TYPE = b"application/vnd.opentelemetry.log-record+json"


class LogRecordBuilder:
    """Makes Kafka records of log records. Threads may share one.

    Args:
        converter: makes envelopes.
        kafka: makes Kafka records of them.
        cleaner: makes values fit for JSON and redacts them, for dead letters.
        own_scopes: scopes whose records are not sent, because they tell of sending.
    """

    def __init__(
        self, converter: Converter, kafka: KafkaRecordBuilder, cleaner: Cleaner, own_scopes: frozenset[str]
    ) -> None:
        self._converter = converter
        self._kafka = kafka
        self._cleaner = cleaner
        self._own_scopes = own_scopes

    def build(self, record: SdkLogRecord) -> KafkaRecord | None:
        """The Kafka record; None for one of our own scopes, and for what was logged of our own work.

        Raises:
            ConversionError: the record cannot become an envelope.
        """
        scope = record.instrumentation_scope
        if scope is not None and scope.name in self._own_scopes:
            return None
        if record.log_record.trace_id == OWN_TRACE_ID:
            # An event is no library's line: a signal handler, or a finalizer, audits in the middle of our work.
            if _category(dict(record.log_record.attributes or {}), record.log_record.event_name) == "application":
                return None
            record = _without_trace(record)
        return self._kafka.build(self._converter.convert(record))  # type: ignore[arg-type]  # the two have the same parts

    def letter(self, record: SdkLogRecord) -> KafkaRecord:
        """The dead letter of a record that cannot become an envelope: all of it that can be read, redacted, as JSON."""
        dropped = 0
        try:
            given: Any = record.log_record.attributes or {}
            attributes = dict(given)
            if isinstance(given, BoundedAttributes):
                dropped = given.dropped - restore(record.log_record, given, attributes)
        except Exception:  # noqa: BLE001 - a record that is none of the SDK's may do anything
            attributes = {}
        category = _category(attributes, getattr(record.log_record, "event_name", None))
        scope = getattr(record, "instrumentation_scope", None)
        whole: dict[str, Any] = {
            name: getattr(record.log_record, name, None)
            for name in (
                "timestamp",
                "observed_timestamp",
                "trace_id",
                "span_id",
                "severity_text",
                "event_name",
                "body",
            )
        }
        whole["severity_number"] = getattr(getattr(record.log_record, "severity_number", None), "value", None)
        whole["scope"] = getattr(scope, "name", None)
        whole["attributes"] = attributes
        whole["dropped_attributes"] = dropped
        whole["resource"] = getattr(getattr(record, "resource", None), "attributes", None)
        uid = attributes.get(names.RECORD_UID)
        return KafkaRecord(
            topic=self._kafka.topic(category),
            key=None,
            value=json_bytes(self._cleaner.clean_mapping(whole)),
            headers=[("content-type", _CONTENT_TYPE)],
            milliseconds=0,
            category=category,
            event_id=uid if isinstance(uid, str) else "",
        )


def _without_trace(record: SdkLogRecord) -> SdkLogRecord:
    found, log = copy.copy(record), copy.copy(record.log_record)
    log.trace_id = log.span_id = 0
    object.__setattr__(found, "log_record", log)  # one that is exported is frozen
    return found


def _category(attributes: dict[str, Any], event_name: object) -> Category:
    """What a record that cannot be converted was most likely meant to be; audit, where that is not clear."""
    attribute = attributes.get(names.CATEGORY)
    for category in CATEGORIES:
        if attribute == category:
            return category
    if event_name == names.SECURITY_EVENT or names.SECURITY_EVENT_TYPE in attributes:
        return "security"
    is_event = event_name == names.AUDIT_EVENT or names.AUDIT_ACTION in attributes
    return "audit" if is_event or attribute is not None else "application"
