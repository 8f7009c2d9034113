"""The settings as typed keyword arguments, for `Unpack`; a test holds their names against the table of settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class CommonArguments(TypedDict, total=False):
    """The settings as keyword arguments, but for those that are spelt out where they are taken.

    And for `direct`, by which OpenTelemetry's own set-up chooses a processor: in code that is done by choosing it.
    """

    encoding: str | None
    schema_registry_url: str | None
    schema_registry_config: str | Mapping[str, Any] | None
    schema_registry_subject: str | None
    schema_registry_auto_register: bool | str | None
    topic_prefix: str | None
    namespace: str | None
    tenant_id: str | None
    application_key: str | None
    compression: str | None
    producer_config: str | Mapping[str, Any] | None
    producer_config_file: str | os.PathLike[str] | None
    delivery_wait: float | str | None
    shutdown_timeout: float | str | None
    max_record_bytes: int | str | None
    full_queue_wait: float | str | None
    queue_max_records: int | str | None
    queue_max_bytes: int | str | None
    outbox_dir: str | os.PathLike[str] | None
    outbox_max_bytes: int | str | None
    outbox_directory_max_bytes: int | str | None
    outbox_max_age: float | str | None
    outbox_dead_letters_max_bytes: int | str | None
    outbox_dead_letters_max_age: float | str | None
    outbox_required: bool | str | None
    durable: str | Sequence[str] | None
    durability: str | None
    log_level: str | None
    redact_keys: str | Sequence[str] | None
    redact_except: str | Sequence[str] | None
    redact_patterns: bool | str | None
    large_integers: str | None
    resource_context: str | Sequence[str] | None


class SettingsArguments(CommonArguments, total=False):
    """The settings as keyword arguments; `bootstrap_servers` is spelt out where it is taken."""

    outbox: bool | str | None
