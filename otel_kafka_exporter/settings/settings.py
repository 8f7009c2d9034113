"""Settings: their names, meanings, defaults, bounds and sources, all in one table.

Arguments in code and keys of OpenTelemetry's declarative file have the names below; environment variables are the same
names in capitals behind `OTEL_EXPORTER_KAFKA_`. Arguments come first, then the environment, then the defaults; unset
and empty are the same. Everything that decides whether a value is acceptable is here, in `values` and in `rules`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.records import Category, hide_userinfo

from .given import ENVIRONMENT_PREFIX, given_as, shown, suggest, variable
from .rules import check
from .values import (
    APPLICATION_KEYS,
    COMPRESSIONS,
    DURABILITIES,
    ENCODINGS,
    LOG_LEVELS,
    SUBJECTS,
    addresses,
    boolean,
    categories,
    choice,
    default_outbox,
    default_outbox_dir,
    directory,
    names,
    number,
    outbox_wanted,
    properties,
    properties_file,
    read_properties_file,
    registry_url,
    tenant,
    topic_part,
    whole_number,
)

if TYPE_CHECKING:
    from typing import Literal

#: The settings that do nothing without an outbox.
OUTBOX_SETTINGS = (
    *("outbox_dir", "outbox_max_bytes", "outbox_max_age"),
    *("outbox_dead_letters_max_bytes", "outbox_dead_letters_max_age", "durable", "durability"),
)
#: Full outboxes that a directory holds, unless that is set.
_PROCESSES = 4


def _setting(
    default: Any, parse: Callable[[Any], Any], meaning: str, *, shown: str | None = None, secret: bool = False
) -> Any:
    metadata = {"parse": parse, "meaning": meaning, "shown": str(default) if shown is None else shown, "secret": secret}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of one exporter, validated. Made by `Settings.load`."""

    bootstrap_servers: str = _setting("", addresses, "Addresses of brokers: `host:port,host:port`.", shown="required")
    encoding: Literal["json", "protobuf"] = _setting(
        "json", choice(ENCODINGS), "Encoding of the value: `json` or `protobuf`."
    )
    schema_registry_url: str | None = _setting(
        None,
        registry_url,
        "Address of a Confluent-compatible Schema Registry, for values with its frame: `http://host:port`. Requires"
        " `encoding=protobuf` and the extra `schemaregistry`.",
        shown="none",
        secret=True,
    )
    schema_registry_config: Mapping[str, Any] = _setting(
        dict,
        properties,
        "Properties of confluent-kafka's `SchemaRegistryClient`, e.g. `basic.auth.user.info=user:password`.",
        shown="none",
        secret=True,
    )
    schema_registry_subject: Literal["topic", "record", "topic_record"] = _setting(
        "topic",
        choice(SUBJECTS),
        "The subject that the schema is under: `topic` (`{topic}-value`), `record` (`onex.logging.v1.Envelope`) or"
        " `topic_record`.",
    )
    schema_registry_auto_register: bool = _setting(
        default=False,
        parse=boolean,
        meaning="Whether to register the schema if it is missing.",
        shown="false",
    )
    topic_prefix: str = _setting("", topic_part, "Prefix of the topics' names, e.g. `dev.`.", shown="empty")
    namespace: str = _setting(
        "omninode", topic_part, "First part of the event type, and so of the topic's name after the prefix."
    )
    tenant_id: str = _setting("default", tenant, "The tenant of records that name none; at most 128 characters.")
    application_key: Literal["service_name", "correlation_id", "instance_id", "none"] = _setting(
        "service_name",
        choice(APPLICATION_KEYS),
        "Key of application records, which decides their partition and order: `service_name`, `correlation_id`,"
        " `instance_id` or `none`. The key of audit and security events is their tenant.",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = _setting(
        "none",
        choice(COMPRESSIONS),
        "`none`, `gzip`, `snappy`, `lz4` or `zstd`. KafkaJS and aiokafka read only gzip without extra packages.",
    )
    producer_config: Mapping[str, Any] = _setting(
        dict,
        properties,
        "librdkafka properties: `key=value,key=value`, or a mapping.",
        shown="none",
        secret=True,
    )
    producer_config_file: str | None = _setting(
        None,
        properties_file,
        "A file of librdkafka properties, one `key=value` per line, for secrets and values with commas."
        " `producer_config` takes precedence over it.",
        shown="none",
    )
    delivery_wait: float = _setting(
        2.0,
        number(0.01, 300),
        "Seconds that an export waits for acknowledgements before its records go to the outbox.",
    )
    shutdown_timeout: float = _setting(5.0, number(0, 300), "Maximum seconds that a shutdown takes.")
    max_record_bytes: int = _setting(
        1_000_000,
        whole_number(16_384, 999_000_000),
        "Maximum bytes of a record's key, headers and value. Larger records are truncated and marked.",
    )
    full_queue_wait: float = _setting(
        0.05,
        number(0, 300),
        "Maximum seconds that a log call waits for room in the local queue, with the direct processor. An export waits"
        " for `delivery_wait`; if this is set, it waits for at most that long for each of its records.",
    )
    queue_max_records: int = _setting(100_000, whole_number(1, 10_000_000), "Maximum records in memory.")
    queue_max_bytes: int = _setting(
        64 * 1024 * 1024, whole_number(65_536, 2_000_000_000), "Maximum bytes of records in memory."
    )
    outbox: bool = _setting(
        default=default_outbox,
        parse=outbox_wanted,
        meaning="Whether to keep records that cannot be delivered at present on disk, and deliver them later.",
        shown="true; false on Windows",
    )
    outbox_dir: str = _setting(
        default_outbox_dir,
        directory,
        "Directory of the outbox, on a local file system. Processes may share it.",
        shown="user's state directory; without a home, `/var/tmp/otel-kafka-exporter-<user ID>`",
    )
    outbox_max_bytes: int = _setting(
        256 * 1024 * 1024,
        whole_number(1024 * 1024, 1 << 40),
        "Maximum bytes of one process in the outbox. To free space, dead letters are deleted first, then application"
        " records, the oldest first.",
    )
    outbox_directory_max_bytes: int | None = _setting(
        None,
        whole_number(1024 * 1024, 1 << 44),
        "Maximum bytes of all processes together below `outbox_dir`, dead processes included. Space is freed likewise.",
        shown="four times `outbox_max_bytes`",
    )
    outbox_max_age: float | None = _setting(
        None,
        number(1, 100 * 365 * 86_400),
        "Seconds after which an application record in the outbox is dropped. Audit and security events have no limit.",
        shown="none",
    )
    outbox_dead_letters_max_bytes: int | None = _setting(
        None,
        whole_number(64 * 1024, 1 << 40),
        "Maximum bytes of dead letters among them, beyond which the oldest are deleted. A single one takes at most an"
        " eighth of that, and is truncated beyond.",
        shown="a quarter of `outbox_max_bytes`",
    )
    outbox_dead_letters_max_age: float = _setting(
        30 * 86_400.0,
        number(1, 100 * 365 * 86_400),
        "Seconds after which a dead letter is deleted.",
        shown="2592000 (30 days)",
    )
    outbox_required: bool = _setting(
        default=False,
        parse=boolean,
        meaning="Whether an unusable `outbox_dir` is an error at startup. Otherwise a line says so, and records that"
        " cannot be delivered are dropped.",
        shown="false",
    )
    durable: tuple[Category, ...] = _setting(
        ("audit", "security"),
        categories,
        "Categories whose records are in the outbox when their log call returns: `audit,security`, `all` or `none`.",
        shown="audit,security",
    )
    durability: Literal["process", "power"] = _setting(
        "process",
        choice(DURABILITIES),
        "What durable records survive: `process`, the death of the process (also by SIGKILL); `power`, a power failure"
        " too, at the cost of an fsync each.",
    )
    direct: bool | None = _setting(
        None,
        boolean,
        "Under `opentelemetry-instrument`: whether to use the direct processor instead of the batch processor, whose"
        " queue is lost when a signal ends the process.",
        shown="true; with an `OTEL_BLRP_*` variable, or in the declarative file, false",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "warning",
        choice(LOG_LEVELS),
        "Level of this package's own lines on stderr, for the whole process: `info` adds a line at startup with the"
        " cluster, the way in and the outbox. librdkafka's own property `debug` adds its lines.",
    )
    redact_keys: tuple[str, ...] = _setting(
        (), names, "More keys to redact, e.g. `phone,birthday`: all keys that end in the same words.", shown="none"
    )
    redact_except: tuple[str, ...] = _setting(
        (), names, "Keys not to redact, e.g. `csrf_token`: the whole key, word by word.", shown="none"
    )
    redact_patterns: bool = _setting(
        default=False,
        parse=boolean,
        meaning="Whether to search texts for tokens, JWTs, keys, `password=…`, PEM blocks and card numbers.",
        shown="false",
    )
    large_integers: Literal["number", "text"] = _setting(
        "number",
        choice(("number", "text")),
        "How integers beyond 2**53 are written: as a number, which JavaScript and jq round, or as text.",
    )
    resource_context: tuple[str, ...] = _setting(
        (), names, "Resource attributes to copy into each context, e.g. `k8s.pod.name`.", shown="none"
    )

    @property
    def directory_max_bytes(self) -> int:
        """Bytes that all processes together keep in the outbox's directory at most."""
        return self.outbox_directory_max_bytes or _PROCESSES * self.outbox_max_bytes

    @property
    def configuration(self) -> str:
        """Names what records in an outbox are for: processes for which it is the same deliver each other's."""
        servers = ",".join(sorted(self.bootstrap_servers.split(",")))
        return hashlib.sha256(f"{servers}|{self.topic_prefix}|{self.namespace}".encode()).hexdigest()[:16]

    #: Which of them were set, and are not the default.
    given: frozenset[str] = frozenset()

    @classmethod
    def load(cls, arguments: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from arguments, then the environment, then the defaults.

        Args:
            arguments: by name; None and an empty text are as if not given.
            environ: environment variables; the process's own unless given.

        Raises:
            SettingsError: an unknown name, a wrong value, a missing required one, or two that contradict each other.
        """
        environ = os.environ if environ is None else environ
        for name in arguments:
            if name not in FIELDS:
                raise SettingsError(
                    f"{name}: expected the name of a setting, got an unknown one.{suggest(name, FIELDS)}"
                )
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, field in FIELDS.items():
            source, given = given_as(name, arguments, environ)
            if given is None:
                continue
            try:
                values[name] = field.metadata["parse"](given)
            except ValueError as error:
                got = "" if field.metadata["secret"] else f", got {shown(given)}"
                raise SettingsError(f"{source}: expected {error}{got}.") from None
            sources[name] = source
        if "producer_config_file" in values:
            from_file = read_properties_file(values["producer_config_file"])
            values["producer_config"] = {**from_file, **values.get("producer_config", {})}
        settings = cls(**values, given=frozenset(sources))
        check(settings, sources)
        return settings

    def __repr__(self) -> str:
        shown = shown_values(self)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


FIELDS: dict[str, dataclasses.Field[Any]] = {
    field.name: field for field in dataclasses.fields(Settings) if "meaning" in field.metadata
}


def shown_values(settings: Settings) -> dict[str, Any]:
    """Each setting's value by its name, as it may be seen by anybody."""
    # Properties may hold passwords, in any spelling that librdkafka has or will have: only their names are shown.
    shown = {name: getattr(settings, name) for name in FIELDS}
    shown["producer_config"] = sorted(settings.producer_config)
    shown["schema_registry_config"] = sorted(settings.schema_registry_config)
    shown["schema_registry_url"] = hide_userinfo(settings.schema_registry_url or "") or None
    return shown


def sources(arguments: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Where each setting that is given comes from, right or wrong: the name of the argument, or of the variable.

    Args:
        arguments: as of `Settings.load`.
        environ: environment variables.
    """
    found = ((name, given_as(name, arguments, environ)) for name in FIELDS)
    return {name: source for name, (source, given) in found if given is not None}


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable with our prefix that is no setting: most likely a slip of the pen."""
    known = {variable(name) for name in FIELDS}
    return [
        f"{name}: expected the name of a setting, got an unknown one; it is ignored.{suggest(name, known)}"
        for name in sorted(environ)
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known
    ]
