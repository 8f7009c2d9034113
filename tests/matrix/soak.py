"""The long form of the fault matrix: `python -m tests.matrix.soak [SECONDS] [FAULT...]`; prints a table.

Each fault of a broker of three, for so many seconds, and freezes of the services of 1, 3, 12 and 25 seconds.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from .faults import FAULTS, LEADERS, Brokers, forget, prepare
from .matrix import Parts, Service, frozen, run

_FREEZES = (1, 3, 12, 25)


def main(seconds: float = 60, *names: str) -> None:
    with tempfile.TemporaryDirectory(prefix="soak-") as directory, Brokers(Path(directory) / "kafka") as brokers:
        for name in names or FAULTS:
            prefix = f"{name}-{uuid.uuid4().hex[:6]}."
            prepare(brokers, name, prefix)
            print(f"{name}, {seconds:g} s: {(FAULTS[name].__doc__ or '').strip()}", flush=True)
            fault = FAULTS[name]
            soak(brokers, prefix, lambda _, fault=fault, prefix=prefix: fault(brokers, prefix), directory, seconds)  # type: ignore[misc]  # bound per round
        if not names:
            for length in _FREEZES:
                prefix = f"freeze-{uuid.uuid4().hex[:6]}."
                prepare(brokers, "", prefix)
                print(f"freeze, {length} s: the services are stopped.", flush=True)
                soak(brokers, prefix, frozen, directory, length)


def soak(
    brokers: Brokers,
    prefix: str,
    fault: Callable[[Sequence[Service]], AbstractContextManager[Parts]],
    directory: str,
    seconds: float,
) -> None:
    for result in run(brokers.servers, prefix, len(LEADERS), fault, Path(directory) / prefix, seconds=seconds):
        print(" ", result.row(), flush=True)
        for line in result.lines.splitlines():
            print("     |", line)
    forget(brokers, prefix)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60, *sys.argv[2:])
