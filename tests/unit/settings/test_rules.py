"""Settings that contradict each other are refused, and the error says which."""

from __future__ import annotations

from typing import Any

import pytest

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.settings.given import variable
from tests.unit.settings.loading import load

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
