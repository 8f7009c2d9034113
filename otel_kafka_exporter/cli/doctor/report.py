"""An examination as a document, and as a file for somebody else; no secret is in either."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import confluent_kafka

from otel_kafka_exporter import __version__
from otel_kafka_exporter.outbox.files import stored_outboxes
from otel_kafka_exporter.settings import ENVIRONMENT_PREFIX, ORIGINAL_VARIABLES

from .check import NotKnownError, Result, Status
from .kafka_statistics import statistics
from .otel_checks import versions
from .running import root_cause
from .subject import Subject

SCHEMA = "otel-kafka-doctor/1"
_OURS = (ENVIRONMENT_PREFIX, "OTEL_", *ORIGINAL_VARIABLES.values(), "KAFKA_ENABLE_LOGGING_EVENTS")
_MOST_OUTBOXES = 1_000


def document(results: Sequence[Result], subject: Subject) -> dict[str, Any]:
    """The JSON document; its keys are API, and are described in docs/command-line.md."""
    cause = root_cause(results)
    counts = {status.value: sum(each.finding.status is status for each in results) for status in Status}
    found = {
        "schema": SCHEMA,
        "version": __version__,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "healthy": cause is None,
        "root_cause": None if cause is None else cause.check.id,
        "counts": counts,
        "checks": [
            {
                "id": each.check.id,
                "status": each.finding.status.value,
                "text": each.finding.text,
                "means": each.finding.means or None,
                "todo": each.finding.todo or None,
                "because": each.because or None,
                "doc": each.check.doc,
                "seconds": round(each.seconds, 3),
                "details": dict(each.finding.details),
            }
            for each in results
        ],
    }
    masked: dict[str, Any] = subject.masking.value(found)
    return masked


def write_bundle(path: Path, results: Sequence[Result], text: str, subject: Subject) -> None:
    """Write a zip file for a report to somebody else.

    Args:
        path: where; a file that is there is replaced, once the new one is complete.
        results: what was found.
        text: the same as a person reads it.
        subject: what was examined.

    Raises:
        OSError: it cannot be written.
    """
    parts: dict[str, Any] = {
        "report.json": document(results, subject),
        "environment.json": _environment(subject),
        "versions.json": {
            **versions(),
            "python": sys.version,
            "librdkafka": confluent_kafka.libversion()[0],
            "platform": platform.platform(),
        },
        "outbox.json": _outbox(subject),
        "librdkafka.json": statistics(subject),
    }
    path = path.resolve()
    if path.exists() and not path.is_file():  # root would put a file in the place of /dev/null
        raise OSError("something there that is no file")
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("report.txt", subject.masking.text(text))
            for name, part in parts.items():
                bundle.writestr(name, json.dumps(subject.masking.value(part), indent=2, default=str))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _environment(subject: Subject) -> dict[str, str]:
    """Variables that have a part in it. Of others not even the names: they are none of a stranger's business."""
    return {name: value for name, value in sorted(subject.environ.items()) if name.startswith(_OURS)}


def _outbox(subject: Subject) -> list[dict[str, Any]] | str:
    """What is on the disk, without any record's contents."""
    try:
        directory = Path(subject.settings.outbox_dir)
    except NotKnownError:
        return "the settings do not say where it is"
    return [
        {
            "path": str(each.path),
            "configuration": each.configuration,
            "alive": each.alive,
            "problem": each.problem,
            "bytes": each.size(),
            "files": [path.name for path in each.segments],
            "age_seconds": _age(each.path),
        }
        for each in stored_outboxes(directory)[:_MOST_OUTBOXES]
    ]


def _age(path: Path) -> float | None:
    try:
        return round(time.time() - path.stat().st_mtime)
    except OSError:
        return None
