"""Fetches and builds what the rig needs, once for a machine: minutes that need not be those of the first test."""

from __future__ import annotations

from . import java, otelcol
from .kafka import rehearse

if __name__ == "__main__":
    if not java.missing():
        java.fast_start(rehearse)
        java.registry_folder()
    if not otelcol.missing():
        otelcol.binary()
