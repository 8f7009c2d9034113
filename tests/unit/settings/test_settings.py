"""Settings: each one's default, bounds and words, where they come from, and what a wrong one is told."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.errors import OtelKafkaError, SettingsError
from otel_kafka_exporter.settings import environment_variables
from otel_kafka_exporter.settings.settings import (
    FIELDS,
    ORIGINAL_VARIABLES,
    Settings,
    SettingsArguments,
    unknown_variables,
    variable,
)
from tests.strategies import QUICK, any_value

BOOTSTRAP = {"bootstrap_servers": "localhost:9092"}
SECRET = "hunter2-3f9c0d"

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
    "durable": ("audit", "security"),
    "durability": "process",
    "direct": False,
    "redact_patterns": False,
    "resource_context": (),
}


def load(environ: Any = None, **arguments: Any) -> Settings:
    return Settings.load({**BOOTSTRAP, **arguments}, environ or {})


def test_defaults() -> None:
    """Every setting that this version has takes the default of the contract."""
    settings = load()
    assert {name: getattr(settings, name) for name in FIELDS} == DEFAULTS


# Name, what may be given as an argument or in YAML, the same as text, and the value.
GOOD: list[tuple[str, Any, str, Any]] = [
    ("bootstrap_servers", ["a:1", "b:65535"], " a:1 , b:65535, ", "a:1,b:65535"),
    ("bootstrap_servers", "[::1]:9092", "[::1]:9092", "[::1]:9092"),
    ("bootstrap_servers", "[fe80::1%eth0]:9092", "[fe80::1%eth0]:9092", "[fe80::1%eth0]:9092"),
    ("bootstrap_servers", "broker-1.example.org:9092", "broker-1.example.org:9092", "broker-1.example.org:9092"),
    ("encoding", "JSON", " json ", "json"),
    ("encoding", "Protobuf", " PROTOBUF ", "protobuf"),
    ("topic_prefix", "dev.", "dev.", "dev."),
    ("topic_prefix", "a_B-1.", "a_B-1.", "a_B-1."),
    ("namespace", "mine", "mine", "mine"),
    ("tenant_id", "acme", "acme", "acme"),
    ("tenant_id", "é" * 128, "é" * 128, "é" * 128),
    ("application_key", "none", "NONE", "none"),
    ("application_key", "correlation_id", "correlation_id", "correlation_id"),
    ("application_key", "instance_id", "instance_id", "instance_id"),
    *(("compression", word, word.upper(), word) for word in ("none", "gzip", "snappy", "lz4", "zstd")),
    ("producer_config", {"linger.ms": 7, "b": "x,y=z"}, "linger.ms=7", None),
    ("delivery_wait", 0.01, "0.01", 0.01),
    ("delivery_wait", 300, " 300 ", 300.0),
    ("delivery_wait", 1, "1e0", 1.0),
    ("shutdown_timeout", 0, "0", 0.0),
    ("shutdown_timeout", 300.0, "300.0", 300.0),
    ("max_record_bytes", 16_384, "16384", 16_384),
    ("queue_max_records", 1, "1", 1),
    ("queue_max_records", 10_000_000, "10000000", 10_000_000),
    ("queue_max_bytes", 2_000_000_000, "2000000000", 2_000_000_000),
    ("queue_max_bytes", 1_000_000, "1000000", 1_000_000),
    ("redact_keys", ["phone", " iban "], "phone, iban,,", ("phone", "iban")),
    ("redact_except", ("csrf_token",), "csrf_token", ("csrf_token",)),
    ("resource_context", ["k8s.pod.name"], "k8s.pod.name", ("k8s.pod.name",)),
    ("full_queue_wait", 0, "0", 0.0),
    ("outbox", False, "off", False),
    ("outbox_dir", "/var/lib/shop", "/var/lib/shop", "/var/lib/shop"),
    ("outbox_dir", Path("/a/../b"), "/a/../b", "/a/../b"),
    ("outbox_max_bytes", 1 << 20, "1048576", 1 << 20),
    ("durable", "all", "ALL", ("application", "audit", "security")),
    ("durable", ["security", "audit"], "security, audit", ("audit", "security")),
    ("durable", "none", "none", ()),
    ("durability", "power", "POWER", "power"),
    ("direct", True, "true", True),
    *(("redact_patterns", yes, yes, True) for yes in ("true", "TRUE", "yes", "on", "1", " True ")),
    *(("redact_patterns", no, no, False) for no in ("false", "FALSE", "no", "off", "0")),
    ("redact_patterns", True, "true", True),
    ("redact_patterns", False, "false", False),
    ("redact_patterns", 1, "1", True),
]


@pytest.mark.parametrize(("name", "argument", "text", "value"), GOOD)
def test_good_values(name: str, argument: Any, text: str, value: Any) -> None:
    """A value of YAML's types, and its text in the environment or as an argument, give the same value."""
    if name == "producer_config":
        assert load(producer_config=argument).producer_config == argument
        assert load({variable(name): text}).producer_config == {"linger.ms": "7"}
        return
    values = [
        getattr(Settings.load({**BOOTSTRAP, name: argument}, {}), name),
        getattr(Settings.load({**BOOTSTRAP, name: text}, {}), name),
        getattr(Settings.load({}, {variable("bootstrap_servers"): "a:1", variable(name): text}), name),
    ]
    assert values == [value] * 3
    assert {type(found) for found in values} == {type(value)}


# Name, what is given, what is expected according to the message.
SECONDS = "a number of seconds from"
TOPIC_PART = "letters, digits, '.', '_' and '-', as Kafka allows in a topic's name"
NO_SECONDS: tuple[Any, ...] = (0, 0.009, 300.1, -1, "2s", "nan", "inf", True, [1], {})
NO_BOOLEAN: tuple[Any, ...] = ("maybe", 2, [], "truefalse")
BAD: list[tuple[str, Any, str]] = [
    *(
        ("bootstrap_servers", bad, "host:port,host:port")
        for bad in ("a", "a:", ":1", "a:0", "a:65536", "a:1,b", "a b:1")
    ),
    *(
        ("bootstrap_servers", bad, "host:port,host:port")
        for bad in ("kafka://a:1", "a:x", "::1:9092", ",", "[::1]", "a:1;b:2")
    ),
    *(("bootstrap_servers", bad, "host:port,host:port") for bad in (9092, ["a", 1], [["a:1"]], {"a": 1}, True, b"a:1")),
    ("bootstrap_servers", "a:\uff19\uff10\uff19\uff12", "host:port,host:port"),
    ("encoding", "avro", "json"),
    ("encoding", 1, "json"),
    *(("topic_prefix", bad, TOPIC_PART) for bad in ("a b", "a/", "é", "dev.\n", "a\0", 7, ["a"])),
    *(("namespace", bad, TOPIC_PART) for bad in ("a b", "a/", "é", "a:", 7)),
    *(("tenant_id", bad, "a text of at most 128 characters") for bad in ("x" * 129, "a\0b", "\udcff", 7, ["a"], True)),
    ("application_key", "tenant_id", "service_name or correlation_id or instance_id or none"),
    ("application_key", 7, "service_name or correlation_id or instance_id or none"),
    *(("compression", bad, "none or gzip or snappy or lz4 or zstd") for bad in ("brotli", "gzip,lz4", 1, True)),
    *(("delivery_wait", bad, f"{SECONDS} 0.01 to 300") for bad in NO_SECONDS),
    *(("delivery_wait", bad, f"{SECONDS} 0.01 to 300") for bad in (10**400, float("nan"), "1" * 5000)),
    *(("shutdown_timeout", bad, f"{SECONDS} 0 to 300") for bad in (-0.1, 301, "x", False, float("inf"))),
    *(("max_record_bytes", bad, "a whole number from 16384 to 999000000") for bad in (16_383, 999_000_001, 1e6, "1e6")),
    *(
        ("max_record_bytes", bad, "a whole number from 16384 to 999000000")
        for bad in ("1 MB", True, "1" * 5000, [16_384])
    ),
    *(("queue_max_records", bad, "a whole number from 1 to 10000000") for bad in (0, -1, 10_000_001, "many", 1.5)),
    ("queue_max_records", True, "a whole number from 1 to 10000000"),
    ("queue_max_records", 10**10_000, "a whole number from 1 to 10000000"),
    *(("queue_max_bytes", bad, "a whole number from 65536 to 2000000000") for bad in (65_535, 2_000_000_001, "64MiB")),
    *(("redact_keys", bad, "names with commas between them") for bad in (7, [7], {"a": 1}, True, b"a")),
    ("redact_except", 7, "names with commas between them"),
    ("resource_context", [None], "names with commas between them"),
    ("outbox_dir", 7, "the path of a directory"),
    ("outbox_max_bytes", 1000, "a whole number from 1048576 to"),
    ("durable", "audits", "names from application, audit, security"),
    ("durable", "all,audit", "names from application, audit, security"),
    ("durability", "disk", "process or power"),
    *(("redact_patterns", bad, "true or false") for bad in NO_BOOLEAN),
    ("producer_config_file", "/does/not/exist", "a readable properties file"),
    ("producer_config_file", 7, "the path of a properties file"),
    ("producer_config_file", "/", "a readable properties file"),
    ("producer_config_file", "a\0b", "a readable properties file"),
]


def short(value: object) -> str:
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**20 else "huge"
    return text[:30]


@pytest.mark.parametrize(("name", "value", "expected"), BAD, ids=short)
def test_bad_values(name: str, value: Any, expected: str) -> None:
    """A wrong value is a SettingsError that says where it was set, what was expected, and what was got."""
    places: list[tuple[str, dict[str, Any], dict[str, str]]] = [(name, {name: value}, {})]
    if isinstance(value, str) and "\0" not in value:
        places.append((variable(name), {}, {variable(name): value}))
    for source, arguments, environ in places:
        given = arguments if name in arguments or name == "bootstrap_servers" else {**BOOTSTRAP, **arguments}
        with pytest.raises(SettingsError) as raised:
            Settings.load({**({} if name == "bootstrap_servers" else BOOTSTRAP), **given}, environ)
        message = str(raised.value)
        assert message.startswith(f"{source}: expected {expected}")
        assert ", got " in message
        assert len(message) < 400


@pytest.mark.parametrize(
    ("low", "high", "name"), [(16_384, 999_000_000, "max_record_bytes"), (65_536, 2_000_000_000, "queue_max_bytes")]
)
def test_bounds_are_inclusive(low: int, high: int, name: str) -> None:
    """The bounds themselves are accepted, each beside a partner that it does not contradict."""
    partner = {"max_record_bytes": 16_384, "queue_max_bytes": 2_000_000_000}
    for value in (low, high):
        assert getattr(load(**{**partner, name: value}), name) == value


def test_errors_are_of_both_trees() -> None:
    """A SettingsError is one of this package's errors, and a ValueError for those who know nothing of it."""
    with pytest.raises(SettingsError) as raised:
        load(compression="x")
    assert isinstance(raised.value, OtelKafkaError)
    assert isinstance(raised.value, ValueError)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


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


@pytest.mark.parametrize("name", sorted(name for name in FIELDS if not name.startswith("schema_registry")))
def test_arguments_go_before_the_environment(name: str, tmp_path: Path) -> None:
    """An argument goes before the environment variable, and that before the default."""
    file = tmp_path / "a.properties"
    file.write_text("linger.ms=9")
    given: dict[str, tuple[Any, str]] = {
        "bootstrap_servers": ("a:1", "b:2"),
        "topic_prefix": ("a.", "b."),
        "namespace": ("a", "b"),
        "tenant_id": ("a", "b"),
        "application_key": ("none", "instance_id"),
        "compression": ("gzip", "lz4"),
        "producer_config": ({"linger.ms": 1}, "linger.ms=2"),
        "delivery_wait": (1.0, "3"),
        "shutdown_timeout": (1.0, "3"),
        "max_record_bytes": (20_000, "30000"),
        "queue_max_records": (20_000, "30000"),
        "queue_max_bytes": (2_000_000, "3000000"),
        "redact_keys": (("a",), "b"),
        "redact_except": (("a",), "b"),
        "redact_patterns": (True, "false"),
        "full_queue_wait": (1.0, "3"),
        "outbox": (False, "true"),
        "outbox_dir": ("/a", "/b"),
        "outbox_max_bytes": (2 << 20, str(3 << 20)),
        "durable": (("security",), "all"),
        "durability": ("power", "process"),
        "direct": (True, "false"),
        "resource_context": (("a",), "b"),
        "encoding": ("json", "avro"),
        "producer_config_file": (str(file), "/does/not/exist"),
    }
    argument, text = given[name]
    environ = {variable("bootstrap_servers"): "z:9", variable(name): text}
    assert getattr(Settings.load({name: argument}, environ), name) == (
        argument if name != "producer_config" else {"linger.ms": 1}
    )
    if text not in ("avro", "/does/not/exist"):
        assert getattr(Settings.load({}, environ), name) != getattr(Settings.load({name: argument}, environ), name)


@pytest.mark.parametrize(("name", "original"), ORIGINAL_VARIABLES.items())
def test_original_variables(name: str, original: str) -> None:
    """The original's variables are read where ours and the argument are unset or empty, and never otherwise."""
    assert original in ("KAFKA_BOOTSTRAP_SERVERS", "TENANT_ID")
    ours = variable(name)
    base = {} if name == "bootstrap_servers" else {"KAFKA_BOOTSTRAP_SERVERS": "z:9"}
    cases: list[tuple[dict[str, Any], dict[str, str], str]] = [
        ({}, {original: "o:1"}, "o:1"),
        ({}, {original: "o:1", ours: ""}, "o:1"),
        ({name: None}, {original: "o:1", ours: "  "}, "o:1"),
        ({name: ""}, {original: "o:1", ours: "e:1"}, "e:1"),
        ({name: "a:1"}, {original: "o:1", ours: "e:1"}, "a:1"),
    ]
    for arguments, environ, expected in cases:
        assert getattr(Settings.load(arguments, {**base, **environ}), name) == expected


def test_an_original_variable_is_named_when_it_is_wrong() -> None:
    """A wrong value of the original's variable is reported under its own name."""
    with pytest.raises(SettingsError, match=r"^KAFKA_BOOTSTRAP_SERVERS: expected host:port"):
        Settings.load({}, {"KAFKA_BOOTSTRAP_SERVERS": "nonsense"})
    with pytest.raises(SettingsError, match=r"^TENANT_ID: expected a text of at most 128"):
        Settings.load(BOOTSTRAP, {"TENANT_ID": "x" * 129})


def test_the_publishers_switch_is_no_setting() -> None:
    """`KAFKA_ENABLE_LOGGING_EVENTS` is the publisher's and means nothing here."""
    assert load({"KAFKA_ENABLE_LOGGING_EVENTS": "nonsense"}) == load()


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"bootstrap_servers"}))
@pytest.mark.parametrize("empty", ["", " ", "\t\n", None])
def test_empty_is_unset(name: str, empty: str | None) -> None:
    """An empty value, as an argument or in the environment, is as if it were not there."""
    assert load(**{name: empty}) == load()
    if empty is not None:
        assert load({variable(name): empty}) == load()


def test_bootstrap_servers_are_required() -> None:
    """Without an address the error says how to give one."""
    for environ in ({}, {variable("bootstrap_servers"): ""}, {"KAFKA_BOOTSTRAP_SERVERS": " "}):
        with pytest.raises(SettingsError) as raised:
            Settings.load({}, environ)
        assert str(raised.value).startswith("bootstrap_servers: expected host:port, got nothing.")
        assert "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS" in str(raised.value)


def test_the_processes_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's environment is read unless another is given."""
    for name in [name for name in os.environ if name.startswith("OTEL_EXPORTER_KAFKA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS", "mine:1")
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_DELIVERY_WAIT", "3")
    settings = Settings.load({})
    assert (settings.bootstrap_servers, settings.delivery_wait) == ("mine:1", 3.0)


@pytest.mark.parametrize(
    ("given", "suggestion"),
    [("compresion", "Did you mean compression?"), ("boostrap_servers", "bootstrap_servers"), ("zzzzzz", "Known are ")],
)
def test_unknown_arguments(given: str, suggestion: str) -> None:
    """An unknown name is an error with the name that was most likely meant, or with all of them."""
    with pytest.raises(
        SettingsError, match=rf"^{given}: expected the name of a setting, got an unknown one."
    ) as raised:
        load(**{given: "x"})
    assert suggestion in str(raised.value)


def test_unknown_variables() -> None:
    """Variables with our prefix that are no setting are told one by one, and no others."""
    environ = {variable(name): "x" for name in FIELDS} | {
        "OTEL_EXPORTER_KAFKA_COMPRESION": SECRET,
        "OTEL_EXPORTER_KAFKA_": "x",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "x",
        "KAFKA_BOOTSTRAP_SERVERS": "x",
    }
    lines = unknown_variables(environ)
    assert len(lines) == 2
    assert "OTEL_EXPORTER_KAFKA_COMPRESION" in lines[1]
    assert "Did you mean OTEL_EXPORTER_KAFKA_COMPRESSION?" in lines[1]
    assert SECRET not in "".join(lines)
    assert unknown_variables({}) == []


def test_names_are_the_same_everywhere() -> None:
    """Arguments, variables and the names that opentelemetry-instrument makes flags of are one list."""
    assert {"bootstrap_servers", *SettingsArguments.__annotations__} == set(FIELDS)
    assert variable("delivery_wait") == "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT"
    names = {name for name in vars(environment_variables) if name.startswith("OTEL_")}
    assert names == {variable(name) for name in FIELDS}
    assert all(getattr(environment_variables, name) == name for name in names)
    assert all(field.metadata["meaning"] for field in FIELDS.values())


# --- rules that more than one setting takes part in


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


# --- properties


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": "1"}),
        (" a = 1 , b=2,", {"a": "1", "b": "2"}),
        ("a=b=c==", {"a": "b=c=="}),
        ("a=", {"a": ""}),
    ],
)
def test_properties(text: str, expected: dict[str, str]) -> None:
    """`key=value` pairs may have blanks around them, and more equals signs in the value."""
    assert load(producer_config=text).producer_config == expected
    assert load({variable("producer_config"): text}).producer_config == expected


@pytest.mark.parametrize(
    "bad", [SECRET, f"a=1,{SECRET}", f"={SECRET}", f"a=1, ={SECRET}", [SECRET], {1: SECRET}, {"": SECRET}, {None: 1}, 7]
)
def test_bad_properties(bad: Any) -> None:
    """Properties that cannot be read are an error that shows none of what was given: it may be a password."""
    with pytest.raises(SettingsError, match=r"^producer_config: expected ") as raised:
        load(producer_config=bad)
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(raised.value)


def test_which_property_is_wrong() -> None:
    """An item or a line that cannot be read is named by its place."""
    with pytest.raises(SettingsError, match="key=value in item 2; values with commas belong into producer_config_file"):
        load(producer_config="a=1,b,c=2")


def test_property_file(tmp_path: Path) -> None:
    """A file has a property a line, comments and blank lines apart; producer_config goes before it."""
    file = tmp_path / "kafka.properties"
    file.write_text("# comment\n! another\n\n  # indented\n a = 1,2 \nb=x=y\r\nc=é\n", encoding="utf-8")
    for path in (file, str(file)):
        assert load(producer_config_file=path).producer_config == {"a": "1,2", "b": "x=y", "c": "é"}
    settings = load({variable("producer_config_file"): str(file)}, producer_config={"b": 2})
    assert settings.producer_config == {"a": "1,2", "b": 2, "c": "é"}
    assert settings.producer_config_file == str(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"a=1\n{SECRET}\n".encode(), "key=value in line 2"),
        (b"\xff=" + SECRET.encode(), "not UTF-8"),
        (b"=1", "line 1"),
    ],
)
def test_bad_property_files(content: bytes, problem: str, tmp_path: Path) -> None:
    """A file that cannot be read is an error that says what is wrong with it, and shows none of its lines."""
    file = tmp_path / "kafka.properties"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^producer_config_file: expected ") as raised:
        load(producer_config_file=str(file))
    assert problem in str(raised.value)
    assert SECRET not in str(raised.value)


def test_missing_property_file(tmp_path: Path) -> None:
    """A file that is not there is told by its path and the system's reason."""
    with pytest.raises(SettingsError, match="No such file or directory") as raised:
        load(producer_config_file=str(tmp_path / "missing"))
    assert "missing" in str(raised.value)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Neither repr nor str of the settings shows the value of any property, wherever it was set."""
    file = tmp_path / "kafka.properties"
    file.write_text(f"sasl.password={SECRET}\n")
    for settings in (
        load(producer_config_file=file),
        load(producer_config=f"sasl.password={SECRET},x.y={SECRET}"),
        load(producer_config={"sasl.password": SECRET, "ssl.key.pem": [SECRET]}),
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
