"""How OpenTelemetry is set up here, and what hides what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata

from otel_kafka_exporter.settings import boolean, variable

from .check import Check, Finding, fail, ok, skipped, warn
from .subject import Subject

_EXPORTER = "onex_kafka"
_CORE = ("opentelemetry-api", "opentelemetry-sdk")
_LOGS_EXPORTER = "OTEL_LOGS_EXPORTER"
_LOGGING = "opentelemetry-instrumentation-logging"
#: A release of the SDK and one of its instrumentations belong together: 1.45 and 0.66.
_BETA_OFFSET = 21
_PATCHES_THE_CLIENT = "opentelemetry-instrumentation-confluent-kafka"


def version(name: str) -> str:
    """Of an installed distribution; empty when it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def versions() -> dict[str, str]:
    """Of all that has a part in it."""
    names = (
        "otel-kafka-exporter", "confluent-kafka", "orjson", "protobuf", "click", "rich", *_CORE, "opentelemetry-distro",
        "opentelemetry-instrumentation", _LOGGING, "opentelemetry-configuration", _PATCHES_THE_CLIENT,
    )  # fmt: skip
    return {name: found for name in names if (found := version(name))}


def _versions(_subject: Subject) -> Finding:
    found = versions()
    text = ", ".join(f"{name} {found[name]}" for name in (*_CORE, "confluent-kafka") if name in found)
    api, sdk = (_minor(found.get(name, "")) for name in _CORE)
    if api != sdk:
        return fail(
            f"opentelemetry-api {found.get(_CORE[0])} beside opentelemetry-sdk {found.get(_CORE[1])}",
            "The two are released together; apart, the set-up of logging breaks at the start.",
            "pip install --upgrade opentelemetry-api opentelemetry-sdk",
            versions=found,
        )
    for name in ("opentelemetry-instrumentation", _LOGGING, "opentelemetry-distro"):
        beta = _minor(found.get(name, ""))
        if sdk and beta and beta != sdk + _BETA_OFFSET:
            return warn(
                f"{name} {found[name]} is not of the release of opentelemetry-sdk {found[_CORE[1]]}",
                "Instrumentation may not start, or record nothing.",
                f"pip install --upgrade {name} opentelemetry-sdk",
                versions=found,
            )
    return ok(text, versions=found)


def _minor(text: str) -> int:
    match = re.match(r"\d+\.(\d+)", text)
    return int(match[1]) if match else 0


def _entry_point(_subject: Subject) -> Finding:
    found = [each for each in metadata.entry_points(group="opentelemetry_logs_exporter") if each.name == _EXPORTER]
    if not found:
        return fail(
            f"no entry point {_EXPORTER}",
            f"{_LOGS_EXPORTER}={_EXPORTER} finds nothing, and OpenTelemetry's set-up fails.",
            "Install otel-kafka-exporter into the very environment of the service: pip install otel-kafka-exporter",
        )
    try:
        found[0].load()
    except Exception as error:  # noqa: BLE001 - whatever an import raises
        return fail(
            f"{_EXPORTER} cannot be loaded: {type(error).__name__}: {error}",
            "OpenTelemetry's set-up fails, and with it all of the application's telemetry.",
            "Install anew: pip install --force-reinstall otel-kafka-exporter",
        )
    return ok(f"{_EXPORTER} is {found[0].value.rpartition(':')[2]}")


def _disabled(subject: Subject) -> Finding:
    if subject.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return fail(
            "OTEL_SDK_DISABLED=true",
            "There is no provider, and no record goes anywhere, whatever else is set.",
            "Unset it.",
        )
    return ok("OTEL_SDK_DISABLED is not set")


def _exporter(subject: Subject) -> Finding:
    """Whether the environment chooses our exporter, or a file hides what it says."""
    environ = subject.environ
    file = environ.get("OTEL_CONFIG_FILE", "").strip()
    chosen = [each.strip() for each in environ.get(_LOGS_EXPORTER, "").split(",") if each.strip()]
    direct = _is_true(environ.get(variable("direct"), ""))
    if file:
        return _by_file(environ, file)
    if _EXPORTER in chosen and direct:
        return ok(f"the direct processor; the exporter {_EXPORTER} stays idle beside it")
    if _EXPORTER in chosen or direct:
        return ok(f"{_LOGS_EXPORTER}={','.join(chosen)}" if chosen else f"{variable('direct')}=true")
    if chosen:
        return warn(
            f"{_LOGS_EXPORTER}={','.join(chosen)} does not name {_EXPORTER}",
            "Under opentelemetry-instrument no log record takes the way to Kafka.",
            f"{_LOGS_EXPORTER}={_EXPORTER},{','.join(chosen)}; nothing, if the application adds the exporter itself.",
        )
    return skipped(f"{_LOGS_EXPORTER} is not set; an application may add the exporter itself")


def _by_file(environ: Mapping[str, str], file: str) -> Finding:
    """What OTEL_CONFIG_FILE says, which takes precedence over the environment."""
    if not version("opentelemetry-configuration"):
        return fail(
            f"OTEL_CONFIG_FILE={file}, and opentelemetry-configuration is not installed",
            "The file is not read, and OpenTelemetry's set-up fails.",
            "pip install opentelemetry-configuration",
        )
    hidden = [name for name in (_LOGS_EXPORTER, "OTEL_SERVICE_NAME", "OTEL_BLRP_SCHEDULE_DELAY") if name in environ]
    try:
        with open(file, encoding="utf-8") as text:  # noqa: PTH123 - one word
            names_us = _EXPORTER in text.read()
    except (OSError, UnicodeDecodeError) as error:
        return fail(
            f"OTEL_CONFIG_FILE={file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}",
            "OpenTelemetry's set-up fails.",
            "Correct the path, or the rights of the file.",
        )
    if not names_us:
        return warn(
            f"{file} does not name {_EXPORTER}",
            f"OTEL_CONFIG_FILE hides {_LOGS_EXPORTER}: no log record takes the way to Kafka.",
            "Add onex_kafka to logger_provider.processors; README.md has an example.",
        )
    if hidden:
        return warn(
            f"OTEL_CONFIG_FILE hides {', '.join(hidden)}",
            "What these say has no effect.",
            "Say it in the file, or unset OTEL_CONFIG_FILE.",
        )
    return ok(f"{file} names {_EXPORTER}")


def _signals(subject: Subject) -> Finding:
    """Whether the exporters of traces, metrics and logs are there: the first that is missing takes all with it."""
    environ = subject.environ
    if _LOGS_EXPORTER not in environ or environ.get("OTEL_CONFIG_FILE", "").strip():
        return skipped("opentelemetry-instrument is not set up by variables")
    # opentelemetry-distro's; without it there is no exporter but those that are named.
    default = "otlp" if version("opentelemetry-distro") else "none"
    missing = []
    for signal in ("traces", "metrics", "logs"):
        variable_name = f"OTEL_{signal.upper()}_EXPORTER"
        given = environ.get(variable_name, default)
        there = {each.name for each in metadata.entry_points(group=f"opentelemetry_{signal}_exporter")}
        for name in (each.strip() for each in given.split(",")):
            wanted = f"otlp_proto_{_otlp_protocol(environ, signal)}" if name == "otlp" else name
            if name not in {"", "none"} and wanted not in there:
                how = "" if variable_name in environ else ", opentelemetry-distro's default"
                missing.append(f"{variable_name}={name}{how}: there is no {wanted}")
    if missing:
        return fail(
            "; ".join(missing),
            "opentelemetry-instrument gives up at the first exporter that is not installed: no signal is set up, logs"
            " included.",
            "pip install opentelemetry-exporter-otlp, or set the variable to none.",
        )
    return ok("the exporters of all signals are installed")


def _otlp_protocol(environ: Mapping[str, str], signal: str) -> str:
    both = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    found = next((environ[name] for name in both if environ.get(name)), "grpc")
    return found.strip().partition("/")[0]


def _logging(subject: Subject) -> Finding:
    environ = subject.environ
    if not environ.get(_LOGS_EXPORTER, "").strip() and not environ.get("OTEL_CONFIG_FILE", "").strip():
        return skipped("opentelemetry-instrument is not set up by this environment")
    old = _is_true(environ.get("OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED", ""))
    off = environ.get("OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION", "true").strip().lower() != "true"
    disabled = {each.strip() for each in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    missing = [name for name in ("opentelemetry-distro", _LOGGING) if not version(name)]
    if old:
        return ok("the SDK's own handler, which is deprecated")
    if _LOGGING in missing or off or disabled & {"logging", "*"}:
        why = (
            f"{_LOGGING} is not installed"
            if _LOGGING in missing
            else "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION is off"
            if off
            else "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS leaves logging out"
        )
        return warn(
            f"no handler on Python's root logger: {why}",
            "Python's logging does not go to OpenTelemetry; audit and security events of its API do.",
            f"pip install {_LOGGING}, and leave OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION on.",
        )
    if missing:
        return warn(
            "opentelemetry-distro is not installed",
            "opentelemetry-instrument sets up no SDK of its own without a distro or a configurator.",
            "pip install opentelemetry-distro",
        )
    return ok(f"{_LOGGING} puts its handler on the root logger")


def _is_true(text: str) -> bool:
    try:
        return bool(text.strip()) and boolean(text)
    except ValueError:
        return False


CHECKS = (
    Check("otel.versions", _versions),
    Check("otel.disabled", _disabled),
    Check("otel.entry_point", _entry_point),
    Check("otel.exporter", _exporter, ("otel.disabled", "otel.entry_point")),
    Check("otel.signals", _signals, ("otel.disabled",)),
    Check("otel.logging", _logging, ("otel.disabled",)),
)
