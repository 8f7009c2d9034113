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
from otel_kafka_exporter.settings.settings import FIELDS, shown_values
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


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Neither repr nor str of the settings shows the value of any property, wherever it was set."""
    file = tmp_path / "kafka.properties"
    file.write_text(f"sasl.password={SECRET}\n")
    for settings in (
        load(producer_config_file=file),
        load(producer_config=f"sasl.password={SECRET},x.y={SECRET}"),
        load(producer_config={"sasl.password": SECRET, "ssl.key.pem": SECRET.encode()}),
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


def test_values_that_anybody_may_see() -> None:
    """Every setting is there, and of properties and addresses nothing that may be a secret."""
    settings = load(
        bootstrap_servers="a:1",
        encoding="protobuf",
        producer_config={"sasl.password": SECRET},
        schema_registry_url=f"http://me:{SECRET}@host:8081",
        schema_registry_config={"basic.auth.user.info": f"me:{SECRET}"},
    )
    shown = shown_values(settings)
    assert set(shown) == set(FIELDS)
    assert (shown["producer_config"], shown["schema_registry_config"]) == (["sasl.password"], ["basic.auth.user.info"])
    assert shown["schema_registry_url"] == "http://[REDACTED]@host:8081"
    assert SECRET not in str(shown)
