"""Can records be kept on this machine's disk, and is there something that nobody will deliver?"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from pathlib import Path

from otel_kafka_exporter.outbox import Fate, Outbox
from otel_kafka_exporter.outbox.files import StoredOutbox, stored_outboxes

from .check import Check, Finding, fail, ok, skipped, warn
from .subject import Subject

_OFF = "outbox=false"
_OLD_SECONDS = 3600
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs"})


def _directory(subject: Subject) -> Finding:
    settings = subject.settings
    if not settings.outbox:
        return warn(
            "outbox=false: nothing is kept on the disk",
            "What cannot be delivered at once is dropped, audit and security events too.",
            "Unset OTEL_EXPORTER_KAFKA_OUTBOX; the default keeps it.",
        )
    directory = Path(settings.outbox_dir)
    box = Outbox(
        directory, settings.configuration, settings.outbox_max_bytes, {}, lambda *_: None, lambda *_: Fate.LEFT
    )
    problem = box.problem()
    if problem:
        return fail(
            problem,
            "There is no outbox: what cannot be delivered at once is dropped.",
            "Set outbox_dir to a directory of the user that the service runs as; in a container mount a volume there.",
        )
    kind = _file_system(directory)
    if kind in _NETWORK_FILE_SYSTEMS:
        return warn(
            f"{directory} is on {kind}, a file system of the network",
            "Locks and mapped files are not sure there: two machines may take one outbox.",
            "Set outbox_dir to a local disk.",
        )
    return ok(f"{directory} ({kind or 'made at the start'}), written as user {os.geteuid()}")


def _space(subject: Subject) -> Finding:
    if not subject.settings.outbox:
        return skipped(_OFF)
    directory = _existing(Path(subject.settings.outbox_dir))
    usage, most = shutil.disk_usage(directory), subject.settings.outbox_max_bytes
    inodes = os.statvfs(directory).f_favail
    text = f"{usage.free / 1e6:,.0f} MB free, outbox_max_bytes {most / 1e6:,.0f} MB for each process"
    if usage.free < most or inodes == 0:
        return warn(
            text,
            "In a long outage the disk is full before the outbox is, and records are dropped.",
            "Free space, set outbox_dir to a larger disk, or lower outbox_max_bytes.",
        )
    return ok(text)


def _waiting(subject: Subject) -> Finding:
    if not subject.settings.outbox:
        return skipped(_OFF)
    records, dead, oldest = 0, Counter[str](), time.time()
    for stored in _stored(subject):
        if stored.configuration != subject.settings.configuration:
            continue
        for each in stored.rows():
            if each.stream.dead:
                dead[each.row.reason.partition(":")[0]] += 1
            else:
                records += 1
                oldest = min(oldest, each.row.nanoseconds / 1e9)
    seconds = time.time() - oldest
    text = f"{records} records wait"
    if records:
        text += f", the oldest for {_age(seconds)}"
    if dead:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dead.items())
        return warn(
            f"{text}; dead letters: {reasons}",
            "Dead letters are records that Kafka or the exporter refused for good.",
            "otel-kafka outbox list --dead-letters shows them, otel-kafka outbox retry sends them again.",
        )
    if seconds > _OLD_SECONDS and records:
        return warn(
            text,
            "Nobody has delivered them for long: no process of this configuration runs, or Kafka refuses them.",
            "Start the service, or otel-kafka outbox drain.",
        )
    return ok(text)


def _orphans(subject: Subject) -> Finding:
    if not subject.settings.outbox:
        return skipped(_OFF)
    left: Counter[str] = Counter()
    for stored in _stored(subject):
        if stored.configuration == subject.settings.configuration or stored.alive:
            continue
        waiting = sum(not each.stream.dead for each in stored.rows())
        if waiting:
            left[f"{stored.configuration} ({stored.owner.get('bootstrap_servers', '?')})"] += waiting
    if left:
        return warn(
            "; ".join(f"{count} records of the configuration {name}" for name, count in left.items()),
            "They are for other addresses or topics. A service delivers them only if it has the same topics, and has"
            " reached the cluster that they are for.",
            "otel-kafka outbox status shows them: adopt them if they are meant for this cluster, else drain them with"
            " their own settings, or purge --records.",
        )
    return ok("nothing of another configuration waits")


def _set_aside(subject: Subject) -> Finding:
    if not subject.settings.outbox:
        return skipped(_OFF)
    directory = Path(subject.settings.outbox_dir)
    aside = [str(path) for path in directory.glob("*/set-aside/*")]
    untrusted = [f"{stored.path}: {stored.problem}" for stored in _stored(subject) if stored.problem]
    unreadable: list[str] = []
    for stored in _stored(subject):
        for _ in stored.rows(unreadable.append):
            pass
    if untrusted or unreadable or aside:
        parts = [*untrusted, *unreadable, *([f"{len(aside)} files were set aside, as {aside[0]}"] if aside else [])]
        return warn(
            "; ".join(parts),
            "Nobody sends what is damaged, what somebody else may have written, or what is for another topic.",
            "Look at the files (docs/outbox-format.md), and remove them.",
        )
    return ok("nothing was set aside, nothing is damaged")


def _stored(subject: Subject) -> list[StoredOutbox]:
    return stored_outboxes(Path(subject.settings.outbox_dir))


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _file_system(directory: Path) -> str:
    """The type of its file system, where the system says."""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 - one word
            mounts = [line.split()[1:3] for line in lines]
    except OSError:
        return ""
    path = str(_existing(directory).resolve())
    under = [(point, kind) for point, kind in mounts if path == point or path.startswith(point.rstrip("/") + "/")]
    return max(under, key=lambda each: len(each[0]))[1] if under else ""


def _age(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


CHECKS = (
    Check("outbox.directory", _directory, ("settings.values",)),
    Check("outbox.space", _space, ("outbox.directory",)),
    Check("outbox.waiting", _waiting, ("outbox.directory",)),
    Check("outbox.orphans", _orphans, ("outbox.directory",)),
    Check("outbox.aside", _set_aside, ("outbox.directory",)),
)
