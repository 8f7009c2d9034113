"""What the demo finds around it, and what it lets the web service see of that."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import click

from otel_kafka_exporter.settings import ENVIRONMENT_PREFIX, ORIGINAL_VARIABLES, Settings, variable

from .service import instrument_command

#: The resource attribute by which the records of one run are told from others in the same Kafka.
INSTANCE = "service.instance.id"
_SERVICE_NAME = "demo-shop"
_NEEDED = (
    "flask",
    "opentelemetry.distro",
    "opentelemetry.instrumentation.flask",
    "opentelemetry.instrumentation.logging",
)


def check_installed() -> None:
    """ClickException when a package of the extra `demo` is missing."""
    missing = [name for name in _NEEDED if not _is_installed(name)]
    if not missing and not instrument_command().exists():
        missing = ["opentelemetry-instrument"]
    if missing:
        raise click.ClickException(f'{missing[0]} is not installed: pip install "otel-kafka-exporter[demo]"')


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it is in
        return False


def source() -> Path:
    """The web service: a file of the installed package, or of the repository."""
    installed = Path(__file__).with_name("web_service.py")
    in_repository = Path(__file__).parents[3] / "examples" / "web_service.py"
    for path in (installed, in_repository):
        if path.exists():
            return path
    raise click.ClickException(f"expected the web service at {installed}, got no such file: install anew")


def clean_environment(*, keep_exporter_settings: bool) -> dict[str, str]:
    """The environment without what would make another demo: OpenTelemetry's and Flask's variables.

    Args:
        keep_exporter_settings: whether the exporter's own stay, which say how to connect to a Kafka that is given.
    """
    original = tuple(ORIGINAL_VARIABLES.values())
    kept = ("OTEL_PYTHON_FLASK_", *((ENVIRONMENT_PREFIX, *original) if keep_exporter_settings else ()))
    dropped = ("OTEL_", "FLASK_", *original)
    left_out = {name for name in os.environ if name.startswith(dropped) and not name.startswith(kept)}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def telemetry_environment(settings: Settings, instance: str) -> dict[str, str]:
    """What the service's environment gets: OpenTelemetry's variables, the exporter's and Flask's.

    Args:
        settings: the exporter's.
        instance: tells this run of the service from all others.
    """
    return {
        "OTEL_SERVICE_NAME": _SERVICE_NAME,
        "OTEL_RESOURCE_ATTRIBUTES": f"{INSTANCE}={instance}",
        # The console exporter's lines are what is counted as emitted.
        "OTEL_LOGS_EXPORTER": "onex_kafka,console",
        # There are spans all the same, and so each record has the trace that it belongs to.
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",  # milliseconds; by default a record may wait for some seconds
        variable("bootstrap_servers"): settings.bootstrap_servers,
        variable("resource_context"): ",".join(dict.fromkeys((*settings.resource_context, INSTANCE))),
        "FLASK_DEBUG": "0",
        "FLASK_SKIP_DOTENV": "1",
        "PYTHONUNBUFFERED": "1",
    }
