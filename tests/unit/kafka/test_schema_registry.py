"""What the registry's client is told of an address with a user and a password."""

from __future__ import annotations

import pytest

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.kafka.schema_registry import SchemaRegistry


def registry(url: str, **config: str) -> SchemaRegistry:
    given = {name.replace("_", "."): value for name, value in config.items()}
    return SchemaRegistry(url, given, "topic", auto_register=False)


@pytest.mark.parametrize(
    ("url", "bare", "credentials"),
    [
        ("http://svc:hunter2@a:1", "http://a:1", "svc:hunter2"),
        ("http://svc:hun%2Fter%402@a:1", "http://a:1", "svc:hun/ter@2"),
        ("http://svc:hun/ter@a:1/x", "http://a:1/x", "svc:hun/ter"),
        ("http://svc:hunter2@a:1,http://svc:hunter2@b:1", "http://a:1,http://b:1", "svc:hunter2"),
        ("http://svc:hunter2@a:1,http://b:1", "http://a:1,http://b:1", "svc:hunter2"),
        ("http://token@a:1", "http://a:1", "token:"),
        ("http://a:1", "http://a:1", None),
    ],
)
def test_the_address_has_no_password(url: str, bare: str, credentials: str | None) -> None:
    """The client, which logs addresses, has the user and the password apart from them."""
    made = registry(url)
    assert made.url == made._config["url"] == bare
    assert made._config.get("basic.auth.user.info") == credentials


def test_two_users_are_refused() -> None:
    """The client has one user for all addresses; an error says so, without a password."""
    with pytest.raises(SettingsError, match="the same user and password in each address") as caught:
        registry("http://svc:hunter2@a:1,http://svc:hunter3@b:1")
    assert "hunter" not in str(caught.value)


def test_a_user_in_two_places_is_refused() -> None:
    """The address and the properties cannot both have one; the error names what to remove."""
    with pytest.raises(SettingsError, match=r"no basic.auth.user.info beside a user in schema_registry_url") as caught:
        registry("http://svc:hunter2@a:1", basic_auth_user_info="svc:hunter3")
    assert "hunter" not in str(caught.value)
