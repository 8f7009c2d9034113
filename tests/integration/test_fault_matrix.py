"""A fault of a part of three real brokers costs what it touches, and nothing else: each fault beside each way in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix.faults import FAULTS, LEADERS, Brokers, forget, prepare
from tests.matrix.matrix import judge, run

from .conftest import require_kafka

SECONDS = 10.0

pytestmark = [pytest.mark.alone, pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """One cluster for all of it; each fault leaves it whole."""
    require_kafka()
    with Brokers(tmp_path_factory.mktemp("brokers") / "kafka") as found:
        yield found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_what_it_touches(fault: str, brokers: Brokers, tmp_path: Path) -> None:
    """The rest is delivered meanwhile, at once; afterwards all is there, or counted, in the order of its key."""
    prefix = f"{fault}-{uuid.uuid4().hex[:6]}."
    prepare(brokers, fault, prefix)
    results = run(
        brokers.servers, prefix, len(LEADERS), lambda _: FAULTS[fault](brokers, prefix), tmp_path, seconds=SECONDS
    )
    forget(brokers, prefix)
    judge(results)
