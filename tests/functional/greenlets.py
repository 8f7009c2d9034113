"""Whether there is gevent."""

from __future__ import annotations

import importlib.util

import pytest

HAS_GEVENT = importlib.util.find_spec("gevent") is not None
needs_gevent = pytest.mark.skipif(not HAS_GEVENT, reason="gevent is not installed: it has no wheel for this Python")
