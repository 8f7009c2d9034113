"""Settings from arguments and an environment of a test's own."""

from __future__ import annotations

from typing import Any

from otel_kafka_exporter.settings.settings import Settings

BOOTSTRAP = {"bootstrap_servers": "localhost:9092"}
SECRET = "hunter2-3f9c0d"


def load(environ: Any = None, **arguments: Any) -> Settings:
    return Settings.load({**BOOTSTRAP, **arguments}, environ or {})
