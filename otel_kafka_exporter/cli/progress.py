"""A bar for what takes long: on a terminal only, on stderr, and gone when it is over."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_EVERY_SECONDS = 0.1
_QUICK_SECONDS = 0.5  # what is over by then needs no bar


@contextmanager
def progress(what: str, done: Callable[[], int], total: int | None) -> Iterator[Callable[[], None]]:
    """Show how far something is, meanwhile.

    Args:
        what: it, in a word or two.
        done: how many of it are done, asked in a thread of its own.
        total: how many there are, if that is known.

    Yields:
        What takes the bar away before the end, for who is about to write to the same terminal.
    """
    if total == 0 or not sys.stderr.isatty():
        yield lambda: None
        return
    bar = Progress(
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,  # that is the command's output
        redirect_stderr=False,
    )
    task = bar.add_task(what, total=total)
    over = threading.Event()

    def show() -> None:
        if over.wait(_QUICK_SECONDS):
            return
        with bar:
            while not over.wait(_EVERY_SECONDS) and (total is None or done() < total):
                bar.update(task, completed=done(), refresh=True)

    thread = threading.Thread(target=show, name="otel-kafka-progress", daemon=True)
    thread.start()

    def take_away() -> None:
        over.set()
        thread.join()

    try:
        yield take_away
    finally:
        take_away()


def shares_terminal() -> bool:
    """Whether what is written to stdout may come to the terminal that stderr is: to it, or by a pipe."""
    try:
        return not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):  # no file at all
        return False
