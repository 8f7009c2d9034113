"""What readers paste is run: the blocks of each page, by section, have a test that runs them."""

from __future__ import annotations

import re
from pathlib import Path

from .test_docs import DOCUMENTS, ROOT

#: The test that runs the blocks of a page's section (None: of the whole page).
TESTS: dict[tuple[str, str | None], str] = {
    ("README.md", None): "tests/functional/test_readme.py",
    ("docs/command-line.md", "All commands"): "tests/functional/test_command_line.py",
    ("docs/command-line.md", "`otel-kafka tail`"): "tests/functional/test_tail_documents.py",
    ("docs/command-line.md", "`otel-kafka doctor`"): "tests/functional/test_doctor_documents.py",
    ("docs/command-line.md", "`otel-kafka topics`"): "tests/integration/test_topics.py",
    ("docs/delivery.md", "Receipts"): "tests/functional/test_receipts.py",
    ("docs/frameworks.md", ""): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "FastAPI"): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "FastAPI with structlog"): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "Django"): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "Servers"): "tests/functional/test_servers.py",
    ("docs/frameworks.md", "Celery"): "tests/functional/test_celery.py",
    ("docs/frameworks.md", "Scripts and cron"): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "AWS Lambda and its like"): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "Trace IDs"): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "Levels and filters"): "tests/functional/test_first_tasks.py",
    ("docs/frameworks.md", "Set-up in code, behind the batch processor"): "tests/functional/test_servers.py",
    ("docs/frameworks.md", "Programs without a server"): "tests/functional/test_servers.py",
    ("docs/migration.md", None): "tests/functional/test_pages.py",
    ("docs/production.md", "Kubernetes"): "tests/functional/test_production.py",
    ("docs/production.md", "TLS and SASL"): "tests/functional/test_production.py",
    ("docs/protobuf.md", None): "tests/functional/test_protobuf.py",
    ("docs/publisher.md", None): "tests/functional/test_pages.py",
    ("docs/testing.md", None): "tests/functional/test_sample_project.py",
    ("docs/ways-in.md", None): "tests/functional/test_install_lines.py",
    ("examples/consumers/README.md", None): "tests/integration/test_consumers.py",
    ("collector-config/README.md", None): "tests/integration/test_collector_configurations.py",
}
_FENCE = re.compile(r"^```(\w*)$")
_RUN = {"bash", "sh", "python", "yaml"}


def sections_with_blocks(page: Path) -> set[str]:
    """The headings of the second level below which there is something to run."""
    found: set[str] = set()
    title, inside = "", False
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if fence:
            if not inside and fence[1] in _RUN:
                found.add(title)
            inside = not inside
        elif not inside and line.startswith("## "):
            title = line.removeprefix("## ")
    return found


def test_every_block_has_a_test_that_runs_it() -> None:
    """A new block without a test is found, and so is a section that is gone."""
    there = {
        (str(page.relative_to(ROOT)), title)
        for page in DOCUMENTS
        if "adr" not in page.parts
        for title in sections_with_blocks(page)
    }
    whole = {page for page, title in TESTS if title is None}
    assert {(page, title) for page, title in there if page not in whole} == {
        (page, title) for page, title in TESTS if title is not None
    }
    assert whole <= {page for page, _ in there}


def test_those_tests_read_the_page() -> None:
    """A test that runs a page's blocks takes them from the page."""
    for (page, _), path in TESTS.items():
        source = (ROOT / path).read_text(encoding="utf-8")
        words = {Path(page).name, "README"}  # a Collector's README is read beside its tests
        assert any(word in source for word in words), (page, path)
