"""What belongs to one operating-system process: forks, threads, interruptions, log lines and metrics, outcomes' names.

The lowest folder: everything may import it, and it imports nothing of ours.
Held here: a forked child starts from nothing, and nothing that is logged of our work comes back as a log record.
"""

from .clock import monotonic
from .event_loop import NoEventLoopError, running_loop
from .file_locks import HAS_FILE_LOCKS, lock_file
from .flag import Flag
from .forks import ForkGate, after_fork_in_child, at_worker_exit, call_in_child, making_locks, notice_fork
from .interruption import is_interruption
from .locking import LOCK_SECONDS, locked, owns, wait_for, when_free
from .log_lines import (
    LIBRDKAFKA_LOGGER,
    QUIET_LOGGER,
    QUIET_SECONDS,
    kind_of_fault,
    librdkafka_log,
    log,
    note,
    note_librdkafka,
    tell,
    tell_of_start,
    warn,
    warn_at_any_pace,
)
from .marking import OWN_TRACE_ID, as_own_work, own_work
from .metrics import Metrics
from .os_threads import OsThread, RLock, allocate_lock, breathe, get_ident, in_greenlet, in_own_thread, pause, sleep
from .outcome import DeliveryOutcome, DeliveryStats, Disposition, OutboxUsage, Stranded
from .process_name import ProcessName
from .random_numbers import chance
from .totals import stats

__all__ = [
    "HAS_FILE_LOCKS",
    "LIBRDKAFKA_LOGGER",
    "LOCK_SECONDS",
    "OWN_TRACE_ID",
    "QUIET_LOGGER",
    "QUIET_SECONDS",
    "DeliveryOutcome",
    "DeliveryStats",
    "Disposition",
    "Flag",
    "ForkGate",
    "Metrics",
    "NoEventLoopError",
    "OsThread",
    "OutboxUsage",
    "ProcessName",
    "RLock",
    "Stranded",
    "after_fork_in_child",
    "allocate_lock",
    "as_own_work",
    "at_worker_exit",
    "breathe",
    "call_in_child",
    "chance",
    "get_ident",
    "in_greenlet",
    "in_own_thread",
    "is_interruption",
    "kind_of_fault",
    "librdkafka_log",
    "lock_file",
    "locked",
    "log",
    "making_locks",
    "monotonic",
    "note",
    "note_librdkafka",
    "notice_fork",
    "own_work",
    "owns",
    "pause",
    "running_loop",
    "sleep",
    "stats",
    "tell",
    "tell_of_start",
    "wait_for",
    "warn",
    "warn_at_any_pace",
    "when_free",
]
