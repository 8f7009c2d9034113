"""A login by tokens before a broker that knows none, so that a client waits for its application's token first."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from .fronts import end

if TYPE_CHECKING:
    from typing_extensions import Self

LOOPBACK = "127.0.0.1"
#: How a client's token begins (RFC 7628); it comes in a frame of its own, after a SaslHandshake of version 0.
_TOKEN = b"n,,"
_SASL_HANDSHAKE, _API_VERSIONS = 17, 18
#: From this version on an array's length is a byte, and what is in it ends with one.
_FLEXIBLE = 3


class TokenFront:
    """Takes any token, and passes everything else on; a context manager.

    Args:
        target: one broker, as host:port; clients are told of this address instead.

    Attributes:
        bootstrap_servers: where it listens.
        properties: a client's, beside its `oauth_cb`.
        tokens: those that it was given.
    """

    properties: ClassVar = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "OAUTHBEARER"}

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target = host, int(port)
        self._listening = socket.create_server((LOOPBACK, 0))
        own_port = self._listening.getsockname()[1]
        self.bootstrap_servers = f"{LOOPBACK}:{own_port}"
        self._theirs = host.encode() + struct.pack(">i", int(port))
        self._ours = LOOPBACK.encode() + struct.pack(">i", own_port)
        self.tokens: list[bytes] = []
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._versions_asked: dict[tuple[socket.socket, int], int] = {}

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        end(self._listening, self._threads, self._open)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._open.append(client)
                broker = socket.create_connection(self._target, timeout=5)
                self._open.append(broker)
                broker.settimeout(None)
                self._run(self._requests, client, broker)
                self._run(self._answers, client, broker)

    def _requests(self, client: socket.socket, broker: socket.socket) -> None:
        with contextlib.suppress(OSError), client.makefile("rb") as incoming:
            while frame := _frame(incoming):
                if frame.startswith(_TOKEN):
                    self.tokens.append(frame)
                    _send(client, b"")
                    continue
                api, version, number = struct.unpack(">hhi", frame[:8])
                if api == _SASL_HANDSHAKE:
                    _send(client, struct.pack(">ihih", number, 0, 1, 11) + b"OAUTHBEARER")
                    continue
                if api == _API_VERSIONS:
                    self._versions_asked[client, number] = version
                _send(broker, frame)
        with contextlib.suppress(OSError):
            broker.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, broker: socket.socket) -> None:
        with contextlib.suppress(OSError), broker.makefile("rb") as incoming:
            while frame := _frame(incoming):
                version = self._versions_asked.pop((client, struct.unpack(">i", frame[:4])[0]), None)
                _send(
                    client, frame.replace(self._theirs, self._ours) if version is None else _with_login(frame, version)
                )
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _frame(incoming: BinaryIO) -> bytes:
    length = incoming.read(4)
    return incoming.read(struct.unpack(">i", length)[0]) if len(length) == 4 else b""


def _send(to: socket.socket, frame: bytes) -> None:
    to.sendall(struct.pack(">i", len(frame)) + frame)


def _with_login(frame: bytes, version: int) -> bytes:
    """A broker's answer on what it knows, and the login beside that."""
    before, after = frame[:6], frame[6:]  # the request's number and an error code
    login = struct.pack(">hhh", _SASL_HANDSHAKE, 0, 0)
    if version >= _FLEXIBLE:
        return before + bytes([after[0] + 1]) + login + b"\0" + after[1:]
    return before + struct.pack(">i", struct.unpack(">i", after[:4])[0] + 1) + login + after[4:]
