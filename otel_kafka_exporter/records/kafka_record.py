"""Envelopes to Kafka records: topic, key, headers, and a value that fits."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .conversion import Converted, event_type
from .encoding import CONTENT_TYPE_FRAMED, JSON, Encoding
from .envelope import CATEGORIES, Category, OnexEnvelopeV1
from .limits import MAX_CONTEXT_BYTES, MIN_RECORD_BYTES, fit

ApplicationKey = Literal["service_name", "correlation_id", "instance_id", "none"]
_CACHED_TENANTS = 1024
_FRAMED = ("content-type", CONTENT_TYPE_FRAMED)

# confluent-kafka's type; ours are all bytes
Header = tuple[str, str | bytes | None]


class KafkaRecord(NamedTuple):
    """One record as it goes to a topic.

    Attributes:
        topic: the topic.
        key: decides the partition; None leaves that to the partitioner.
        value: the encoded envelope.
        headers: names and UTF-8 values.
        milliseconds: the Kafka timestamp, in Unix milliseconds; 0 is the time of sending.
        category: decides how it is kept when it cannot be delivered at once.
        event_id: the envelope's; who waits for a receipt knows it.
        cuts: how many values were too large and replaced.
    """

    topic: str
    key: bytes | None
    value: bytes
    headers: list[Header]
    milliseconds: int
    category: Category = "application"
    event_id: str = ""
    cuts: int = 0


def lacks_frame(record: KafkaRecord) -> bool:
    """Whether a record's value has to be framed for a Schema Registry's clients when it is sent.

    It is kept without, because the frame may not be known yet. A framed one begins with 0, a bare one with its first
    field's tag, and JSON with neither.
    """
    return record.value[:1] == b"\n" and _FRAMED in record.headers


class KafkaRecordBuilder:
    """Makes Kafka records of envelopes. Threads may share one.

    Args:
        namespace: the first part of the event type.
        topic_prefix: before the event type, as it is.
        application_key: what keys application records; audit and security have their tenant.
        max_record_bytes: at most this many bytes of key, headers and value.
        encoding: how they are written.
    """

    def __init__(
        self,
        *,
        namespace: str = "omninode",
        topic_prefix: str = "",
        application_key: ApplicationKey = "service_name",
        max_record_bytes: int = 1_000_000,
        encoding: Encoding = JSON,
    ) -> None:
        self._topics = {category: topic_prefix + event_type(namespace, category) for category in CATEGORIES}
        self._application_key = application_key
        self._max_record_bytes = max_record_bytes - encoding.frame
        self._encoding = encoding
        self._encode = encoding.encode
        self._constant_headers: dict[tuple[Category, str], tuple[Header, ...]] = {}
        # Below this no limit can be broken, since a context is a part of its value, and key and headers are bounded.
        self._surely_fits = min(MAX_CONTEXT_BYTES // encoding.json_per_byte, max_record_bytes - MIN_RECORD_BYTES // 2)

    def build(self, converted: Converted) -> KafkaRecord:
        """The Kafka record of a converted log record.

        Raises:
            ConversionError: a field that may not be cut is larger than a record may be.
        """
        category, envelope, milliseconds, traceparent = converted
        key = self._key(category, envelope)
        headers = self._headers(category, envelope, traceparent)
        value = self._encode(envelope)
        cuts = 0
        if len(value) > self._surely_fits:
            overhead = len(key or b"") + sum(len(name) + len(text or b"") for name, text in headers)
            value, cuts = fit(category, envelope, value, self._max_record_bytes - overhead, self._encoding)
        return KafkaRecord(self._topics[category], key, value, headers, milliseconds, category, envelope.event_id, cuts)

    def topic(self, category: Category) -> str:
        """The topic of a category."""
        return self._topics[category]

    def _key(self, category: Category, envelope: OnexEnvelopeV1) -> bytes | None:
        if category != "application":
            return envelope.tenant_id.encode()
        # Keyed by the service, a single busy one lives in one partition: hence the choice.
        if self._application_key == "service_name":
            return envelope.source.encode()
        if self._application_key == "correlation_id":
            return envelope.correlation_id.encode()
        if self._application_key == "instance_id":
            # No instance, no key: one key for all that have none would be one partition for them all.
            return str(envelope.payload.get("instance_id", "")).encode() or None
        return None

    def _headers(self, category: Category, envelope: OnexEnvelopeV1, traceparent: str | None) -> list[Header]:
        tenant_id = envelope.tenant_id
        constant = self._constant_headers.get((category, tenant_id))
        if constant is None:
            if len(self._constant_headers) >= _CACHED_TENANTS:
                self._constant_headers.clear()
            constant = self._constant_headers[category, tenant_id] = (
                ("x-tenant", tenant_id.encode()),
                ("x-schema-hash", envelope.schema_ref.encode()),
                ("x-event-type", envelope.event_type.encode()),
                ("content-type", self._encoding.content_type),
            )
        correlation_id = envelope.correlation_id.encode()
        causation_id = envelope.causation_id.encode()
        if traceparent is None:
            return [("x-correlation-id", correlation_id), ("x-causation-id", causation_id), *constant]
        trace = traceparent.encode()
        return [
            ("x-correlation-id", correlation_id),
            ("x-causation-id", causation_id),
            *constant,
            ("traceparent", trace),
            ("x-traceparent", trace),
        ]
