"""A setting comes from its argument, its variable or the original's, in this order, and an unknown name is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.settings import environment_variables
from otel_kafka_exporter.settings.arguments import SettingsArguments
from otel_kafka_exporter.settings.given import ORIGINAL_VARIABLES, variable
from otel_kafka_exporter.settings.settings import FIELDS, Settings, sources, unknown_variables
from tests.unit.settings.loading import BOOTSTRAP, SECRET, load


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
        "large_integers": ("text", "number"),
        "full_queue_wait": (1.0, "3"),
        "outbox": (False, "true"),
        "outbox_dir": ("/a", "/b"),
        "outbox_max_bytes": (2 << 20, str(3 << 20)),
        "outbox_directory_max_bytes": (1 << 30, str(1 << 31)),
        "outbox_max_age": (60.0, "120"),
        "outbox_dead_letters_max_bytes": (1 << 20, str(1 << 19)),
        "outbox_dead_letters_max_age": (60.0, "120"),
        "outbox_required": (True, "false"),
        "durable": (("security",), "all"),
        "durability": ("power", "process"),
        "log_level": ("info", "debug"),
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
    assert {"bootstrap_servers", "direct", *SettingsArguments.__annotations__} == set(FIELDS)
    assert variable("delivery_wait") == "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT"
    names = {name for name in vars(environment_variables) if name.startswith("OTEL_")}
    assert names == {variable(name) for name in FIELDS}
    assert all(getattr(environment_variables, name) == name for name in names)
    assert all(field.metadata["meaning"] for field in FIELDS.values())


def test_where_each_setting_comes_from() -> None:
    """The argument or the variable by which a setting is given is named, whether its value is right or wrong."""
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": "a:1",
        "OTEL_EXPORTER_KAFKA_TENANT_ID": "acme",
        "TENANT_ID": "other",
        "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT": "soon",
        "OTEL_EXPORTER_KAFKA_NAMESPACE": " ",
    }
    assert sources({"compression": "gzip", "encoding": None}, environ) == {
        "bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS",
        "tenant_id": "OTEL_EXPORTER_KAFKA_TENANT_ID",
        "delivery_wait": "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT",
        "compression": "compression",
    }
