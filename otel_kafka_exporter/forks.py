"""Starting anew in a forked child."""

from __future__ import annotations

import os
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
