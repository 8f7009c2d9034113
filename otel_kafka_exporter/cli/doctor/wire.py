"""A few bytes of Kafka's protocol, by which a port says what it is before any client is let loose on it.

librdkafka tells "TLS where there is none", "no TLS where there is" and "no login where one is asked for" by much the
same words, or by none. Requests: https://kafka.apache.org/protocol (ApiVersions v0, SaslHandshake v1).
"""

from __future__ import annotations

import socket
import struct

from otel_kafka_exporter.process import monotonic

_API_VERSIONS, _SASL_HANDSHAKE = 18, 17
_CORRELATION = 7
_CLIENT = b"otel-kafka"
_MOST_BYTES = 1 << 20
_HELLO_ALERT = b"\x15\x03"

NO_SUCH_MECHANISM = 33
NO_LOGIN_HERE = 34  # ILLEGAL_SASL_STATE


class NotKafkaError(Exception):
    """What answers is no Kafka listener in plain text.

    Attributes:
        kind: `tls`, `http`, `silent`, `closed` or `other`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def api_versions(connection: socket.socket, seconds: float) -> None:
    """Ask for the versions that it knows, which each broker answers before a login, too.

    Raises:
        NotKafkaError: it is no broker, or not in plain text.
        OSError: the connection breaks; of a TLS connection with its alert.
    """
    _ask(connection, _API_VERSIONS, 0, b"", monotonic() + seconds)


def sasl_mechanisms(connection: socket.socket, mechanism: str, seconds: float) -> tuple[int, list[str]]:
    """Offer a mechanism: Kafka's error code (0 when it is taken), and the mechanisms that it has.

    Raises:
        NotKafkaError, OSError: as above.
    """
    name = mechanism.encode()
    answer = _ask(connection, _SASL_HANDSHAKE, 1, struct.pack(">h", len(name)) + name, monotonic() + seconds)
    code, count = struct.unpack_from(">hi", answer)
    at, found = 6, []
    for _ in range(max(0, min(count, 100))):
        (length,) = struct.unpack_from(">h", answer, at)
        found.append(answer[at + 2 : at + 2 + length].decode(errors="replace"))
        at += 2 + length
    return code, found


def _ask(connection: socket.socket, api: int, version: int, body: bytes, deadline: float) -> bytes:
    request = struct.pack(">hhih", api, version, _CORRELATION, len(_CLIENT)) + _CLIENT + body
    connection.settimeout(max(0.01, deadline - monotonic()))
    connection.sendall(struct.pack(">i", len(request)) + request)
    head = _read(connection, 8, deadline)
    if head.startswith(b"HTTP/"):
        raise NotKafkaError("http")
    if head.startswith(_HELLO_ALERT):
        raise NotKafkaError("tls")
    size, correlation = struct.unpack(">ii", head)
    if correlation != _CORRELATION or not 4 <= size <= _MOST_BYTES:  # noqa: PLR2004 - the correlation's own bytes
        raise NotKafkaError("other")
    return _read(connection, size - 4, deadline)


def _read(connection: socket.socket, size: int, deadline: float) -> bytes:
    found = b""
    while len(found) < size:
        connection.settimeout(max(0.01, deadline - monotonic()))
        try:
            part = connection.recv(size - len(found))
        except TimeoutError:
            raise NotKafkaError("silent" if not found else "other") from None
        except ConnectionResetError:
            part = b""
        if not part:
            if found.startswith((_HELLO_ALERT, b"HTTP")):
                raise NotKafkaError("tls" if found.startswith(_HELLO_ALERT) else "http")
            raise NotKafkaError("closed")
        found += part
    return found
