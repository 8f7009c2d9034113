"""The command line `otel-kafka`. It needs the extra `cli`, and `otel-kafka demo` the extra `demo`."""

from __future__ import annotations

import sys

_OF_THE_EXTRA = frozenset({"click", "rich"})
_INTERRUPTED = 130  # a shell's code for a command that SIGINT ended


def main() -> int:
    """Run the command line.

    Returns:
        The exit code: 0 fine, 1 what was asked for failed, 2 wrong usage, 130 interrupted.
    """
    try:
        # Not at the top: the exporter is installed without click and rich, and Ctrl-C may come while they load.
        from .root import run  # noqa: PLC0415
        from .signals import signals_raise  # noqa: PLC0415

        with signals_raise():
            return run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in _OF_THE_EXTRA:
            raise
        print(f'{error.name} is not installed: pip install "otel-kafka-exporter[cli]"', file=sys.stderr)  # noqa: T201 - this is a command
        return 1
