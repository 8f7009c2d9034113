"""A librdkafka that has no mock cluster is named."""

from __future__ import annotations

import importlib

import pytest

from otel_kafka_exporter.testing import _mock_cluster


def test_a_librdkafka_without_the_functions_is_named() -> None:
    """The error lists what is missing, where it was looked for, and what to install."""
    path = importlib.import_module("_ctypes").__file__
    assert path is not None
    with pytest.raises(RuntimeError, match=r"rd_kafka_mock_topic_create.*looked in .*_ctypes.*--only-binary"):
        _mock_cluster.load_library(path)
