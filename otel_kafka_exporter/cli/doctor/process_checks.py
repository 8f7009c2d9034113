"""What the system lets a process do, and which set-ups fork behind its back."""

from __future__ import annotations

from pathlib import Path

from .check import Check, Finding, ok, warn
from .subject import Subject

_FEW_FILES = 1024
_FEW_THREADS = 64
_UNLIMITED = "no limit"


def _files(_subject: Subject) -> Finding:
    soft = _limit("RLIMIT_NOFILE")
    if soft is not None and soft < _FEW_FILES:
        return warn(
            f"at most {soft} open files",
            "The client has a socket for each broker, the outbox a file for each stream, the service its own: at the"
            " limit records can be neither sent nor kept.",
            "Raise it: LimitNOFILE= of systemd, ulimits of a container, ulimit -n in a shell.",
        )
    return ok(f"{_UNLIMITED if soft is None else soft} open files")


def _threads(_subject: Subject) -> Finding:
    limits = [limit for limit in (_limit("RLIMIT_NPROC"), _of_cgroup()) if limit is not None]
    if limits and min(limits) < _FEW_THREADS:
        return warn(
            f"at most {min(limits)} threads",
            "The client has a thread for each broker; where none can be made it does not start, and records wait.",
            "Raise it: TasksMax= of systemd, pids_limit of a container, ulimit -u in a shell.",
        )
    return ok(f"{min(limits) if limits else _UNLIMITED} threads")


def _limit(name: str) -> int | None:
    """What this process may have of something; None where there is no limit."""
    try:
        import resource  # noqa: PLC0415 - not on Windows, which has no such limits
    except ImportError:
        return None
    soft, _ = resource.getrlimit(getattr(resource, name))
    return None if soft == resource.RLIM_INFINITY else soft


def _of_cgroup() -> int | None:
    for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None


def _forks(subject: Subject) -> Finding:
    environ = subject.environ
    if environ.get("FLASK_DEBUG", "").strip().lower() not in {"", "0", "false", "no"}:
        return warn(
            "FLASK_DEBUG is on: its reloader runs the application in a second process",
            "OpenTelemetry's set-up does not follow it there: the process that serves has none.",
            "FLASK_DEBUG=0, or flask run --no-reload. otel-kafka doctor -- CMD shows what each process has.",
        )
    arguments = environ.get("GUNICORN_CMD_ARGS", "")
    if "--preload" in arguments:
        return ok("gunicorn --preload forks behind the set-up; the exporter starts anew in each worker")
    return ok("the environment asks for no reloader")


CHECKS = (
    Check("process.files", _files),
    Check("process.threads", _threads),
    Check("process.forks", _forks),
)
