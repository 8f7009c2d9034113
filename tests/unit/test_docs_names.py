"""Whatever documents name exists: settings, variables, metrics, reasons, commands with their options, public names."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

import otel_kafka_exporter
from otel_kafka_exporter import testing
from otel_kafka_exporter.cli.root import cli
from otel_kafka_exporter.process import LIBRDKAFKA_LOGGER
from otel_kafka_exporter.settings import variable
from otel_kafka_exporter.settings.settings import FIELDS

from .test_docs import DOCUMENTS, ROOT, blocks
from .test_docs_reasons import documented

#: What users read. Decisions of long ago name what there was then.
PAGES = [path for path in DOCUMENTS if "adr" not in path.parts and path.name != "CHANGELOG.md"]
PACKAGES = {"otel_kafka_exporter": otel_kafka_exporter, "otel_kafka_exporter.testing": testing}
#: Words that begin settings' names; what else begins so is a reason, or one of these.
FIRST_WORDS = {name.split("_")[0] for name in FIELDS if "_" in name}
OTHERS = {
    "schema_ref",  # a key of the envelope
    "max_tokens",  # a key that is shown
    "log_records",  # a module
    "topic_record",  # a subject
}


def texts(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def spans(path: Path) -> list[str]:
    """A document's code within its sentences, a line break in it as the blank that it is."""
    prose = re.sub(r"^```.*?^```", "", texts(path), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def names(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=path.name) for path in paths]


@pytest.mark.parametrize("page", names(PAGES))
def test_variables_are_settings(page: Path) -> None:
    """Each variable with our prefix is that of a setting, in programs as in sentences."""
    named = set(re.findall(r"\bOTEL_EXPORTER_KAFKA_[A-Z_]*[A-Z]\b", texts(page)))
    assert named <= {variable(name) for name in FIELDS}


@pytest.mark.parametrize("page", names(PAGES))
def test_settings_exist(page: Path) -> None:
    """What begins as the names of settings do is a setting or a reason."""
    known = {*FIELDS, *documented(), *OTHERS}
    words = {re.split(r"[=:( ]", span)[0] for span in spans(page)}
    named = {word for word in words if re.fullmatch(r"[a-z]+(_[a-z]+)+", word) and word.split("_")[0] in FIRST_WORDS}
    assert named <= known


@pytest.mark.parametrize("page", names(PAGES))
def test_public_names_are_public(page: Path) -> None:
    """What programs and sentences import from this package is exported by it."""
    for package, imported in re.findall(
        r"from (otel_kafka_exporter(?:\.testing)?) import (\([^)]*\)|[^\n`]+)", texts(page)
    ):
        for name in re.findall(r"\w+", imported):
            assert name in PACKAGES[package].__all__, name


def commands(path: Path) -> list[str]:
    lines = "".join((*blocks(path, "bash"), *blocks(path, "sh"))).splitlines()
    shown = [line.strip() for line in lines] + spans(path)
    return [each for each in shown if each.startswith("otel-kafka ")]


@pytest.mark.parametrize("page", names([path for path in PAGES if commands(path)]))
def test_commands_and_their_options_exist(page: Path) -> None:
    """Each command line of ours names a command, and options that it has."""
    for line in commands(page):
        command: click.Command = cli
        for word in shlex.split(line.split(" #")[0].split(" -- ")[0].split(" | ")[0], comments=True)[1:]:
            if isinstance(command, click.Group) and not word.startswith("-"):
                for one in re.sub(r"\W*$", "", word).split("|"):  # `apply|check`
                    assert one in command.commands or one.isupper(), line
                command = command.commands.get(word.split("|")[0], command)
            elif word.lstrip("[").startswith("--") and len(word) > len("--"):
                option = re.match(r"\[?(--[a-z-]+)", word)
                assert option, line
                there = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
                assert option[1] in there | {"--help", "--version"}, line


@pytest.mark.parametrize("page", names(PAGES))
def test_variables_of_options_exist(page: Path) -> None:
    """`OTEL_KAFKA_TAIL_UTC` and its like are a command's and an option's."""
    there: set[str] = set()

    def walk(command: click.Command, path: str) -> None:
        there.update(f"{path}_{option.name}".upper() for option in command.params if option.name)
        for name, each in getattr(command, "commands", {}).items():
            walk(each, f"{path}_{name}")

    walk(cli, "OTEL_KAFKA")
    named = set(re.findall(r"\bOTEL_KAFKA_[A-Z_]*[A-Z]\b", texts(page))) - {"OTEL_KAFKA_PROBE"}
    assert named <= there


@pytest.mark.parametrize("page", names(PAGES))
def test_metrics_exist(page: Path) -> None:
    """Each name below the package's is a metric, a logger, a module, or a public name."""
    source = "".join(map(texts, (ROOT / "otel_kafka_exporter").rglob("*.py")))
    for span in spans(page):
        found = re.fullmatch(r"(otel_kafka_exporter|otel\.sdk\.exporter)\.([a-z_.]+[a-z])(\(\))?", span)
        if not found or f'"{span}"' in source or span == LIBRDKAFKA_LOGGER:
            continue
        module, _, name = span.removesuffix("()").rpartition(".")
        assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(span), span
