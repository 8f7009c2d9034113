"""Texts, numbers and mappings to a setting's value, and which are acceptable.

Each function takes what a caller, a YAML file or the environment gave, and returns the value, or raises a `ValueError`
that completes the sentence "expected …" (and says what to do, where that is not plain).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from otel_kafka_exporter.process import HAS_FILE_LOCKS
from otel_kafka_exporter.records import CATEGORIES, Category, KeyRedaction

APPLICATION_KEYS = ("service_name", "correlation_id", "instance_id", "none")
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
ENCODINGS = ("json", "protobuf")
DURABILITIES = ("process", "power")
LOG_LEVELS = ("debug", "info", "warning", "error")
SUBJECTS = ("topic", "record", "topic_record")

_MAX_PORT = 65_535
_MAX_TENANT_LENGTH = 128
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\],]+):(?P<port>[0-9]{1,5})")
_is_secret = KeyRedaction().is_sensitive
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def addresses(value: Any) -> str:
    """`host:port,host:port`, or a sequence of `host:port`."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, Sequence) or not all(isinstance(address, str) for address in given):
        raise ValueError("host:port,host:port")
    found = [address.strip() for address in given if address.strip()]
    for address in found:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match["port"]) <= _MAX_PORT:
            raise ValueError("host:port,host:port with ports from 1 to 65535 (an IPv6 host stands in brackets)")
    if not found:
        raise ValueError("host:port,host:port")
    return ",".join(found)


def choice(choices: Sequence[str]) -> Callable[[Any], str]:
    """One of a few words, in any case of letters."""

    def parse(value: Any) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in choices:
            raise ValueError(" or ".join(choices))
        return word

    return parse


def number(least: float, most: float) -> Callable[[Any], float]:
    """A number of seconds within bounds."""

    def parse(value: Any) -> float:
        problem = f"a number of seconds from {least:g} to {most:g}"
        try:
            parsed = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(problem) from None
        if not least <= parsed <= most:
            raise ValueError(problem)
        return parsed

    return parse


def whole_number(least: int, most: int) -> Callable[[Any], int]:
    """A whole number within bounds."""

    def parse(value: Any) -> int:
        problem = f"a whole number from {least} to {most}"
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(problem)
        try:
            parsed = int(value)
        except ValueError:
            raise ValueError(problem) from None
        if not least <= parsed <= most:
            raise ValueError(problem)
        return parsed

    return parse


def boolean(value: Any) -> bool:
    """true or false, as a bool or as a word."""
    word = str(value).strip().lower() if isinstance(value, (bool, int, str)) else ""
    if word not in _TRUE + _FALSE:
        raise ValueError("true or false")
    return word in _TRUE


def names(value: Any) -> tuple[str, ...]:
    """`a,b`, or a sequence of texts."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise ValueError("names with commas between them")
    return tuple(name.strip() for name in given if name.strip())


def topic_part(value: Any) -> str:
    """A part of a topic's name, by Kafka's rule for topic names."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise ValueError("letters, digits, '.', '_' and '-', as Kafka allows in a topic's name")
    return value


def categories(value: Any) -> tuple[Category, ...]:
    """`audit,security`, a sequence of categories, `all` or `none`."""
    problem = f"names from {', '.join(CATEGORIES)} with commas between them, or all, or none"
    try:
        given = {name.lower() for name in names(value)}
    except ValueError:
        raise ValueError(problem) from None
    if given in ({"all"}, {"none"}):
        return CATEGORIES if given == {"all"} else ()
    if not given <= set(CATEGORIES):
        raise ValueError(problem)
    return tuple(category for category in CATEGORIES if category in given)


def default_outbox_dir() -> str:
    """The place of the outbox in the user's state directory, e.g. `~/.local/state/otel-kafka-exporter/outbox`.

    Without a home directory (no `HOME` and no passwd entry, or `/`, as for a container's arbitrary user) it is
    `/var/tmp/otel-kafka-exporter-<user ID>`. Never raises: who has no outbox needs no such place either.
    """
    try:
        path = platformdirs.user_state_path("otel-kafka-exporter", appauthor=False)
        has_home = path.parents[2] != Path("/") or "XDG_STATE_HOME" in os.environ or _user_id() == 0
        if has_home and path.is_absolute():  # older releases of platformdirs leave "~" where it leads nowhere
            return str(path / "outbox")
    except (RuntimeError, KeyError, OSError, IndexError):
        pass
    return f"/var/tmp/otel-kafka-exporter-{_user_id()}"  # noqa: S108 - another user's there is not trusted


def _user_id() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1  # not on Windows


def outbox_wanted(value: Any) -> bool:
    """Whether there is an outbox."""
    wanted = boolean(value)
    if wanted and not HAS_FILE_LOCKS:
        raise ValueError("false on an operating system without flock(), as Windows is")
    return wanted


def default_outbox() -> bool:
    """Whether there is one unless something is said."""
    return HAS_FILE_LOCKS


def directory(value: Any) -> str:
    """The path of a directory; it is made when it is needed."""
    if not isinstance(value, (str, os.PathLike)) or "\0" in os.fspath(value):
        raise ValueError("the path of a directory")
    try:
        return str(Path(value).expanduser().absolute())
    except (RuntimeError, OSError):  # no home directory; a relative path in a directory that was removed
        raise ValueError("the path of a directory from / on, where no home or current directory is known") from None


def tenant(value: Any) -> str:
    """A tenant's ID."""
    # The environment gives bytes that are not UTF-8 as lone surrogates.
    if not isinstance(value, str) or re.search("[\0\ud800-\udfff]", value) or len(value) > _MAX_TENANT_LENGTH:
        raise ValueError(f"a text of at most {_MAX_TENANT_LENGTH} characters, without NUL, that UTF-8 can carry")
    return value


def registry_url(value: Any) -> str:
    """`http://host:port`, or several with commas."""
    given = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    if not given or not all(re.fullmatch(r"https?://[^\s/]\S*", part) for part in given):
        raise ValueError("http://host:port or https://host:port")
    return ",".join(given)


def properties(value: Any) -> dict[str, Any]:
    """`key=value,key=value`, or a mapping; values stay as they are."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key for key in value):
            raise ValueError("a mapping of librdkafka property names to values")
        for key, each in value.items():
            if each is None or isinstance(each, (list, tuple, set, Mapping, bytes, bytearray)):
                raise ValueError(f"one value for {key}, a text or a number, and not {type(each).__name__}")
            if isinstance(each, int) and _is_secret(key):  # YAML has read 0123 as 83 already
                raise ValueError(f"a text for {key}, in quotes, and not {type(each).__name__}")
        return dict(value)
    if not isinstance(value, str):
        raise ValueError("key=value,key=value or a mapping")
    return _pairs(enumerate(value.split(","), start=1), "item", "; values with commas belong into producer_config_file")


def properties_file(value: Any) -> str:
    """The path of a file of properties that can be read."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError("the path of a properties file")
    read_properties_file(value)
    return os.fspath(value)


def read_properties_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The properties in a file: `key=value` a line; blank lines and those that start with # or ! do not count."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # some editors put a mark before the first line
    except (OSError, ValueError) as error:
        raise ValueError(
            f"a readable properties file ({getattr(error, 'strerror', None) or 'not UTF-8, or no path'})"
        ) from None
    lines = (
        # At ends of lines only: a password may have what else `splitlines` takes for one, U+2028 say.
        (at, line)
        for at, line in enumerate(text.split("\n"), start=1)
        if not line.lstrip().startswith(("#", "!"))
    )
    return _pairs(lines, "line", "")


def _pairs(numbered: Any, kind: str, hint: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at, pair in numbered:
        if not pair.strip():
            continue
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            # The text itself may be a password whose key was forgotten: only its place is named.
            raise ValueError(f"key=value in {kind} {at}{hint}")
        found[key.strip()] = value.strip()
    return found
