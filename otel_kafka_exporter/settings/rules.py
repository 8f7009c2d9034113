"""The rules that more than one setting takes part in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from otel_kafka_exporter.errors import SettingsError

from .given import variable

if TYPE_CHECKING:
    from .settings import Settings  # which is checked while it is made

_REGISTRY_SETTINGS = ("schema_registry_config", "schema_registry_subject", "schema_registry_auto_register")
_MAX_TOPIC_LENGTH = 249
_LONGEST_EVENT_TYPE = ".logging.application.v1"


def check(settings: Settings, sources: Mapping[str, str]) -> None:
    """Raise where settings contradict each other, or one is missing that others need.

    Args:
        settings: each of a value that is acceptable by itself.
        sources: where each that is given comes from.

    Raises:
        SettingsError: they do.
    """
    if not settings.bootstrap_servers:
        raise SettingsError(
            "bootstrap_servers: expected host:port, got nothing."
            f" Set {variable('bootstrap_servers')}, or the argument bootstrap_servers."
        )
    _check_registry(settings, sources)
    if settings.outbox_required and not settings.outbox:
        raise SettingsError(f"{sources['outbox_required']}: expected outbox=true beside it, got false.")
    dead_letters = settings.outbox_dead_letters_max_bytes
    if dead_letters is not None and dead_letters > settings.outbox_max_bytes:
        raise SettingsError(
            f"{sources['outbox_dead_letters_max_bytes']}: expected no more than outbox_max_bytes"
            f" ({settings.outbox_max_bytes}), got {dead_letters}."
        )
    in_all = settings.outbox_directory_max_bytes
    if in_all is not None and in_all < settings.outbox_max_bytes:
        raise SettingsError(
            f"{sources['outbox_directory_max_bytes']}: expected at least outbox_max_bytes"
            f" ({settings.outbox_max_bytes}), got {in_all}."
        )
    longest = len(settings.topic_prefix + settings.namespace + _LONGEST_EVENT_TYPE)
    if longest > _MAX_TOPIC_LENGTH:
        source = sources.get("topic_prefix") or sources["namespace"]
        raise SettingsError(
            f"{source}: expected topics of at most {_MAX_TOPIC_LENGTH} characters, got {longest}."
            " Shorten topic_prefix or namespace."
        )
    if settings.queue_max_bytes < settings.max_record_bytes:
        source = sources.get("queue_max_bytes") or sources["max_record_bytes"]
        raise SettingsError(
            f"{source}: expected queue_max_bytes to hold at least one record,"
            f" got {settings.queue_max_bytes} with max_record_bytes={settings.max_record_bytes}."
        )


def _check_registry(settings: Settings, sources: Mapping[str, str]) -> None:
    if settings.encoding != "protobuf":
        for name in ("schema_registry_url", *_REGISTRY_SETTINGS):
            if name in settings.given:
                raise SettingsError(f"{sources[name]}: expected encoding=protobuf beside it, got {settings.encoding}.")
    elif settings.schema_registry_url is None:
        for name in _REGISTRY_SETTINGS:
            if name in settings.given:
                raise SettingsError(f"{sources[name]}: expected schema_registry_url beside it, got nothing.")
