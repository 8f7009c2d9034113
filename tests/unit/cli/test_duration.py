"""Lengths of time on the command line."""

from __future__ import annotations

import click
import pytest

from otel_kafka_exporter.cli.duration import Duration
from otel_kafka_exporter.cli.outbox.moving import drain


@pytest.mark.parametrize(("text", "seconds"), [("10", 10), ("0.5", 0.5), ("500ms", 0.5), (" 2m ", 120), ("1h", 3600)])
def test_what_is_a_duration(text: str, seconds: float) -> None:
    """A number alone is seconds; units say otherwise."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["nan", "-1", "0", "inf", "1e3", "25h", "", "10 s", "ten"])
def test_what_is_none(text: str) -> None:
    """What ends never, or before it begins, is refused, and an example of what is expected is named."""
    with pytest.raises(click.BadParameter, match="expected a duration such as 500ms, 10s or 2m, got"):
        drain.make_context("drain", ["--timeout", text])
