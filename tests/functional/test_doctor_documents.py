"""What the documents say of `otel-kafka doctor` holds."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from otel_kafka_exporter.cli.doctor.catalogue import CHECKS
from otel_kafka_exporter.cli.doctor.child_checks import CHILD_CHECKS
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.doctoring import SERVERS, examine
from tests.functional.tails import Done, tail
from tests.functional.test_doctor_network import TOPICS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "command-line.md"
TROUBLES = ROOT / "docs" / "troubleshooting.md"


def section() -> str:
    return PAGE.read_text(encoding="utf-8").partition("\n## `otel-kafka doctor`")[2].partition("\n## ")[0]


def doctor(*arguments: str, **variables: str) -> Done:
    return tail(*arguments, command=("doctor",), **variables)


def test_every_check_has_its_anchor() -> None:
    """docs/troubleshooting.md has one for each check, and none for what is no check."""
    anchors = re.findall(r'<a id="([^"]+)"></a>\*\*`([^`]+)`\*\*', TROUBLES.read_text(encoding="utf-8"))
    assert all(anchor == name for anchor, name in anchors)
    ids = [check.id for check in (*CHECKS, *CHILD_CHECKS)]
    assert sorted(anchor for anchor, _ in anchors) == sorted(ids)
    assert all(check.doc == f"docs/troubleshooting.md#{check.id}" for check in (*CHECKS, *CHILD_CHECKS))


def test_what_a_check_stands_on_comes_before_it() -> None:
    """Each check's prerequisites are checks, and are asked before it."""
    for checks in (CHECKS, CHILD_CHECKS):
        asked: set[str] = set()
        for check in checks:
            assert set(check.after) <= asked, check.id
            asked.add(check.id)
        assert len(asked) == len(checks)


@pytest.mark.parametrize("document", ["the page", "--help"])
def test_every_example_runs(
    embedded_kafka: EmbeddedKafka, document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command that is shown can be pasted, and what it examines is healthy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    for name, value in {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "app.py").write_text("import threading; threading.Event().wait(60)")
    for topic in TOPICS:
        embedded_kafka.create_topic(topic)
    text = section() if document == "the page" else doctor("--help").output.decode()
    examples = re.findall(r"^ *(otel-kafka doctor.*?)(?: \| .*)?$", text, re.MULTILINE)
    assert len(examples) >= 6
    for example in examples:
        _, _, *arguments = shlex.split(example)
        # The embedded broker names no controller, which is a warning.
        strict = ["--skip", "cluster.controller"] if "--strict" in arguments else []
        variables = {SERVERS: embedded_kafka.bootstrap_servers, "OTEL_LOGS_EXPORTER": "onex_kafka"}
        done = doctor(*strict, *arguments, **variables)
        assert done.code == 0, (example, done.output)


def test_the_document_on_the_page_has_the_keys_that_are_written() -> None:
    """`--json` has the keys of the page's example, in their order, each with a value of its type."""
    [example] = map(json.loads, re.findall(r"^```json\n(.*?)^```", section(), re.DOTALL | re.MULTILINE))
    written = examine("127.0.0.1:9").document
    check = next(each for each in written["checks"] if each["id"] == "network.tcp")
    assert list(example) == list(written)
    assert {key: type(value) for key, value in example.items()} == {key: type(written[key]) for key in example}
    assert list(example["checks"][0]) == list(check)
    types = {key: type(value) for key, value in check.items()}
    assert {key: type(value) for key, value in example["checks"][0].items()} == types


def test_the_options_on_the_page_are_those_that_there_are() -> None:
    """Every option of the command is on the page, and the page names no other."""
    there = set(re.findall(r"--[a-z][a-z-]*", doctor("--help").output.decode())) - {"--help"}
    named = set(re.findall(r"--[a-z][a-z-]*", section()))
    assert there == named
