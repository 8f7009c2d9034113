"""The end of a test's own server before a broker."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence


def end(listening: socket.socket, threads: Sequence[threading.Thread], connections: Sequence[socket.socket]) -> None:
    """Close all of it, and first what new connections come by, so that none is forgotten.

    Args:
        listening: accepts them.
        threads: the first one takes them from there, and adds to the others.
        connections: all there are when that one has ended.
    """
    close(listening)
    threads[0].join(10)
    for each in connections:
        close(each)
    for thread in threads:
        thread.join(10)


def close(connection: socket.socket) -> None:
    """Have whoever reads from it, in whichever thread, see its end; and close it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
