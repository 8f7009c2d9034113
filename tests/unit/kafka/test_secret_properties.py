"""Which properties of the clients are secret, and what is left of a text."""

from __future__ import annotations

from typing import Any

import pytest

from otel_kafka_exporter.kafka.secret_properties import secrets_of, without

SECRET = "hunter2-3f9c0d"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
        ),
        *("sasl.oauthbearer.assertion.private.key.passphrase", "sasl.oauthbearer.assertion.private.key.pem"),
        *("sasl.oauthbearer.config", "sasl.kerberos.kinit.cmd", "bearer.auth.token", "bearer.auth.client.secret"),
    ],
)
@pytest.mark.parametrize("value", [SECRET, SECRET.encode(), 83_114, 1.25], ids=repr)
def test_a_secret_is_in_no_text(name: str, value: Any) -> None:
    """The value of a secret property is hidden wherever a text has it, also when it is no text itself."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    assert without(f"a {text} b{text}", secrets_of({name: value})) == "a [REDACTED] b[REDACTED]"


@pytest.mark.parametrize(
    "name",
    [
        *("sasl.username", "client.id", "bootstrap.servers", "sasl.mechanisms", "ssl.key.location", "group.id"),
        *("sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.client.id", "basic.auth.credentials.source"),
        *("sasl.kerberos.service.name", "sasl.oauthbearer.assertion.private.key.file"),
    ],
)
def test_what_is_no_secret_stays(name: str) -> None:
    """A line about the broker kafka-1.bank names it, whoever the user is."""
    assert without("kafka-1.bank:9092 refused", secrets_of({name: "kafka"})) == "kafka-1.bank:9092 refused"


def test_of_a_user_and_a_password_only_the_password_is_secret() -> None:
    """The user may be a part of every line; the password may have colons."""
    secrets = secrets_of({"basic.auth.user.info": "kafka:hun:ter2"})
    assert without("kafka-1 refused hun:ter2 of kafka", secrets) == "kafka-1 refused [REDACTED] of kafka"


def test_a_secret_within_another_leaves_no_rest() -> None:
    """Of two secrets of which one is a part of the other, the longer one goes first."""
    secrets = secrets_of({"sasl.password": "hunter", "ssl.key.password": "hunter-and-more"})
    assert without("hunter-and-more hunter", secrets) == "[REDACTED] [REDACTED]"


def test_userinfo_is_hidden_too() -> None:
    """The password in an endpoint's URL is no property of its own."""
    assert without("GET https://svc:hunter2@idp/token", []) == "GET https://[REDACTED]@idp/token"
