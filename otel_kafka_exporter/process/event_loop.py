"""The event loop that runs a coroutine: asyncio's, be it uvloop, and no other kind."""

from __future__ import annotations

import asyncio


class NoEventLoopError(RuntimeError):
    """asyncio does not run this coroutine."""


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs this coroutine.

    Raises:
        NoEventLoopError: asyncio does not run it.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        found = "got none. trio, and whatever else runs coroutines, is not supported"
        raise NoEventLoopError(f"expected a running event loop of asyncio, {found}.") from None
