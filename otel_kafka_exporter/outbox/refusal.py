"""Why nothing more is put on the disk for a while: it is not tried again at each record."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.process import monotonic

from .trust import UntrustedError

_SECONDS = 10.0  # after a directory could not be used
_FULL_SECONDS = 1.0  # after the disk was full
FULL = {errno.ENOSPC, errno.EDQUOT}


class Refusal:
    """What the system, or whose a directory is, has refused, and until when that holds without asking again.

    Args:
        configuration: the directory that is meant where the system names none; None for memory only.
    """

    def __init__(self, configuration: Path | None) -> None:
        self._configuration = configuration
        self._error: OutboxError | None = None
        self._until = 0.0  # in monotonic()

    def check(self) -> None:
        """Return if nothing is refused at present.

        Raises:
            OutboxError: something is.
        """
        if self._error is not None and monotonic() < self._until:
            raise OutboxError(self._error.reason, str(self._error))

    def of(self, error: OSError | UntrustedError) -> OutboxError:
        """The error for what was refused, which holds for a while from here on."""
        seconds = _SECONDS
        if isinstance(error, UntrustedError):
            self._error = OutboxError("outbox_unavailable", f"{error}; set outbox_dir to one of this user's own")
        else:
            where = error.filename or self._configuration or "memory"
            if error.errno in FULL:
                seconds = _FULL_SECONDS
                problem = f"expected room on the disk of {where}, got: {error.strerror}; free some"
                self._error = OutboxError("outbox_full", problem)
            else:
                expected = f"a directory that user {os.geteuid()} can write to"
                problem = f"expected {expected}, got {where}: {error.strerror}; set outbox_dir"
                self._error = OutboxError("outbox_unavailable", problem)
        self._until = monotonic() + seconds
        return self._error

    def room_again(self) -> None:
        """Something was deleted: a full disk may take more."""
        if self._error is not None and self._error.reason == "outbox_full":
            self._error = None
