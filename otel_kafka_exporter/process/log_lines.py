"""What the exporter logs of itself: lines that cannot come back to it.

The logger `otel_kafka_exporter` does not propagate, so that no handler of the application (OpenTelemetry's least of
all) turns a line about a lost record into another record. It writes warnings to stderr; give it a handler or a level
of your own to change that.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from .clock import monotonic
from .forks import call_in_child
from .locking import locked
from .os_threads import RLock

if TYPE_CHECKING:
    # Where the type lives in every version; the name is generic there and not everywhere at run time.
    StreamHandler = logging.StreamHandler[TextIO]
else:
    StreamHandler = logging.StreamHandler

QUIET_LOGGER = "otel_kafka_exporter"
LIBRDKAFKA_LOGGER = f"{QUIET_LOGGER}.librdkafka"
QUIET_SECONDS = 60.0


class _StderrHandler(StreamHandler):
    """Writes to the process's own stderr: `sys.stderr` may be one that logs, as Celery's is in its workers."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def createLock(self) -> None:  # noqa: N802 - its base class has it so
        """A real one: threads of ours log that gevent knows nothing of."""
        super().createLock()  # which also sees to forks
        self.lock = RLock()

    def handle(self, record: logging.LogRecord) -> bool:
        """As of its base, but it does not wait for ever for another thread's line, for which see `locking`."""
        may_pass = bool(self.filter(record))
        if may_pass and self.lock is not None:
            locked(self.lock, self.emit, lambda _: None, record)
        return may_pass

    def emit(self, record: logging.LogRecord) -> None:
        # More than warnings is for who has asked for it: by a level of our own loggers', and not by the root's.
        if record.levelno < logging.WARNING and not _has_level(record.name):
            return
        if sys.__stderr__ is not None:  # as in a process without a console
            self.stream = sys.__stderr__
            super().emit(record)


def _has_level(name: str) -> bool:
    """Whether one of our own loggers, from this one upwards, was given a level."""
    return any(logging.getLogger(each).level for each in {name, QUIET_LOGGER})


class OncePerMinute(logging.Filter):
    """Lets one line of a kind through in a minute; the next one says how many there were in between.

    A kind is the record's `kind` attribute where it has one, else its first argument: librdkafka's lines differ in
    their text each time, and have their facility (`FAIL`, `REQTMOUT`) there. Lines that say different things are never
    of one kind: their text before its arguments belongs to it. One whose kind is None keeps a pace of its own, and
    one of DEBUG has none: who asks for that wants all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[object, tuple[float, int]] = {}
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        call_in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = RLock()

    def filter(self, record: logging.LogRecord) -> bool:
        first = record.args[0] if isinstance(record.args, tuple) and record.args else None
        named = getattr(record, "kind", first if isinstance(first, str) else "")
        if named is None or record.levelno <= logging.DEBUG:
            return True
        withheld = locked(self._lock, self._passes, lambda _: 0, (record.levelno, named, str(record.msg)))
        if withheld:
            record.msg = f"{record.msg} ({withheld} more like this in between)"
        return withheld is not None

    def _passes(self, kind: object) -> int | None:
        """How many of a kind were withheld since the last one that was not; None to withhold another one."""
        now = monotonic()
        last, withheld = self._seen.get(kind, (-QUIET_SECONDS, 0))
        if now - last < QUIET_SECONDS:
            self._seen[kind] = (last, withheld + 1)
            return None
        self._seen[kind] = (now, 0)
        return withheld


class _HeardLogger(logging.Logger):
    """A logger that nobody disables in passing, as `dictConfig` and `fileConfig` by default do with all there are.

    Who wants no lines of ours gives the logger a level or a handler.
    """

    @property
    def disabled(self) -> bool:
        """Never."""
        return False

    @disabled.setter
    def disabled(self, _: bool) -> None:
        """Change nothing."""


def _heard_logger(name: str) -> logging.Logger:
    logger = logging.getLogger(name)
    # The one that is there already: others may have it, and it may be of the application's own class.
    if not isinstance(logger, _HeardLogger):
        logger.__class__ = type("HeardLogger", (_HeardLogger, type(logger)), {})
    return logger


def _quiet_logger() -> logging.Logger:
    logger = _heard_logger(QUIET_LOGGER)
    logger.propagate = False
    if not logger.handlers:  # the module may be imported anew, as tests do
        logger.addHandler(_StderrHandler())
    return logger


log = _quiet_logger()
librdkafka_log = _heard_logger(LIBRDKAFKA_LOGGER)
_once_per_minute = OncePerMinute()
log.addFilter(_once_per_minute)
librdkafka_log.addFilter(_once_per_minute)


def warn(kind: str, message: str, *args: object) -> None:
    """Log a warning, once per kind, text and minute."""
    log.warning(message, *args, extra={"kind": kind})


def tell_of_start(message: str, *args: object) -> None:
    """Log what there is to know at the start, for who has asked for that by level INFO."""
    log.info(message, *args, extra={"kind": None})


def warn_at_any_pace(message: str, *args: object) -> None:
    """Log a warning, whenever its caller does: it sees to it that there are few."""
    log.warning(message, *args, extra={"kind": None})


def kind_of_fault(error: BaseException) -> str:
    """One for each place at which something of a type is raised, so that no fault hides another."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    return f"fault:{type(error).__qualname__}:{where}"


#: Warnings that wait for a moment at which no lock of ours is held, the first of each kind and text.
_noted: dict[tuple[str, str], tuple[object, ...]] = {}
call_in_child(_noted.clear)


def note(kind: str, message: str, *args: object) -> None:
    """Have a warning logged soon, by `tell`: a handler of the application's may wait for a thread that waits for us."""
    _noted.setdefault((kind, message), args)


#: librdkafka's lines that wait for the same.
_lines: deque[tuple[int, str, tuple[object, ...]]] = deque(maxlen=1_000)
_MOST_DEBUG_LINES = 900
call_in_child(_lines.clear)


def note_librdkafka(level: int, message: str, *args: object) -> None:
    """Have a line of librdkafka's logged soon: it comes in a call to the client, which may be within a log call."""
    # Where there are too many, and only its `debug` has so many, none of those is worth another one.
    if librdkafka_log.isEnabledFor(level) and (level > logging.DEBUG or len(_lines) < _MOST_DEBUG_LINES):
        _lines.append((level, message, args))


def tell() -> None:
    """Log what was noted. No lock may be held."""
    while _lines:
        with suppress(IndexError):  # another thread was quicker
            level, message, args = _lines.popleft()
            librdkafka_log.log(level, message, *args)
    while _noted:
        for kind, message in list(_noted):  # as in `forks`
            try:
                args = _noted.pop((kind, message))
            except KeyError:  # another thread was quicker
                continue
            warn(kind, message, *args)
