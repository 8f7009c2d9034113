"""What the exporter would be made of, and where each value came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.cli.connection import connection_properties
from otel_kafka_exporter.kafka import check_with_librdkafka, librdkafka_config
from otel_kafka_exporter.settings import (
    ORIGINAL_VARIABLES,
    Settings,
    shown_values,
    sources,
    unknown_variables,
    variable,
)

from .check import Check, Finding, fail, ok, skipped, warn
from .subject import Subject, parse_address

_CONFIG_FILE = "OTEL_CONFIG_FILE"


def _values(subject: Subject) -> Finding:
    found = sources(subject.arguments, subject.environ)
    try:
        settings = Settings.load(subject.arguments, subject.environ)
    except SettingsError as error:
        return fail(
            str(error),
            "An exporter with these settings refuses to start, or takes no records.",
            "Correct what the line names. Variables of a shell that were not exported, of another container or of"
            " another user are not seen here.",
            set=found,
        )
    subject.masking.add_settings(settings)
    subject.settings = settings
    subject.usable = [parse_address(each) for each in settings.bootstrap_servers.split(",")]
    shown = {
        name: {"value": value, "source": found.get(name, "default")} for name, value in shown_values(settings).items()
    }
    shown["producer_config"]["source"] = _of_properties(settings, found)
    lines = tuple(
        f"{name}={_line_of(value['value'])} by {value['source']}"
        for name, value in shown.items()
        if value["source"] != "default"
    )
    return ok("given are, besides the defaults:", settings=shown)._replace(lines=lines)


def _of_properties(settings: Settings, found: Mapping[str, str]) -> str:
    """Where librdkafka's properties come from: what is given goes before the file."""
    places = [found[name] for name in ("producer_config", "producer_config_file") if name in found]
    return " and ".join(places) if settings.producer_config else "default"


def _line_of(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _unknown(subject: Subject) -> Finding:
    found = unknown_variables(subject.environ)
    if found:
        return warn(
            " ".join(found),
            "What it was to set has its default instead.",
            "Correct the name; README.md has the table of settings.",
        )
    return ok("every variable OTEL_EXPORTER_KAFKA_... is a setting")


def _several(subject: Subject) -> Finding:
    contradictions = []
    for name, original in ORIGINAL_VARIABLES.items():
        ours, theirs = (subject.environ.get(each, "").strip() for each in (variable(name), original))
        if ours and theirs and ours != theirs:
            contradictions.append(f"{variable(name)} takes precedence over {original}, which says something else")
    given = [name for name in sources({}, subject.environ).values() if name.startswith("OTEL_EXPORTER_KAFKA_")]
    if subject.environ.get(_CONFIG_FILE, "").strip() and given:
        contradictions.append(
            f"{_CONFIG_FILE} is set beside {', '.join(sorted(given))}, and takes precedence over them"
        )
    if contradictions:
        return warn(
            "; ".join(contradictions),
            "Two parts of one service may send to two places, or a value that was changed has no effect.",
            "Keep one of them. The line says which one counts.",
        )
    return ok("one configuration")


def _client(subject: Subject) -> Finding:
    settings = subject.settings
    try:
        for name in _FILES:
            if name in settings.producer_config:
                _read(name, str(settings.producer_config[name]))
        connection = connection_properties(settings)
        config = librdkafka_config(settings)
        check_with_librdkafka(config)
    except SettingsError as error:
        return fail(
            str(error),
            "The client cannot be made: an exporter with these settings takes no records.",
            "Correct the property or the file that the line names; a file has to be readable by this user"
            f" ({os.geteuid()}).",
        )
    subject.client = connection
    effective: dict[str, Any] = {name: config[name] for name in sorted(config) if name not in settings.producer_config}
    return ok(f"librdkafka takes them; security.protocol={subject.protocol}", properties=effective)


#: librdkafka says that one of them failed, not which, nor why.
_FILES = tuple(f"ssl.{each}.location" for each in ("ca", "certificate", "key", "keystore", "crl"))


def _read(name: str, path: str) -> None:
    """SettingsError when a file, or a directory, cannot be read."""
    if name == "ssl.ca.location" and path == "probe":
        return
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        raise SettingsError(f"{name}: expected a file that can be read, got {path}: {error.strerror}.") from None


def _file(subject: Subject) -> Finding:
    path = subject.settings.producer_config_file
    if path is None:
        return skipped("there is no producer_config_file")
    mode = os.stat(path).st_mode  # noqa: PTH116 - one word
    if mode & 0o007:
        return warn(
            f"{path}: every user of this machine may read it (mode {mode & 0o777:o})",
            "A password in it is no secret.",
            "chmod 600, owned by the user that the service runs as.",
        )
    return ok(f"{path} is not readable by everybody")


CHECKS = (
    Check("settings.values", _values),
    Check("settings.unknown", _unknown),
    Check("settings.several", _several),
    Check("settings.file", _file, ("settings.values",)),
    Check("settings.client", _client, ("settings.values",)),
)
