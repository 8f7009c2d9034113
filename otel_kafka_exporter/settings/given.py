"""Where a setting is given, and as what: its argument, else its environment variable, else the original's."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from otel_kafka_exporter.errors import SettingsError

from .values import boolean

ENVIRONMENT_PREFIX = "OTEL_EXPORTER_KAFKA_"
#: Variables of the publisher that this package replaces, read where ours is unset.
ORIGINAL_VARIABLES = {"bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS", "tenant_id": "TENANT_ID"}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def given_as(name: str, arguments: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, Any]:
    """Where a setting was set, and to what; None when it was not."""
    candidates = [(name, arguments.get(name)), (variable(name), environ.get(variable(name)))]
    if name in ORIGINAL_VARIABLES:
        original = ORIGINAL_VARIABLES[name]
        candidates.append((original, environ.get(original)))
    for source, value in candidates:
        if value is not None and not (isinstance(value, str) and not value.strip()):
            return source, value
    return name, None


def refuse_argument(name: str, arguments: Mapping[str, Any], instead: str) -> None:
    """Raise for a setting that would do nothing as an argument where it is given.

    Args:
        name: the setting.
        arguments: as of `Settings.load`.
        instead: what to do; a sentence.

    Raises:
        SettingsError: it is among them.
    """
    source, given = given_as(name, arguments, {})
    if given is not None:
        raise SettingsError(f"{source}: expected no such argument here, got {shown(given)}. {instead}")


def flag(name: str, environ: Mapping[str, str] | None = None) -> bool | None:
    """A setting that is true or false, from the environment alone; None where it is not set.

    Raises:
        SettingsError: it is something else.
    """
    source, given = given_as(name, {}, os.environ if environ is None else environ)
    try:
        return None if given is None else boolean(given)
    except ValueError as error:
        raise SettingsError(f"{source}: expected {error}, got {shown(given)}.") from None


def suggest(name: str, known: Iterable[str]) -> str:
    """The known name that was most likely meant, or all of them; a sentence."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]}?" if close else f" Known are {', '.join(sorted(known))}."


def shown(value: object) -> str:
    """A wrong value as an error may show it."""
    try:
        text = repr(value)
    except ValueError:  # an integer that is too long to be written
        text = f"an {type(value).__name__} of more digits than Python writes"
    text = re.sub(r"[^\s,'\"]+@", "[REDACTED]@", text)  # credentials before an address
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line of a terminal
