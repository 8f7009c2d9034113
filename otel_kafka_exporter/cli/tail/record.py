"""A record as it was read: its place, its headers, its value, and the envelope in it."""

from __future__ import annotations

from functools import lru_cache
from operator import methodcaller
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Message

from otel_kafka_exporter.errors import DecodeError
from otel_kafka_exporter.records import CATEGORIES, Category, OnexEnvelopeV1, logger_of, size_of, view

if TYPE_CHECKING:
    from otel_kafka_exporter.outbox.files import StoredRow
    from otel_kafka_exporter.records.protobuf_view import ProtobufView

Headers = list[tuple[str, str | bytes | None]]


class OutboxPlace(NamedTuple):
    """Where a record of an outbox is, and why.

    Attributes:
        file: its path.
        stream: `audit`, `audit.dead`, and so on.
        reason: why it is a dead letter; empty for a record that waits.
        event_id: the envelope's.
        logger: who logged it; empty where that cannot be told.
        bytes: of key, headers and value.
        tries: how often it was tried again since it was put there, at most 255.
    """

    file: str
    stream: str
    reason: str
    event_id: str
    logger: str
    bytes: int
    tries: int


class Record:
    """A record, whose value is read when it is first asked for.

    Attributes:
        topic: where it was read.
        partition: likewise; -1 in an outbox.
        offset: likewise; in an outbox that in the file.
        milliseconds: its Kafka timestamp, in Unix milliseconds.
        key: its key.
        pairs: its headers, as they are.
        headers: the same by name; of two with one name the first.
        value: its bytes; None is a tombstone.
        outbox: where it is, when it is in no topic yet.
        view: what is in the value, to look at parts of it; None until `look`, and when it is no envelope.
        envelope: what is in the value; None until `decode`, and when it is no envelope.
        problem: why the value is no envelope; empty when it is one.
    """

    __slots__ = (
        "envelope",
        "headers",
        "key",
        "milliseconds",
        "offset",
        "outbox",
        "pairs",
        "partition",
        "problem",
        "topic",
        "value",
        "view",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        milliseconds: int,
        key: bytes | None,
        pairs: Headers,
        value: bytes | None,
        outbox: OutboxPlace | None = None,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.milliseconds = milliseconds
        self.key = key
        self.pairs = pairs
        self.headers = dict(pairs)
        if len(self.headers) < len(pairs):
            self.headers |= dict(reversed(pairs))
        self.value = value
        self.outbox = outbox
        self.view: OnexEnvelopeV1 | ProtobufView | None = None
        self.envelope: OnexEnvelopeV1 | None = None
        self.problem = ""

    def look(self) -> bool:
        """Read so much of the value as it takes to see whether there is an envelope in it."""
        if self.view is None and not self.problem:
            try:
                # Whoever spells it otherwise has all headers looked through.
                kind = self.headers.get("content-type")
                self.view = view(self.value, self.pairs if kind is None else {"content-type": kind})
            except DecodeError as error:
                self.problem = str(error)
        return self.view is not None

    def decode(self) -> bool:
        """Decode the value; whether there is an envelope in it."""
        if self.envelope is None and self.look() and self.view is not None:
            self.envelope = self.view if isinstance(self.view, OnexEnvelopeV1) else self.view.whole()
        return self.envelope is not None

    @property
    def category(self) -> Category | None:
        """What its header says; None when it has none, or another writer's."""
        return _category(self.headers.get("x-event-type"))

    @property
    def place(self) -> str:
        """Where it is, as `--at` takes it."""
        if self.outbox is not None:
            return f"{self.outbox.file}:{self.offset}"
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def time(self) -> tuple[int, str]:
        """What it is ordered by: milliseconds, and within one the envelope's microseconds."""
        return self.milliseconds, "" if self.envelope is None else self.envelope.timestamp


#: By a call in C, which looks whether there is an exception beside a result. CPython's own, once it has seen some, does
#: not; and for such a name the client gives both: a list with a hole in it, at which the process would end.
_headers = methodcaller("headers")


def of_message(message: Message) -> Record:
    """The record in a consumer's message."""
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        as_bytes(message.key()),
        headers_of(message),
        as_bytes(message.value()),
    )


def headers_of(message: Message) -> Headers:
    """The headers of a consumer's message; none of one with a name that is no UTF-8, which the client does not give."""
    try:
        headers = _headers(message)
    except (SystemError, UnicodeDecodeError):  # the former has the latter as its cause
        return []
    return list(headers.items()) if isinstance(headers, dict) else headers or []


def of_row(stored: StoredRow) -> Record:
    """The record in a row of an outbox."""
    kept = stored.row.record
    milliseconds = kept.milliseconds or stored.row.nanoseconds // 1_000_000
    outbox = OutboxPlace(
        str(stored.path),
        str(stored.stream),
        stored.row.reason,
        kept.event_id,
        logger_of(kept),
        size_of(kept),
        stored.tries,
    )
    return Record(kept.topic, -1, stored.offset, milliseconds, kept.key, kept.headers, kept.value, outbox)


def category_of(event_type: str) -> Category:
    """The category that an envelope's event type names, of which `decode` has seen to it that there is one."""
    return _category(event_type) or "application"


def as_bytes(given: str | bytes | None) -> bytes | None:
    """confluent-kafka's type allows for texts, which a consumer without a deserializer never gives."""
    return given.encode() if isinstance(given, str) else given


@lru_cache(maxsize=256)
def _category(event_type: str | bytes | None) -> Category | None:
    text = event_type.decode(errors="replace") if isinstance(event_type, bytes) else event_type or ""
    return next((name for name in CATEGORIES if text.endswith(f".logging.{name}.v1")), None)
