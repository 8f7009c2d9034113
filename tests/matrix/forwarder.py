"""A TCP forwarder that can go silent, as a firewall that drops packets, or refuse, as a port with nobody behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from typing import Any

from tests.rig.process import LOOPBACK, HeldPort


class Forwarder:
    """Forwards connections to a target, from construction to `close`.

    Args:
        target: where to, as host:port.
    """

    def __init__(self, target: str) -> None:
        self._host, _, port = target.partition(":")
        self._port = int(port)
        self._held = HeldPort()
        self.address = self._held.address
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.forward()

    def forward(self) -> None:
        """Let everything pass, what was held up first."""
        self._do(self._forward())

    def go_silent(self) -> None:
        """Accept connections, and let nothing pass."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def refuse(self) -> None:
        """End all connections and accept none."""
        self._do(self._refuse())

    def close(self) -> None:
        """End everything."""
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._held.close()

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(10)

    async def _forward(self) -> None:
        self._passes.set()
        if self._server is None:
            listening = socket.socket()
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((LOOPBACK, int(self.address.partition(":")[2])))
            self._server = await asyncio.start_server(self._connected, sock=listening)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        self._passes.set()  # who waits finds its connection gone
        await asyncio.sleep(0.01)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pump(reader, target_writer), self._pump(target_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()
