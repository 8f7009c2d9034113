"""What this process is called, for who looks at it from outside."""

from __future__ import annotations

import sys
from pathlib import PurePath

#: Options of the interpreter's that have a value behind them.
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


class ProcessName:
    """The name of the process, by which `str` finds it when it is asked for.

    While the interpreter starts, and OpenTelemetry's set-up makes an exporter, `sys.argv` begins with `-c` or `-m`, and
    in a child of multiprocessing's it is its parent's only later. Arguments are not told: they may be secrets.
    """

    def __str__(self) -> str:
        script = (getattr(sys, "argv", None) or [""])[0]
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        if spec is not None:
            return f"python -m {spec.name.removesuffix('.__main__')}"
        if PurePath(script).name == "__main__.py":  # of a package that the parent ran by -m
            return f"python -m {PurePath(script).parent.name}"
        return script if script not in ("", "-c", "-m", "-") else _asked_for(sys.orig_argv[1:])


def _asked_for(arguments: list[str]) -> str:
    """What the interpreter was asked to run."""
    given = iter(arguments)
    for argument in given:
        if argument in _WITH_VALUE:
            next(given, None)
        elif argument == "-m":
            return f"python -m {next(given, '')}".rstrip()
        elif argument == "-c":
            return "python -c"
        elif not argument.startswith("-"):
            return argument
    return "python"
