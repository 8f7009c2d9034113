"""Starting anew in a forked child, and ending in one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from weakref import WeakMethod


def after_fork_in_child(method: Callable[[], None]) -> None:
    """Call a bound method in every child that is forked from now on, for as long as its object lives.

    What a child inherits is a copy of one moment: locks that other threads held stay locked for ever, and those
    threads, librdkafka's among them, are not there.
    """
    reference = WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    os.register_at_fork(after_in_child=call)


def at_worker_exit(method: Callable[[], None]) -> None:
    """Call a bound method when this process ends, if it is a child of multiprocessing's or of billiard's (Celery).

    Those end by `os._exit`, without atexit; their finalizers are what runs.
    """
    reference = WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    for package in ("multiprocessing", "billiard"):
        process, util = sys.modules.get(f"{package}.process"), sys.modules.get(f"{package}.util")
        if process is not None and util is not None and process.current_process()._parent_pid is not None:  # noqa: SLF001 - they have no public name for it in common
            util.Finalize(None, call, exitpriority=100)
