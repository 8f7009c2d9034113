"""An envelope in Protobuf of which only what is asked for is read.

To tell whether a record is looked for takes a field or two; to make objects of all of them takes several times as long.
The generated class finds the fields: it is C, and a walk over the bytes in Python takes three times what it does.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from operator import attrgetter
from typing import Any

from . import envelope_pb2 as pb
from .envelope import Category, OnexEnvelopeV1
from .protobuf_decoding import READERS, object_of, parsed, time_of, value_of, whole


def _text(name: str) -> property:
    """A field of the message, by a getter that is not written in Python."""
    return property(attrgetter(f"_message.{name}"))


class ProtobufView:
    """The parts of an `OnexEnvelopeV1`, each read when it is asked for.

    Args:
        data: the message, bare or framed.

    Raises:
        DecodeError: just where `decode_protobuf` does.
    """

    __slots__ = ("_category", "_message", "payload")

    def __init__(self, data: bytes) -> None:
        self._message, self._category = parsed(data)
        self.payload: Mapping[str, Any] = _Payload(self._message, self._category)

    event_type = _text("event_type")
    event_id = _text("event_id")
    tenant_id = _text("tenant_id")
    namespace = _text("namespace")
    source = _text("source")
    correlation_id = _text("correlation_id")
    causation_id = _text("causation_id")
    schema_ref = _text("schema_ref")

    @property
    def timestamp(self) -> str:
        """When it happened, as text."""
        return time_of(self._message.timestamp)

    def whole(self) -> OnexEnvelopeV1:
        """All of them."""
        return whole(self._message, self._category)


class _Payload(Mapping[str, Any]):
    __slots__ = ("_body", "_readers")

    def __init__(self, message: pb.Envelope, category: Category) -> None:
        self._body = getattr(message, category)
        self._readers = READERS[category]

    def __getitem__(self, name: str) -> Any:
        read = self._readers[name]
        return _Context(self._body.context) if name == "context" else read(getattr(self._body, name))

    def __contains__(self, name: object) -> bool:
        return name in self._readers

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._readers else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


class _Context(Mapping[str, Any]):
    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, pb.Value]) -> None:
        self._members = members

    def __getitem__(self, name: str) -> Any:
        if name not in self._members:  # the runtime's map would make one
            raise KeyError(name)
        return value_of(self._members[name])

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def get(self, name: str, default: Any = None) -> Any:
        return value_of(self._members[name]) if name in self._members else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def items(self) -> ItemsView[str, Any]:
        return object_of(self._members).items()
