"""Tools that freeze time, as tests of applications do: every wait of ours ends all the same."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from freezegun import freeze_time
from opentelemetry.sdk._logs import LoggerProvider

from otel_kafka_exporter import KafkaLogRecordProcessor, OnexEnvelopeV1
from tests.ways_in.running import run

APP = str(Path(__file__).parent / "apps" / "frozen.py")
needs_time_machine = pytest.mark.skipif(
    importlib.util.find_spec("time_machine") is None, reason="time-machine is not installed: it needs CPython"
)


@pytest.mark.parametrize("tool", ["freezegun", pytest.param("time_machine", marks=needs_time_machine)])
@pytest.mark.parametrize(
    ("when", "processor", "moment"),
    [
        ("before", "direct", "2026-01-01"),
        ("after", "direct", "2026-01-01"),
        ("after", "batch", "2026-01-01"),
        ("after", "direct", "1970-01-01"),
    ],
)
def test_everything_ends_while_kafka_is_away(tool: str, when: str, processor: str, moment: str) -> None:
    """A flush, a fork, a wait for a receipt and a shutdown return, and nothing is left in flight."""
    done = run(sys.executable, APP, tool, when, processor, moment)
    assert done.returncode == 0, done.stderr
    flushed, *rest = done.stdout.splitlines()
    assert flushed.startswith("flushed ")
    assert rest[0] == "forked 0"
    assert rest[-1] == "shut down 6 0"


def test_captured_envelopes_under_a_frozen_time(captured_envelopes: Callable[..., list[OnexEnvelopeV1]]) -> None:
    """The fixture returns what comes, and gives up on what does not."""
    with freeze_time("2026-01-01"):
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(KafkaLogRecordProcessor())
        provider.get_logger("shop").emit(body="hello")
        [envelope] = captured_envelopes(n=1)
        with pytest.raises(AssertionError, match="got 1 of 1"):
            captured_envelopes(n=2, timeout=0.5)
        provider.shutdown()
    assert envelope.timestamp.startswith("2026-01-01T")
