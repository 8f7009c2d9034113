"""A setting's value is accepted in each of its forms, and a wrong one is told what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.settings.given import variable
from otel_kafka_exporter.settings.settings import Settings
from otel_kafka_exporter.settings.values import properties, read_properties_file
from tests.strategies import Rude
from tests.unit.settings.loading import BOOTSTRAP, SECRET, load

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
    ("outbox_directory_max_bytes", 1 << 28, "268435456", 1 << 28),
    ("outbox_max_age", 60, "60", 60.0),
    ("outbox_dead_letters_max_bytes", 65_536, "65536", 65_536),
    ("outbox_dead_letters_max_age", 60, "60", 60.0),
    ("durable", "all", "ALL", ("application", "audit", "security")),
    ("durable", ["security", "audit"], "security, audit", ("audit", "security")),
    ("durable", "none", "none", ()),
    ("durability", "power", "POWER", "power"),
    ("log_level", "info", "INFO", "info"),
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
    ("outbox_directory_max_bytes", 1000, "a whole number from 1048576 to"),
    ("outbox_dead_letters_max_bytes", 1000, "a whole number from 65536 to"),
    ("outbox_dead_letters_max_age", 0, "a number of seconds from 1 to"),
    ("durable", "audits", "names from application, audit, security"),
    ("durable", "all,audit", "names from application, audit, security"),
    ("durability", "disk", "process or power"),
    ("log_level", "loud", "debug or info or warning or error"),
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


# Properties


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


@pytest.mark.parametrize("name", ["outbox", "outbox_required", "direct"])
def test_what_is_no_switch_is_not_asked_for_its_text(name: str) -> None:
    """A value whose text cannot be had, or whose making would end the process, is a wrong value like any other."""
    with pytest.raises(SettingsError, match=f"{name}: expected true or false"):
        load(**{name: Rude(SystemExit)})


def test_a_properties_file_of_an_editor_of_windows(tmp_path: Path) -> None:
    """A byte order mark is no part of the first name, and lines may end in CR and LF."""
    path = tmp_path / "client.properties"
    path.write_bytes("\ufeffacks=all\r\nlinger.ms=7\r\n".encode())
    assert read_properties_file(path) == {"acks": "all", "linger.ms": "7"}


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x0c", "\x0b", "\x85", "\x1c"], ids=ascii)
def test_only_ends_of_lines_end_a_line(odd: str, tmp_path: Path) -> None:
    """A password keeps what some take for the end of a line."""
    path = tmp_path / "client.properties"
    path.write_text(f"sasl.password=hun{odd}ter2\nacks=all\n", encoding="utf-8")
    assert read_properties_file(path) == {"sasl.password": f"hun{odd}ter2", "acks": "all"}


@pytest.mark.parametrize("value", [None, ["a", "b"], ("a",), {"a"}])
def test_a_property_has_one_value(value: Any) -> None:
    """Nothing and lists are refused, and the error names the property."""
    with pytest.raises(ValueError, match=r"one value for ssl\.ca\.location"):
        properties({"ssl.ca.location": value})


@pytest.mark.parametrize("value", [83, True])
def test_a_password_is_a_text(value: Any) -> None:
    """YAML makes 83 of 0123, and true of yes: a secret has to be in quotes, and the error does not show it."""
    with pytest.raises(ValueError, match=r"a text for sasl\.password, in quotes") as caught:
        properties({"sasl.password": value})
    assert str(value) not in str(caught.value)
    assert properties({"sasl.password": "0123", "linger.ms": 7}) == {"sasl.password": "0123", "linger.ms": 7}
