"""The settings' environment variables, for `opentelemetry-instrument`.

Its entry-point group `opentelemetry_environment_variables` makes a command-line flag of each name in here that starts
with `OTEL_`, e.g. `--exporter_kafka_bootstrap_servers`.
"""

from __future__ import annotations

from .given import variable
from .settings import FIELDS

globals().update({variable(name): variable(name) for name in FIELDS})
