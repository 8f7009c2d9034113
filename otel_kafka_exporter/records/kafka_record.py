"""Converted records to Kafka records: topic, key, headers, and a value that fits."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .encoding import CONTENT_TYPE_FRAMED, JSON, Encoding
from .envelope import CATEGORIES, Category
from .limits import MAX_CONTEXT_BYTES, MIN_RECORD_BYTES, fit
from .statements import Converted, Origin, event_type

ApplicationKey = Literal["service_name", "correlation_id", "instance_id", "none"]
_CACHED_ORIGINS = 1024
#: What a value begins with that may have to be framed: `produce` asks for no more of any other.
MAY_LACK_FRAME = b"\n"
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
        cuts: how many values were too large and replaced, or cut or dropped by the SDK.
    """

    topic: str
    key: bytes | None
    value: bytes
    headers: list[Header]
    milliseconds: int
    category: Category = "application"
    event_id: str = ""
    cuts: int = 0


_new = tuple.__new__


def lacks_frame(record: KafkaRecord) -> bool:
    """Whether a record's value has to be framed for a Schema Registry's clients when it is sent.

    It is kept without, because the frame may not be known yet. A framed one begins with 0, a bare one with its first
    field's tag, and JSON with neither.
    """
    return record.value[:1] == MAY_LACK_FRAME and _FRAMED in record.headers


class _Address(NamedTuple):
    """Where the records of one origin go, and the headers that they all have.

    Attributes:
        topic: the topic.
        key: the key; None where there is none, or where each record has its own.
        headers: the constant ones.
    """

    topic: str
    key: bytes | None
    headers: tuple[Header, ...]


class KafkaRecordBuilder:
    """Makes Kafka records of converted ones. Threads may share one.

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
        self._by_correlation = application_key == "correlation_id"
        self._max_record_bytes = max_record_bytes - encoding.frame
        self._encoding = encoding
        self._write = encoding.write
        self._addresses: dict[Origin, _Address] = {}
        # Below this no limit can be broken, since a context is a part of its value, and key and headers are bounded.
        self._surely_fits = min(MAX_CONTEXT_BYTES // encoding.json_per_byte, max_record_bytes - MIN_RECORD_BYTES // 2)

    def build(self, converted: Converted) -> KafkaRecord:
        """The Kafka record of a converted log record.

        Raises:
            ConversionError: a field that may not be cut is larger than a record may be.
        """
        statement, event_id, _, milliseconds, correlation_id, causation_id, _, traceparent, _, _, cuts = converted
        origin = statement.origin
        topic, key, constant = self._addresses.get(origin) or self._address(origin)
        value = self._write(converted)
        correlation = correlation_id.encode()
        causation = correlation if causation_id is correlation_id else causation_id.encode()
        headers: list[Header] = [("x-correlation-id", correlation), ("x-causation-id", causation), *constant]
        if traceparent is not None:
            trace = traceparent.encode()
            headers += (("traceparent", trace), ("x-traceparent", trace))
        category = origin.category
        if self._by_correlation and category == "application":
            key = correlation
        if len(value) > self._surely_fits:
            overhead = len(key or b"") + sum(len(name) + len(text or b"") for name, text in headers)
            room = self._max_record_bytes - overhead
            value, more = fit(category, converted.envelope, value, room, self._encoding)
            cuts += more
        # Past the named tuple's own `__new__`, which is a function in Python, and twice as dear.
        return _new(KafkaRecord, (topic, key, value, headers, milliseconds, category, event_id, cuts))

    def topic(self, category: Category) -> str:
        """The topic of a category."""
        return self._topics[category]

    def _address(self, origin: Origin) -> _Address:
        tenant_id = origin.tenant_id.encode()
        headers: tuple[Header, ...] = (
            ("x-tenant", tenant_id),
            ("x-schema-hash", origin.schema_ref.encode()),
            ("x-event-type", origin.event_type.encode()),
            ("content-type", self._encoding.content_type),
        )
        key: bytes | None = None
        if origin.category != "application":
            key = tenant_id
        # Keyed by the service, a single busy one lives in one partition: hence the choice.
        elif self._application_key == "service_name":
            key = origin.source.encode()
        elif self._application_key == "instance_id":
            # No instance, no key: one key for all that have none would be one partition for them all.
            key = origin.instance_id.encode() or None
        if len(self._addresses) >= _CACHED_ORIGINS:
            self._addresses.clear()
        address = self._addresses[origin] = _Address(self._topics[origin.category], key, headers)
        return address
