"""Settings to librdkafka's configuration: what is set for delivery's sake, what may be changed, and what contradicts.

Property names and bounds: librdkafka's CONFIGURATION.md.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.cimpl import Producer  # see producer.py

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.process import as_own_work
from otel_kafka_exporter.settings import Settings

from .secret_properties import secrets_of, without

# Ours, and open to `producer_config`.
_DEFAULTS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "client.id": "otel-kafka-exporter",
    "linger.ms": 5,
    # A key's partition is the one that the Java client and aiokafka choose; librdkafka's own default agrees for few.
    "partitioner": "murmur2_random",
    # A hung broker holds up its partitions for this long; the default is a minute.
    "socket.timeout.ms": 10_000,
    # A broker answers the requests of a connection one after the other. One for a partition whose replicas are missing
    # holds up those for its other partitions for this long; the default is half a minute. It is sent again, which an
    # idempotent producer may do.
    "request.timeout.ms": 500,
    # An outage is over for us at most this long after it is over for the cluster; the default is ten seconds.
    "reconnect.backoff.max.ms": 1_000,
    # A topic that does not exist is reported within `delivery_wait`; the default is half a minute.
    "topic.metadata.propagation.max.ms": 1_000,
    # Idle connections are closed by brokers as a matter of course.
    "log.connection.close": False,
}

_ALIASES = {
    "request.required.acks": "acks",
    "metadata.broker.list": "bootstrap.servers",
    "compression.codec": "compression.type",
    "queue.buffering.max.ms": "linger.ms",
    "delivery.timeout.ms": "message.timeout.ms",
}

_SETTING_OF = {
    "bootstrap.servers": "bootstrap_servers",
    "compression.type": "compression",
    "message.max.bytes": "max_record_bytes",
    "queue.buffering.max.messages": "queue_max_records",
    "queue.buffering.max.kbytes": "queue_max_bytes",
}

_REFUSED = {
    "delivery.report.only.error": "every record's outcome is accounted for",
    "dr_cb": "delivery reports are the exporter's",
    "error_cb": "errors are the exporter's to log",
    "logger": "librdkafka's lines go to the logger otel_kafka_exporter.librdkafka",
    "on_delivery": "delivery reports are the exporter's",
    "transactional.id": "records are produced without transactions",
}

# Names to hold a misspelt one against.
_USUAL = (
    *_DEFAULTS, *_SETTING_OF, *_ALIASES, "batch.size", "batch.num.messages", "compression.level", "max.in.flight",
    "message.timeout.ms", "metadata.max.age.ms", "reconnect.backoff.ms", "request.timeout.ms", "retries",
    "retry.backoff.ms", "sasl.mechanism", "sasl.mechanisms", "sasl.oauthbearer.config", "sasl.oauthbearer.method",
    "sasl.password", "sasl.username", "security.protocol", "socket.keepalive.enable", "ssl.ca.location",
    "ssl.certificate.location", "ssl.key.location", "ssl.key.password", "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.interval.ms",
)  # fmt: skip

_CALLBACKS = frozenset({"oauth_cb", "stats_cb", "throttle_cb"})
_WITHOUT_SASL = {"sasl_ssl": "ssl", "sasl_plaintext": "plaintext"}
_RELOGIN = "sasl.kerberos.min.time.before.relogin"

# How long librdkafka tries to deliver a record that waits in the outbox as well.
_LONG_SECONDS = 600
# How long it tries at least. After a record that it gave up an idempotent producer asks for a new ID, which takes up
# to a second: with less for the next record it would never get to send one.
_LEAST_SECONDS = 2.0

# What librdkafka counts of a record beyond key, headers and value.
_RECORD_OVERHEAD = 1_024


def librdkafka_config(settings: Settings) -> dict[str, Any]:
    """The configuration of the producer.

    Raises:
        SettingsError: `producer_config` contradicts another setting, itself, or what delivery stands on.
    """
    passed = _canonical(settings.producer_config)
    for name, reason in _REFUSED.items():
        if str(passed.pop(name, "false")).lower() != "false":
            raise SettingsError(f"producer_config: expected no {name}, because {reason}. Remove it.")
    from_settings: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        "compression.type": settings.compression,
        "message.max.bytes": settings.max_record_bytes + _RECORD_OVERHEAD,
        "queue.buffering.max.messages": settings.queue_max_records,
        "queue.buffering.max.kbytes": max(1, settings.queue_max_bytes // 1024),
    }
    for name, setting in _SETTING_OF.items():
        _check_same(name, passed, setting, settings, from_settings[name])
    config = {**_DEFAULTS, **from_settings, **passed}
    _check_acks(config)
    _check_tokens(config)
    for name, value in config.items():
        if callable(value):  # of the application's, for tokens say: it is called in the midst of ours
            config[name] = as_own_work(value)
    if not _is_idempotent(config) and "request.timeout.ms" not in passed:
        del config["request.timeout.ms"]  # to send it again could make duplicates
    given_up_after = _seconds(config.get("message.timeout.ms", 0))
    if not given_up_after:
        # With an outbox a late record is safe, and librdkafka may try for long, in order and without duplicates.
        # Without one it is to say when a record is lost.
        lingers = _seconds(config["linger.ms"])
        seconds = _LONG_SECONDS if settings.outbox else max(settings.delivery_wait, _LEAST_SECONDS, 2 * lingers)
        config["message.timeout.ms"] = math.ceil(1000 * seconds)
    elif settings.outbox and given_up_after <= settings.delivery_wait:
        raise SettingsError(
            f"producer_config: message.timeout.ms={config['message.timeout.ms']} contradicts"
            f" delivery_wait={settings.delivery_wait:g} s: a late record has to be in the outbox before librdkafka"
            " gives it up. Set a longer message.timeout.ms or a shorter delivery_wait."
        )
    return config


def _seconds(milliseconds: Any) -> float:
    """A property in seconds; 0 where it is none, of which librdkafka's own check says what is wrong."""
    try:
        return float(milliseconds) / 1000
    except (TypeError, ValueError):
        return 0.0


def check_with_librdkafka(config: Mapping[str, Any]) -> None:
    """Have librdkafka read the configuration, without anything for it to do: no address, no token, no ticket.

    Raises:
        SettingsError: it refuses a property or a value, or a file that one names cannot be read.
    """
    try:
        # With a logger, that no line goes to stderr by itself: with `debug` set librdkafka has some, of the client that
        # is asked, and of the address that it has not.
        Producer({**_idle(config), "log_level": 0}, logger=_Unheard()).flush(0)
    except (KafkaException, TypeError, ValueError) as error:
        problem = error.args[0] if error.args else error
        text = " ".join((problem.str() if isinstance(problem, KafkaError) else str(problem)).split())
        text = without(text, secrets_of(config))
        unknown = re.fullmatch(r'No such configuration property: "(.*)"', text)
        if unknown:
            close = difflib.get_close_matches(unknown[1], _USUAL, n=1, cutoff=0.7)
            text = (
                f"{text}. Did you mean {close[0]}?"
                if close
                # The rest of a password with a comma in it would stand here.
                else "a name that is none of librdkafka's (not shown, as it may be a part of a value with a comma)"
            )
        raise SettingsError(f"producer_config: expected properties that librdkafka takes, got: {text}") from None


class _Unheard:
    """Takes librdkafka's lines, and says none of them."""

    def log(self, *_: object) -> None:
        pass


def _idle(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration by which a producer starts nothing and waits for nothing, and refuses what it would refuse."""
    idle = {
        name: value
        for name, value in config.items()
        # confluent-kafka waits for the first token, whether there is an address or not. What is no function it refuses.
        if name != "bootstrap.servers" and not (name in _CALLBACKS and callable(value))
    }
    if _uses_tokens(config):
        # librdkafka may have a way to tokens, too, over the network.
        idle["security.protocol"] = _WITHOUT_SASL[str(idle["security.protocol"]).lower()]
    if str(idle.get(_RELOGIN, 0)).isdigit():
        idle[_RELOGIN] = 0  # it would run kinit
    return idle


def _uses_tokens(config: Mapping[str, Any]) -> bool:
    mechanism = config.get("sasl.mechanism", config.get("sasl.mechanisms", ""))
    is_sasl = str(config.get("security.protocol", "")).lower() in _WITHOUT_SASL
    return is_sasl and str(mechanism).upper() == "OAUTHBEARER"


def _check_tokens(config: Mapping[str, Any]) -> None:
    """A callback for tokens that is never called: confluent-kafka waits for its first one, in vain."""
    if "oauth_cb" in config and not _uses_tokens(config):
        raise SettingsError(
            "producer_config: oauth_cb contradicts the way to the brokers, which asks for no token."
            " Set security.protocol=sasl_ssl and sasl.mechanism=OAUTHBEARER, or remove oauth_cb."
        )


def _canonical(properties: Mapping[str, Any]) -> dict[str, Any]:
    canonical: dict[str, Any] = {}
    for given, value in properties.items():
        name = _ALIASES.get(given, given)
        if name in canonical and str(canonical[name]) != str(value):
            raise SettingsError(f"producer_config: expected {name} once, got it with two values, as {given} too.")
        canonical[name] = value
    return canonical


def _check_same(name: str, passed: Mapping[str, Any], setting: str, settings: Settings, ours: Any) -> None:
    if name not in passed or str(passed[name]) == str(ours):
        return
    chosen = getattr(settings, setting)
    # A record that fits its limit has to fit librdkafka's, or it would be refused where it could have been cut.
    if setting in settings.given or name == "message.max.bytes":
        raise SettingsError(f"producer_config: {name}={passed[name]} contradicts {setting}={chosen}. Set one of them.")


def _is_idempotent(config: Mapping[str, Any]) -> bool:
    return str(config["enable.idempotence"]).lower() == "true"


def _check_acks(config: Mapping[str, Any]) -> None:
    acks = str(config["acks"]).lower()
    if acks == "0":
        raise SettingsError(
            "producer_config: acks=0 contradicts the accounting, which counts what a broker acknowledged."
            " Set acks=all, or acks=1 with enable.idempotence=false."
        )
    if _is_idempotent(config) and acks not in ("all", "-1"):
        raise SettingsError(
            f"producer_config: acks={config['acks']} contradicts enable.idempotence=true, which needs acks=all."
            " Set acks=all, or enable.idempotence=false too."
        )
