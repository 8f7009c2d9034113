"""The directories in which processes keep their outboxes: where they are, whose, and whether their owners live.

<outbox_dir>/<configuration>/<uuid>/owner
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from otel_kafka_exporter.process import lock_file, making_locks

from . import disk
from .trust import check_directory, read_file

OWNER = "owner"
_BOX_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_OWNER_BYTES = 65_536


def make_directories(configuration: Path) -> None:
    """Make what holds the directories of all processes of a configuration; for this user only.

    Raises:
        UntrustedError: it is there, and not to be trusted.
        OSError: it cannot be made.
    """
    _make_directories(configuration.parent)
    check_directory(configuration.parent, may_be_roots=True)
    _make_directories(configuration)
    check_directory(configuration)


def check_directories(configuration: Path) -> None:
    """Return if what holds the directories of all processes of a configuration is to be trusted.

    Raises:
        UntrustedError: it is not.
        OSError: it is not there, or cannot be looked at.
    """
    check_directory(configuration.parent, may_be_roots=True)
    check_directory(configuration)


def configurations(directory: Path) -> list[Path]:
    """The directories of all configurations, by name; none where nothing can be read."""
    with suppress(OSError):
        return sorted(path for path in directory.iterdir() if path.is_dir())
    return []


def boxes(*configurations: Path) -> list[Path]:
    """The directories of all processes of these configurations, the youngest first; none where nothing can be read."""
    found = []
    for configuration in configurations:
        with suppress(OSError):
            for path in configuration.iterdir():
                if _BOX_NAME.fullmatch(path.name):
                    made = 0
                    with suppress(OSError):
                        made = (path / OWNER).lstat().st_mtime_ns
                    found.append((made, path))
    return [path for _, path in sorted(found, reverse=True)]


def read_owner(path: Path) -> dict[str, Any]:
    """What the process said of itself that has a directory, or had; nothing where that cannot be read."""
    try:
        owner = json.loads(read_file(path / OWNER, _MOST_OWNER_BYTES))
    except (OSError, ValueError, RecursionError):  # the last by brackets in brackets
        return {}
    return owner if isinstance(owner, dict) else {}


def is_alive(path: Path) -> bool:
    """Whether the process lives that has a directory, or another one is about to take it over."""
    with making_locks():
        try:
            descriptor = os.open(path / OWNER, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            # Shared: whoever adopts at this moment waits for nobody, and comes again.
            lock_file(descriptor, shared=True)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def _make_directories(directory: Path) -> None:
    missing = []
    while not os.path.lexists(directory):
        missing.append(directory)
        directory = directory.parent
    for directory in reversed(missing):
        with suppress(FileExistsError):  # another process makes it, too
            disk.make_directory(directory)
