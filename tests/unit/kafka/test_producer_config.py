"""Settings to librdkafka's configuration, and what contradicts what."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from opentelemetry.trace import get_current_span

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.kafka.producer_config import check_with_librdkafka, librdkafka_config
from otel_kafka_exporter.process import OWN_TRACE_ID
from otel_kafka_exporter.settings.settings import Settings

SECRET = "hunter2-3f9c0d"
TOKENS = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "OAUTHBEARER"}


def config(properties: Any = None, **settings: Any) -> dict[str, Any]:
    """What the producer is made with."""
    given = {"bootstrap_servers": "localhost:9092", "producer_config": properties, **settings}
    return librdkafka_config(Settings.load(given, {}))


def test_defaults() -> None:
    """What the contract says of the producer is what librdkafka is told, and librdkafka takes it."""
    made = config()
    assert {name: made[name] for name in ("acks", "enable.idempotence", "compression.type", "linger.ms")} == {
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "none",
        "linger.ms": 5,
    }
    assert made["partitioner"] == "murmur2_random"
    assert made["socket.timeout.ms"] == 10_000
    assert made["request.timeout.ms"] == 500
    assert made["bootstrap.servers"] == "localhost:9092"
    assert made["queue.buffering.max.messages"] == 100_000
    assert made["queue.buffering.max.kbytes"] == 64 * 1024
    assert made["message.max.bytes"] >= 1_000_000
    check_with_librdkafka(made)


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"compression": "zstd"}, "compression.type", "zstd"),
        ({"queue_max_records": 7}, "queue.buffering.max.messages", 7),
        ({"queue_max_bytes": 2_000_000}, "queue.buffering.max.kbytes", 1953),
        ({"bootstrap_servers": "a:1,b:2"}, "bootstrap.servers", "a:1,b:2"),
    ],
)
def test_settings_reach_librdkafka(settings: dict[str, Any], name: str, value: Any) -> None:
    """A setting that is librdkafka's business becomes its property."""
    assert config(**settings)[name] == value
    check_with_librdkafka(config(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_record_bytes": 16_384},
        {"max_record_bytes": 999_000_000, "queue_max_bytes": 2_000_000_000},
        {"queue_max_records": 1},
        {"queue_max_records": 10_000_000},
        {"queue_max_bytes": 65_536, "max_record_bytes": 65_536},
        {"queue_max_bytes": 2_000_000_000},
        *({"compression": word} for word in ("gzip", "snappy", "lz4", "zstd")),
    ],
    ids=str,
)
def test_librdkafka_takes_what_the_settings_allow(settings: dict[str, Any]) -> None:
    """A value within a setting's bounds is within librdkafka's."""
    check_with_librdkafka(config(**settings))


def test_what_could_be_sent_twice_is_not_sent_again_soon() -> None:
    """Without idempotence a request that no broker has answered yet is given librdkafka's own half a minute."""
    made = config(producer_config={"enable.idempotence": "false"})
    assert "request.timeout.ms" not in made
    assert (
        config(producer_config={"enable.idempotence": "false", "request.timeout.ms": "7"})["request.timeout.ms"] == "7"
    )


@pytest.mark.parametrize("name", ["linger.ms", "client.id", "partitioner", "socket.timeout.ms", "log.connection.close"])
def test_our_defaults_may_be_changed(name: str) -> None:
    """What is only a default gives way to a property that is passed through."""
    value = {"linger.ms": 7, "client.id": "me", "partitioner": "random", "socket.timeout.ms": 99}.get(name, "true")
    assert config({name: value})[name] == value
    assert config(f"{name}={value}")[name] == str(value)


def test_any_property_is_passed_through() -> None:
    """Properties that this package knows nothing of reach librdkafka as they are."""
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": SECRET,
    }
    made = config(properties)
    assert {name: made[name] for name in properties} == properties
    check_with_librdkafka(made)


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("request.required.acks", "acks", "all"),
        ("compression.codec", "compression.type", "gzip"),
        ("queue.buffering.max.ms", "linger.ms", "7"),
        ("delivery.timeout.ms", "message.timeout.ms", "9000"),
    ],
)
def test_aliases(alias: str, name: str, value: str) -> None:
    """A property under librdkafka's other name is the same property: it does not stand beside our default."""
    made = config({alias: value})
    assert made[name] == value
    assert alias not in made
    check_with_librdkafka(made)


def test_an_alias_and_its_name_that_differ() -> None:
    """A property that is given twice, under both of its names, with two values is an error that names both."""
    with pytest.raises(SettingsError, match=r"^producer_config: .*linger\.ms.*queue\.buffering\.max\.ms"):
        config({"linger.ms": 1, "queue.buffering.max.ms": 2})
    assert config({"linger.ms": 1, "queue.buffering.max.ms": "1"})["linger.ms"] == "1"


CONTRADICTIONS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"compression.type": "lz4"}, {"compression": "gzip"}, "compression.type=lz4", "compression=gzip"),
    ({"compression.codec": "lz4"}, {"compression": "gzip"}, "compression.type=lz4", "compression=gzip"),
    ({"compression.type": "lz4"}, {"compression": "none"}, "compression.type=lz4", "compression=none"),
    ({"bootstrap.servers": "b:1"}, {}, "bootstrap.servers=b:1", "bootstrap_servers=localhost:9092"),
    ({"metadata.broker.list": "b:1"}, {}, "bootstrap.servers=b:1", "bootstrap_servers=localhost:9092"),
    ({"message.max.bytes": 5000}, {"max_record_bytes": 20_000}, "message.max.bytes=5000", "max_record_bytes=20000"),
    (
        {"message.max.bytes": 5000},
        {"max_record_bytes": 1_000_000},
        "message.max.bytes=5000",
        "max_record_bytes=1000000",
    ),
    ({"message.max.bytes": 5000}, {}, "message.max.bytes=5000", "max_record_bytes=1000000"),
    (
        {"queue.buffering.max.messages": 5},
        {"queue_max_records": 6},
        "queue.buffering.max.messages=5",
        "queue_max_records=6",
    ),
    (
        {"queue.buffering.max.messages": 5},
        {"queue_max_records": 100_000},
        "queue.buffering.max.messages=5",
        "queue_max_records=100000",
    ),
    (
        {"queue.buffering.max.kbytes": 5000},
        {"queue_max_bytes": 2_000_000},
        "queue.buffering.max.kbytes=5000",
        "queue_max_bytes=2000000",
    ),
    ({"acks": "0"}, {}, "acks=0", "accounting"),
    ({"request.required.acks": 0}, {}, "acks=0", "accounting"),
    ({"acks": 0, "enable.idempotence": False}, {}, "acks=0", "accounting"),
    ({"acks": "1"}, {}, "acks=1", "enable.idempotence=true"),
    ({"acks": 1, "enable.idempotence": "true"}, {}, "acks=1", "enable.idempotence=true"),
]


@pytest.mark.parametrize(("properties", "settings", "one", "other"), CONTRADICTIONS, ids=str)
def test_contradictions(properties: dict[str, Any], settings: dict[str, Any], one: str, other: str) -> None:
    """A property that contradicts a setting, or another property, is an error that names both sides."""
    with pytest.raises(SettingsError, match=r"^producer_config: ") as raised:
        config(properties, **settings)
    assert one in str(raised.value)
    assert other in str(raised.value)


@pytest.mark.parametrize(
    ("properties", "settings"),
    [
        ({"compression.type": "gzip"}, {"compression": "gzip"}),
        ({"compression.type": "gzip"}, {}),
        ({"bootstrap.servers": "localhost:9092"}, {}),
        ({"queue.buffering.max.messages": "6"}, {"queue_max_records": 6}),
        ({"acks": "all"}, {}),
        ({"acks": -1}, {}),
        ({"acks": 1, "enable.idempotence": False}, {}),
        ({"acks": "1", "enable.idempotence": "false"}, {}),
        ({"enable.idempotence": False}, {}),
        ({"delivery.report.only.error": False}, {}),
        ({"delivery.report.only.error": "false"}, {}),
    ],
)
def test_what_agrees(properties: dict[str, Any], settings: dict[str, Any]) -> None:
    """What says the same, or nothing against it, is accepted by us and by librdkafka."""
    check_with_librdkafka(config(properties, **settings))


@pytest.mark.parametrize(
    "name", ["delivery.report.only.error", "dr_cb", "error_cb", "logger", "on_delivery", "transactional.id"]
)
def test_what_delivery_stands_on(name: str) -> None:
    """Properties that would take the delivery's ground away are refused, with the reason."""
    with pytest.raises(SettingsError, match=f"^producer_config: expected no {name}, because "):
        config({name: "true"})


@pytest.mark.parametrize(
    ("properties", "settings"),
    [
        ({"no.such.property": "x"}, {}),
        ({"linger.ms": "soon"}, {}),
        ({"max.in.flight.requests.per.connection": 6}, {}),
        ({"ssl.ca.location": "/does/not/exist", "security.protocol": "ssl"}, {}),
        ({"linger.ms": [1]}, {}),
        ({"linger.ms": None, "acks": object()}, {"compression": "gzip"}),
        ({**TOKENS, "oauth_cb": "no function"}, {}),
        ({**TOKENS, "oauthcb": print}, {}),
        ({**TOKENS, "sasl.oauthbearer.method": "nonsense"}, {}),
        ({**TOKENS, "sasl.oauthbearer.method": "oidc"}, {}),  # and no address to ask
        ({"security.protocol": "sasl_ssl", "sasl.mechanism": "NONSENSE"}, {}),
        ({"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN"}, {}),  # and no user
        ({"security.protocol": "nonsense", "sasl.mechanism": "OAUTHBEARER"}, {}),
        ({**TOKENS, "security.protocol": "sasl_ssl", "ssl.ca.location": "/does/not/exist"}, {}),
        ({"sasl.kerberos.min.time.before.relogin": "soon"}, {}),
        ({"stats_cb": 1}, {}),
    ],
)
def test_what_librdkafka_refuses(properties: dict[str, Any], settings: dict[str, Any]) -> None:
    """What librdkafka refuses is a SettingsError when the exporter is made, and not a lost record later."""
    with pytest.raises(SettingsError, match=r"^producer_config: "):
        check_with_librdkafka(config(properties, **settings))


def test_no_callback_is_called() -> None:
    """Checking a configuration asks the application for no token, and waits for none."""
    asked: list[str] = []
    check_with_librdkafka(config({**TOKENS, "oauth_cb": asked.append}))
    check_with_librdkafka(config({**TOKENS, "security.protocol": "SASL_SSL", "oauth_cb": asked.append}))
    assert not asked


def test_no_token_is_fetched() -> None:
    """Checking a configuration has librdkafka ask nobody for a token either."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        oidc = {
            **TOKENS,
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "shop",
            "sasl.oauthbearer.client.secret": "s3cret",
            "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{server.getsockname()[1]}/token",
        }
        check_with_librdkafka(config(oidc))
        server.settimeout(0)
        with pytest.raises(BlockingIOError):  # nobody has come
            server.accept()


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"security.protocol": "ssl"},
        {"security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-256"},
        {"sasl.mechanism": "OAUTHBEARER"},
    ],
)
def test_a_callback_for_tokens_that_nobody_asks_for(properties: dict[str, Any]) -> None:
    """A client with such a one is never made: confluent-kafka waits for its first token in vain."""
    with pytest.raises(SettingsError, match=r"^producer_config: oauth_cb contradicts .*sasl\.mechanism=OAUTHBEARER"):
        config({**properties, "oauth_cb": print})


def test_nothing_is_connected_to() -> None:
    """Checking a configuration connects to no broker and takes no time."""
    check_with_librdkafka(config(bootstrap_servers="192.0.2.1:9092"))


@pytest.mark.parametrize(
    "properties",
    [
        f"sasl.password=abc,{SECRET}=def",
        {"security.protocol": "ssl", "ssl.key.pem": SECRET},
        {"sasl.password": SECRET, "no.such.property": "x"},
        {"sasl.password": SECRET, "acks": "1"},
        {"sasl.password": SECRET, "bootstrap.servers": "b:1"},
        {"sasl.password": SECRET, "transactional.id": SECRET},
    ],
    ids=["a password with a comma", "a key", "another wrong", "acks", "servers", "refused"],
)
def test_secrets_are_not_in_messages(properties: Any) -> None:
    """No message shows what may be a password, the rest of one behind a comma included."""
    with pytest.raises(SettingsError) as raised:
        check_with_librdkafka(config(properties))
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_messages_are_one_line() -> None:
    """A wrong property is told in one line."""
    for properties in ({"message.max.bytes": "5"}, {"no.such": "x"}, {"linger.ms": "-5"}):
        with pytest.raises(SettingsError) as raised:
            check_with_librdkafka(config(properties))
        assert "\n" not in str(raised.value)


def test_a_callback_works_for_us() -> None:
    """What a callback logs is marked as of our own work, on whichever thread librdkafka calls it."""
    seen: list[int] = []
    made = config({"stats_cb": lambda _: seen.append(get_current_span().get_span_context().trace_id)})
    made["stats_cb"]("{}")
    assert seen == [OWN_TRACE_ID]


def test_a_check_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """With `debug` set, the client that reads the configuration writes no line past our logger, nor of any address."""
    check_with_librdkafka(config({"debug": "all"}))
    with pytest.raises(SettingsError, match="debug"):
        check_with_librdkafka(config({"debug": "everything"}))
    assert capfd.readouterr() == ("", "")
