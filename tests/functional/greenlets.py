"""Whether there is gevent."""

from __future__ import annotations

import importlib.util

import pytest

needs_gevent = pytest.mark.skipif(
    importlib.util.find_spec("gevent") is None, reason="gevent is not installed: it has no wheel for this Python"
)
