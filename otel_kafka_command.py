"""Where the command `otel-kafka` begins: it ends by a signal without a traceback, from its first moment on.

It is outside the package because whatever is imported of that imports OpenTelemetry and the Kafka client first, which
takes long enough for a Ctrl-C.
"""

from __future__ import annotations

import sys
from types import TracebackType


def main() -> int:
    """Run the command line; returns its exit code."""
    # The first thing of all, for which nothing has to be imported. Python still ends by the signal.
    sys.excepthook = _without_interruptions
    import signal  # noqa: PLC0415 - takes milliseconds

    # Nothing is to be tidied up yet, and an exception may come up where nobody can catch it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from otel_kafka_exporter.cli import main as run  # noqa: PLC0415

    return run()


def _without_interruptions(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
