"""Runs within the command that is examined: says what its logging really does, in a file for each process.

It is copied and stands alone, since the command's Python may be another one, and may lack this package. Nothing is
imported that the application has not imported; nothing raises into it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import uuid
from time import monotonic  # noqa: TID251 - the package, whose clock is another one, would import OpenTelemetry here
from typing import Any

DIRECTORY, SECONDS = "OTEL_KAFKA_DOCTOR_DIRECTORY", "OTEL_KAFKA_DOCTOR_SECONDS"
LOGGER = "otel_kafka_doctor"
_SETTLE_SECONDS = 5.0
_SET_UP_SECONDS = 8.0  # in which instrumentations are loaded; one that raises ends the set-up
_LOOK_SECONDS = 0.02
#: Becomes the application, and has no logging of its own.
_STARTER = "opentelemetry-instrument"
_begun = False
_at_exit = False
_ask_at = 0.0


def begin() -> None:
    """Report on this process, and on those that it forks, when it has run for a while or before it ends."""
    _begin(0.0)


def set_up_begins() -> None:
    """The same, called by opentelemetry-instrument, whose work is not done yet."""
    _begin(_SET_UP_SECONDS)


def set_up_ends() -> None:
    """Called by opentelemetry-instrument when its work is done: the application begins."""
    global _ask_at  # noqa: PLW0603 - of the process, like what it reports on
    _ask_at = monotonic() + float(os.environ.get(SECONDS, "0"))


def _begin(more_seconds: float) -> None:
    global _begun, _at_exit, _ask_at  # noqa: PLW0603 - as above
    if _begun or DIRECTORY not in os.environ:
        return
    _begun = True
    # That of a forked process is its parent's.
    _ask_at = _ask_at or monotonic() + float(os.environ[SECONDS]) + more_seconds
    _write({"phase": "started"})
    if not _at_exit:
        import atexit  # noqa: PLC0415 - nothing is loaded that is not needed

        _at_exit = True
        atexit.register(_report, "at its end")
        os.register_at_fork(after_in_child=_again)
    try:
        threading.Thread(target=_wait, name="otel-kafka-doctor", daemon=True).start()
    except RuntimeError as error:
        _write({"phase": "started", "problem": f"it can have no thread: {error}"})


def _again() -> None:
    global _begun, _reported
    _begun, _reported = False, False
    begin()


def _wait() -> None:
    while (left := _ask_at - monotonic()) > 0:
        threading.Event().wait(min(left, _LOOK_SECONDS))
    if _program() != _STARTER:
        _report("while it ran")


def _program() -> str:
    words: list[str] = getattr(sys, "argv", None) or ["?"]  # there are none yet while a sitecustomize runs
    return os.path.basename(words[0])  # noqa: PTH119 - nothing is loaded that is not needed


_reported = False
_once = threading.Lock()


def _report(when: str) -> None:
    global _reported  # noqa: PLW0603 - as above
    with _once:
        if _reported:
            return
        _reported = True
        _write({"phase": "asked"})
        try:
            _write({"phase": "complete", "when": when, **_state()})
        except Exception as error:  # noqa: BLE001 - the application is not to fail of this
            _write({"phase": "complete", "problem": f"{type(error).__name__}: {error}"})


def _write(found: dict[str, Any]) -> None:
    process = {"pid": os.getpid(), "parent": os.getppid(), "program": _program()}
    path = os.path.join(os.environ[DIRECTORY], str(os.getpid()))  # noqa: PTH118 - as above
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
            json.dump({**process, **found}, file, default=str)
        os.replace(path + ".new", path + ".json")  # noqa: PTH105 - as above
    except OSError:
        pass  # whoever asked has gone


def _state() -> dict[str, Any]:
    root = logging.getLogger()
    provider = _provider()
    processors = _processors(provider)
    exporters = [each for processor in processors for each in _kafka_exporters(processor)]
    return {
        "exporter_version": _version(),
        "provider": None if provider is None else _name(provider),
        "processors": [_described(each) for each in processors],
        "handlers": [_name(each) for each in root.handlers],
        "otel_handlers": sum(_name(each).startswith("opentelemetry.") for each in root.handlers),
        "root_level": logging.getLevelName(root.level),
        "sdk_disabled": os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true",
        "record": _try(provider, exporters) if exporters else None,
    }


def _provider() -> Any:
    module = sys.modules.get("opentelemetry._logs")
    return None if module is None else module.get_logger_provider()


def _processors(provider: Any) -> list[Any]:
    # The SDK keeps them to itself.
    return list(getattr(getattr(provider, "_multi_log_record_processor", None), "_log_record_processors", ()))


def _kafka_exporters(processor: Any) -> list[Any]:
    """What of ours a processor leads to: itself, or its exporter."""
    if _is_ours(processor, "KafkaLogRecordProcessor"):
        return [processor]
    exporter = getattr(getattr(processor, "_batch_processor", processor), "_exporter", None)
    return [exporter] if _is_ours(exporter, "KafkaLogExporter") and not getattr(exporter, "is_idle", False) else []


def _is_ours(found: Any, name: str) -> bool:
    return any(each.__name__ == name and each.__module__.startswith("otel_kafka") for each in type(found).__mro__)


def _described(processor: Any) -> dict[str, Any]:
    exporter = getattr(getattr(processor, "_batch_processor", processor), "_exporter", None)
    return {
        "processor": _name(processor),
        "exporter": None if exporter is None else _name(exporter),
        "idle": bool(getattr(exporter, "is_idle", False)),
        "kafka": bool(_kafka_exporters(processor)),
    }


def _name(found: Any) -> str:
    return f"{type(found).__module__}.{type(found).__qualname__}"


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415 - as above

    try:
        return metadata.version("otel-kafka-exporter")
    except metadata.PackageNotFoundError:
        return ""


class _Watcher:
    """A log record processor that looks for one record."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.seen = False

    def on_emit(self, log_record: Any) -> None:
        self.seen |= self._token in str(getattr(log_record.log_record, "body", ""))

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the interface's
        return True


def _try(provider: Any, exporters: list[Any]) -> dict[str, Any]:
    """Log one record as the application does, and see how far it comes."""
    token = uuid.uuid4().hex
    watcher = _Watcher(token)
    provider.add_log_record_processor(watcher)
    before = [_stats(each) for each in exporters]
    logging.getLogger(LOGGER).error("a probe of otel-kafka doctor; it may be ignored (%s)", token)
    deadline = monotonic() + _SETTLE_SECONDS
    provider.force_flush(int(1000 * _SETTLE_SECONDS))
    after = [_stats(each) for each in exporters]
    while watcher.seen and after == before and monotonic() < deadline:
        threading.Event().wait(_LOOK_SECONDS)
        after = [_stats(each) for each in exporters]
    return {
        "seen": watcher.seen,
        "before": before,
        "after": after,
        "logger_enabled": logging.getLogger(LOGGER).isEnabledFor(logging.ERROR),
    }


def _stats(exporter: Any) -> dict[str, Any]:
    found = exporter.stats()
    counts = {name: getattr(found, name) for name in ("accepted", "delivered", "spooled", "dead_lettered")}
    return {**counts, "dropped": dict(found.dropped)}
