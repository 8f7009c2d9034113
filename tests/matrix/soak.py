"""The long form of the fault matrix: `python -m tests.matrix.soak [SECONDS] [FAULT...]`; prints a table."""

from __future__ import annotations

import sys
import tempfile
import uuid
from functools import partial
from pathlib import Path

from .faults import FAULTS, LEADERS, Brokers, forget, prepare
from .matrix import run


def main(seconds: float = 60, *names: str) -> None:
    with tempfile.TemporaryDirectory(prefix="soak-") as directory, Brokers(Path(directory) / "kafka") as brokers:
        for name in names or FAULTS:
            prefix = f"{name}-{uuid.uuid4().hex[:6]}."
            prepare(brokers, name, prefix)
            fault = partial(FAULTS[name], brokers, prefix)
            print(f"{name}, {seconds:g} s: {(FAULTS[name].__doc__ or '').strip()}", flush=True)
            for result in run(brokers.servers, prefix, len(LEADERS), fault, Path(directory) / prefix, seconds=seconds):
                print(" ", result.row(), flush=True)
                for line in result.lines.splitlines():
                    print("     |", line)
            forget(brokers, prefix)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60, *sys.argv[2:])
