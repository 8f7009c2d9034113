"""Settings are complete and consistent, never change, and show no secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.errors import OtelKafkaError, SettingsError
from otel_kafka_exporter.settings.settings import FIELDS, variable
from tests.strategies import QUICK, any_value
from tests.unit.settings.loading import SECRET, load

DEFAULTS: dict[str, Any] = {
    "bootstrap_servers": "localhost:9092",
    "encoding": "json",
    "schema_registry_url": None,
    "schema_registry_config": {},
    "schema_registry_subject": "topic",
    "schema_registry_auto_register": False,
    "topic_prefix": "",
    "namespace": "omninode",
    "tenant_id": "default",
    "application_key": "service_name",
    "compression": "none",
    "producer_config": {},
    "producer_config_file": None,
    "delivery_wait": 2.0,
    "shutdown_timeout": 5.0,
    "max_record_bytes": 1_000_000,
    "queue_max_records": 100_000,
    "queue_max_bytes": 64 * 1024 * 1024,
    "redact_keys": (),
    "redact_except": (),
    "full_queue_wait": 0.05,
    "outbox": True,
    "outbox_dir": str(platformdirs.user_state_path("otel-kafka-exporter", appauthor=False) / "outbox"),
    "outbox_max_bytes": 256 * 1024 * 1024,
    "outbox_directory_max_bytes": None,
    "outbox_max_age": None,
    "outbox_dead_letters_max_bytes": None,
    "outbox_dead_letters_max_age": 30 * 86_400.0,
    "outbox_required": False,
    "durable": ("audit", "security"),
    "durability": "process",
    "log_level": "warning",
    "direct": None,
    "redact_patterns": False,
    "large_integers": "number",
    "resource_context": (),
}


def test_defaults() -> None:
    """Every setting that this version has takes the default of the contract."""
    settings = load()
    assert {name: getattr(settings, name) for name in FIELDS} == DEFAULTS


def test_errors_are_of_both_trees() -> None:
    """A SettingsError is one of this package's errors, and a ValueError for those who know nothing of it."""
    with pytest.raises(SettingsError) as raised:
        load(compression="x")
    assert isinstance(raised.value, OtelKafkaError)
    assert isinstance(raised.value, ValueError)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


# The Schema Registry


REGISTRY = {"encoding": "protobuf", "schema_registry_url": "http://registry:8081"}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("schema_registry_url", " https://a:1/x , http://user:pw@b ", "https://a:1/x,http://user:pw@b"),
        (
            "schema_registry_config",
            "timeout=1,basic.auth.user.info=u:p",
            {"timeout": "1", "basic.auth.user.info": "u:p"},
        ),
        ("schema_registry_config", {"timeout": 1}, {"timeout": 1}),
        ("schema_registry_subject", "Topic_Record", "topic_record"),
        ("schema_registry_auto_register", "yes", True),
    ],
)
def test_settings_of_the_schema_registry(name: str, given: Any, value: Any) -> None:
    """They go with encoding=protobuf and an address, as arguments and in the environment; alone they are refused."""
    assert getattr(load(**{**REGISTRY, name: given}), name) == value
    if isinstance(given, str):
        assert getattr(load({variable(name): given}, **{k: v for k, v in REGISTRY.items() if k != name}), name) == value
    with pytest.raises(SettingsError, match=f"^{name}: expected encoding=protobuf beside it, got json"):
        load(**{name: given})
    if name != "schema_registry_url":
        with pytest.raises(SettingsError, match=f"^{name}: expected schema_registry_url beside it, got nothing"):
            load(encoding="protobuf", **{name: given})


@pytest.mark.parametrize(
    "address", ["registry:8081", "ftp://registry", "http://", "http:// x", 7, ["http://a"], "http://a,,"]
)
def test_an_address_of_no_registry(address: Any) -> None:
    """What is no http address is refused without being shown, as it may hold a password."""
    with pytest.raises(SettingsError) as raised:
        load(encoding="protobuf", schema_registry_url=address)
    assert str(raised.value) == "schema_registry_url: expected http://host:port or https://host:port."


def test_secrets_of_the_schema_registry_are_not_shown() -> None:
    """Neither the address's password nor a property is in the settings' representation."""
    shown = repr(
        load(encoding="protobuf", schema_registry_url="http://u:hunter2@r", schema_registry_config="a=hunter2")
    )
    assert "hunter2" not in shown
    assert "//[REDACTED]@r" in shown


# Rules that more than one setting takes part in


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        ({"topic_prefix": "x" * 220}, "topic_prefix"),
        ({"namespace": "x" * 230}, "namespace"),
        ({"topic_prefix": "x" * 120, "namespace": "y" * 120}, "topic_prefix"),
    ],
)
def test_topics_that_are_too_long(arguments: dict[str, str], source: str) -> None:
    """A prefix and a namespace that make a topic of more than 249 characters are an error that says so."""
    with pytest.raises(SettingsError, match=f"^{source}: expected topics of at most 249 characters, got "):
        load(**arguments)
    with pytest.raises(SettingsError, match=rf"^{variable(source)}: expected topics"):
        load({variable(name): value for name, value in arguments.items()})


def test_longest_topic() -> None:
    """A topic of exactly 249 characters is accepted."""
    longest = 249 - len("omninode.logging.application.v1")
    assert load(topic_prefix="x" * longest).topic_prefix == "x" * longest
    with pytest.raises(SettingsError):
        load(topic_prefix="x" * (longest + 1))


def test_a_queue_that_holds_no_record() -> None:
    """A queue that is smaller than one record is an error that names both settings, whichever was set."""
    cases = (
        ({"queue_max_bytes": 999_999}, "queue_max_bytes"),
        ({"max_record_bytes": 100_000_000}, "max_record_bytes"),
        ({"queue_max_bytes": 65_536, "max_record_bytes": 65_537}, "queue_max_bytes"),
    )
    for arguments, source in cases:
        with pytest.raises(SettingsError, match=f"^{source}: expected ") as raised:
            load(**arguments)
        assert "queue_max_bytes" in str(raised.value)
        assert "max_record_bytes" in str(raised.value)
    assert load(queue_max_bytes=65_536, max_record_bytes=65_536).queue_max_bytes == 65_536


# All of them


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Neither repr nor str of the settings shows the value of any property, wherever it was set."""
    file = tmp_path / "kafka.properties"
    file.write_text(f"sasl.password={SECRET}\n")
    for settings in (
        load(producer_config_file=file),
        load(producer_config=f"sasl.password={SECRET},x.y={SECRET}"),
        load(producer_config={"sasl.password": SECRET, "ssl.key.pem": SECRET}),
    ):
        assert "sasl.password" in repr(settings)
        assert SECRET not in repr(settings)
        assert SECRET not in f"{settings} {settings!s} {[settings]}"


def test_settings_are_frozen() -> None:
    """Settings do not change once they are made, and what a caller passed in does not change them."""
    config = {"linger.ms": 1}
    settings = load(producer_config=config)
    config["linger.ms"] = 2
    assert settings.producer_config == {"linger.ms": 1}
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.tenant_id = "x"  # type: ignore[misc]  # that it fails is the promise


@QUICK
@given(st.sampled_from(sorted(FIELDS)), any_value)
def test_any_argument(name: str, value: Any) -> None:
    """Whatever is given, the settings are made or a SettingsError says what was expected."""
    try:
        assert load(**{name: value}).bootstrap_servers
    except SettingsError as error:
        assert "expected" in str(error)  # noqa: PT017 - either outcome keeps the promise
