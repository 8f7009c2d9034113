"""A text stays as it is, but for what JSON's readers refuse."""

from __future__ import annotations

import pytest

from otel_kafka_exporter.records.scalars import clean_text


@pytest.mark.parametrize("text", ["", "a", "é\U0001f600", "\ufffd", "\x01\x7f\x80"])
def test_clean_text_leaves_the_rest(text: str) -> None:
    """Text without NUL and lone surrogates stays as it is."""
    assert clean_text(text) == text
