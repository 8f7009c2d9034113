"""Which texts are secrets, and that none is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_kafka_exporter.cli.doctor.masking import Masking
from otel_kafka_exporter.settings import Settings

PROPERTIES = "OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG"


@pytest.mark.parametrize(
    ("environ", "secrets"),
    [
        ({"DB_PASSWORD": "aaa111"}, ["aaa111"]),
        ({"GITHUB_TOKEN": "aaa111"}, ["aaa111"]),
        ({PROPERTIES: "sasl.username=bob,sasl.password=aaa111, ssl.key.password = bbb222"}, ["aaa111", "bbb222"]),
        ({PROPERTIES: "sasl.password=aaa,rest222,more333"}, ["aaa", "rest222", "more333"]),
        ({PROPERTIES: "some.future.thing=ccc333"}, ["ccc333"]),
        ({PROPERTIES: "sasl.password=12345678"}, ["12345678"]),
        ({"OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_CONFIG": "basic.auth.user.info=me:aaa111"}, ["aaa111"]),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer aaa111"}, ["Bearer aaa111"]),
        ({"PROXY": "http://me:aaa111@proxy:3128"}, ["me:aaa111", "aaa111"]),
    ],
)
def test_secrets_of_the_environment(environ: dict[str, str], secrets: list[str]) -> None:
    """Values of properties, of variables with the name of a secret, and credentials in addresses are hidden."""
    masking = Masking(environ)
    for secret in secrets:
        assert masking.text(f"it is {secret}, so") == "it is [REDACTED], so"


def test_what_is_no_secret_stays() -> None:
    """Words and numbers of properties that everybody may see are not hidden in every sentence."""
    properties = "security.protocol=SASL_SSL,sasl.mechanism=PLAIN,linger.ms=100,batch.size=9092,sasl.username=bob"
    text = "bob at localhost:9092 by SASL_SSL and PLAIN, 100 times, true"
    assert Masking({PROPERTIES: properties, "SESSION_TOKEN": "true"}).text(text) == text


def test_credentials_in_an_address_that_nobody_told_of() -> None:
    """They are hidden by where they stand, however short."""
    assert Masking({}).text("see https://a:b@host/x and http://c@host") == (
        "see https://[REDACTED]@host/x and http://[REDACTED]@host"
    )


def test_secrets_of_a_file(tmp_path: Path) -> None:
    """What the settings have read from a file is hidden too, as text and as it stands in a repr or in JSON."""
    file = tmp_path / "producer.properties"
    file.write_text("sasl.password=pass\\word\n")
    masking = Masking({})
    masking.add_settings(Settings.load({"bootstrap_servers": "a:1", "producer_config_file": file}, {}))
    for text in ("pass\\word", repr("pass\\word")[1:-1]):
        assert masking.text(f"<{text}>") == "<[REDACTED]>"


def test_the_longest_goes_first() -> None:
    """A secret that begins with another one does not leave its end."""
    masking = Masking({"A_TOKEN": "abc", "B_TOKEN": "abcdef"})
    assert masking.text("abcdef abc") == "[REDACTED] [REDACTED]"


def test_a_working_directory_is_no_secret() -> None:
    """A shell's PWD is a directory that paths begin with; a password of that name in a longer one is hidden."""
    masking = Masking({"PWD": "/srv/shop", "OLDPWD": "/srv", "DB_PWD": "hunter2"})
    assert masking.text("/srv/shop/outbox hunter2") == "/srv/shop/outbox [REDACTED]"
