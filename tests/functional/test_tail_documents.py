"""What the README, the page on the command line and `--help` say about `otel-kafka tail` is so."""

from __future__ import annotations

import json
import re
import shlex
import time

import pytest

from otel_kafka_exporter.cli.tail.grammar import parse
from otel_kafka_exporter.cli.tail.matching import whole
from otel_kafka_exporter.cli.tail.output import as_json
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.tailing import START, kafka_record, record
from tests.unit.test_docs import ROOT, blocks

from .tails import put, tail

PAGE = ROOT / "docs" / "command-line.md"
TRACE = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"


def commands(text: str) -> list[str]:
    """The lines that begin with `otel-kafka tail`, without what they are piped into."""
    return [
        line.strip().partition(" | ")[0] for line in text.splitlines() if line.strip().startswith("otel-kafka tail")
    ]


@pytest.fixture
def records(embedded_kafka: EmbeddedKafka) -> None:
    """For each of the examples there is something to show, but for those of a day that is over."""

    now = time.time() - START
    put(
        embedded_kafka,
        [
            kafka_record(at=now, level="WARN", source="payments", context={"status": 503, "items": 3}),
            kafka_record(at=now, correlation_id=TRACE),
            kafka_record("audit", at=now),
            kafka_record("security", at=now),
        ],
    )


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("document", ["README.md", "docs/command-line.md", "--help"])
def test_every_example_runs(document: str) -> None:
    """Each command that is shown can be pasted, and shows something."""
    text = (
        tail("--help").output.decode()
        if document == "--help"
        else "".join(block for block in blocks(ROOT / document, "bash") if "otel-kafka tail" in block)
    )
    examples = commands(text)
    assert len(examples) >= 4
    for example in examples:
        _, _, *arguments = shlex.split(example, comments=True)
        done = tail(*arguments)
        assert done.code == 0, (example, done.errors)
        assert bool(done.lines) is ("yesterday" not in example), example


def test_the_expressions_on_the_page_are_some() -> None:
    """Each line of the example is an expression, and the mistake on the page is answered as it says."""
    expressions, mistake = blocks(PAGE, "text")[:2]
    for line in expressions.splitlines():
        assert whole(parse(line))(record()) in (True, False)
    assert tail("-q", "levl>=WARN").errors.endswith(mistake)


def test_the_document_on_the_page_has_the_keys_that_are_written() -> None:
    """`--json` has the keys of the page's example, in their order, each with a value of its type."""
    example = json.loads(blocks(PAGE, "json")[0])
    written = json.loads(as_json(record()))
    assert list(example) == list(written)
    assert {key: type(value) for key, value in example.items()} == {key: type(written[key]) for key in example}
    assert example["envelope"].items() <= {**written["envelope"], "payload": example["envelope"]["payload"]}.items()


def test_the_options_on_the_page_are_those_that_there_are() -> None:
    """Every option of the command is on the page, and the page names no other."""
    there = set(re.findall(r"--[a-z][a-z-]*", tail("--help").output.decode())) - {"--help", "--bootstrap-servers"}
    section = PAGE.read_text(encoding="utf-8").partition("\n## `otel-kafka tail`")[2].partition("\n## ")[0]
    named = set(re.findall(r"--[a-z][a-z-]*", section))
    assert there - named - {"--query"} == set()
    assert named - there == set()
