"""Tests against real systems, which `tests.rig` starts."""
