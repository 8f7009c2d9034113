"""A TLS server before something that speaks in plain text, or before nothing; certificates of any kind for it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from .fronts import end

if TYPE_CHECKING:
    from typing_extensions import Self

LOOPBACK = "127.0.0.1"


class TlsFront:
    """Listens with TLS, and passes what it decrypts on; a context manager.

    Args:
        context: the server's side of TLS.
        target: where to, as host:port.
    """

    def __init__(self, context: ssl.SSLContext, target: str) -> None:
        self._context = context
        host, _, port = target.partition(":")
        self._target = host, int(port)
        self._listening = socket.create_server((LOOPBACK, 0))
        self.address = f"{LOOPBACK}:{self._listening.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        end(self._listening, self._threads, self._open)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self._open.append(plain)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            plain.settimeout(5)
            with (
                self._context.wrap_socket(plain, server_side=True) as encrypted,
                socket.create_connection(self._target, timeout=5) as behind,
            ):
                while request := encrypted.recv(65_536):
                    behind.sendall(request)
                    encrypted.sendall(behind.recv(65_536))


def certified(ca: trustme.CA, *hosts: str, days: float = 300, client_ca: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's context with a certificate for these hosts.

    Args:
        ca: signs it.
        hosts: whose it is.
        days: until it expires; negative when it has.
        client_ca: whose clients' certificates are asked for.
    """
    now = datetime.now(timezone.utc)
    begin = now - timedelta(days=400)
    certificate = ca.issue_cert(*hosts, not_before=begin, not_after=now + timedelta(days=days))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def pem(ca: trustme.CA, path: Path) -> Path:
    """A CA's certificate as a file."""
    ca.cert_pem.write_to_path(path)
    return path


def client_files(ca: trustme.CA, directory: Path) -> str:
    """A client's certificate and key as files, and the properties that name them."""
    certificate = ca.issue_cert("client")
    chain, key = directory / "client.pem", directory / "client.key"
    chain.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    return f"ssl.certificate.location={chain},ssl.key.location={key}"
