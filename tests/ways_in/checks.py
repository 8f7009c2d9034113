"""The checks: each runs an application in a process of its own and looks at what a consumer gets.

They take the address of any Kafka that has, or makes, the three topics behind a prefix.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from .running import INSTRUMENT, app, by_message, envelopes, instrumented, read, run

LOGS_TO_KAFKA = {"OTEL_LOGS_EXPORTER": "onex_kafka", "OTEL_SERVICE_NAME": "shop"}


def settings(bootstrap_servers: str, prefix: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "OTEL_EXPORTER_KAFKA_TOPIC_PREFIX": prefix,
    }


def application_topic(prefix: str) -> str:
    return f"{prefix}omninode.logging.application.v1"


def stdlib_logging(bootstrap_servers: str, prefix: str) -> None:
    instrumented("stdlib_logging", **LOGS_TO_KAFKA, **settings(bootstrap_servers, prefix))
    found = by_message(envelopes(bootstrap_servers, application_topic(prefix), 3))
    placed = found["order 17 placed"]
    assert placed.source == placed.payload["service_name"] == "shop"
    assert placed.payload["logger"] == "shop.orders"
    assert placed.payload["context"] == {"customer": "c-9", "card.password": "[REDACTED]"}
    assert (found["stock is low"].payload["level"], found["stock is low"].payload["code"]) == ("WARN", "STOCK_LOW")
    assert found["order failed"].payload["context"]["exception.type"] == "LookupError"
    [audit] = envelopes(bootstrap_servers, f"{prefix}omninode.logging.audit.v1", 1)
    assert audit.tenant_id == audit.payload["tenant_id"] == "acme"
    assert audit.payload["action"] == "order.delete"
    assert audit.payload["context"] == {"message": "bob deleted order 17"}
    [security] = envelopes(bootstrap_servers, f"{prefix}omninode.logging.security.v1", 1)
    assert security.payload["decision"] == "deny"
    assert security.tenant_id == "default"


def web_service(bootstrap_servers: str, prefix: str) -> None:
    done = instrumented("web_service", **LOGS_TO_KAFKA, **settings(bootstrap_servers, prefix))
    trace_id = done.stdout.strip().splitlines()[-1]
    [message] = read(bootstrap_servers, application_topic(prefix), 1)
    headers = {name: value.decode() for name, value in cast("list[tuple[str, bytes]]", message.headers())}
    assert headers["x-correlation-id"] == str(uuid.UUID(trace_id))
    # 01 is sampled; newer SDKs add 02, which says that the trace ID is random.
    assert re.fullmatch(rf"00-{trace_id}-[0-9a-f]{{16}}-0[13]", headers["traceparent"])
    assert headers["x-traceparent"] == headers["traceparent"]
    assert message.key() == b"shop"


def own_flags(bootstrap_servers: str, prefix: str) -> None:
    done = run(
        INSTRUMENT,
        "--logs_exporter=onex_kafka",
        f"--exporter_kafka_bootstrap_servers={bootstrap_servers}",
        f"--exporter_kafka_topic_prefix={prefix}",
        sys.executable,
        app("stdlib_logging"),
    )
    assert done.returncode == 0, done.stderr
    assert envelopes(bootstrap_servers, application_topic(prefix), 3)


def declarative_file(tmp_path: Path, exporter: str, processor: str = "batch") -> dict[str, str]:
    path = tmp_path / "otel.yaml"
    path.write_text(
        f"""file_format: "1.0"
resource:
  attributes: [{{name: service.name, value: shop}}]
logger_provider:
  processors:
    - {processor}: {{exporter: {{onex_kafka: {exporter}}}}}
"""
    )
    return {"OTEL_CONFIG_FILE": str(path)}


def declarative_without_arguments(bootstrap_servers: str, prefix: str, tmp_path: Path) -> None:
    instrumented("declarative", **declarative_file(tmp_path, "null"), **settings(bootstrap_servers, prefix))
    [envelope] = envelopes(bootstrap_servers, application_topic(prefix), 1)
    assert (envelope.source, envelope.payload.get("message")) == ("shop", "hello from a file")
    assert uuid.UUID(str(envelope.payload["instance_id"])).version == 4  # as with the environment


def declarative_with_arguments(bootstrap_servers: str, prefix: str, tmp_path: Path) -> None:
    exporter = (
        f"{{bootstrap_servers: '${{KAFKA:-nowhere:1}}', topic_prefix: '{prefix}', tenant_id: acme, delivery_wait: 5,"
        " producer_config: {linger.ms: 1}, redact_patterns: false}"
    )
    instrumented("declarative", **declarative_file(tmp_path, exporter, "simple"), KAFKA=bootstrap_servers)
    [envelope] = envelopes(bootstrap_servers, application_topic(prefix), 1)
    assert envelope.tenant_id == "acme"


def programmatic(bootstrap_servers: str, prefix: str, kind: str) -> None:
    done = run(sys.executable, app("programmatic"), kind, bootstrap_servers, prefix)
    assert done.returncode == 0, done.stderr
    trace_id, stats = done.stdout.splitlines()
    assert "accepted=3, delivered=3" in stats
    [in_a_span] = envelopes(bootstrap_servers, application_topic(prefix), 1)
    assert in_a_span.correlation_id == str(uuid.UUID(trace_id))
    assert in_a_span.payload["level"] == "ERROR"
    assert in_a_span.payload["context"] == {"otel.severity_text": "FATAL"}
    [audit] = envelopes(bootstrap_servers, f"{prefix}omninode.logging.audit.v1", 1)
    assert audit.correlation_id == str(uuid.UUID(trace_id))
    assert audit.payload["outcome"] == "failure"
    assert audit.payload["context"] == {"api_key": "[REDACTED]", "attempt": 2}
    [security] = envelopes(bootstrap_servers, f"{prefix}omninode.logging.security.v1", 1)
    assert (security.tenant_id, security.correlation_id, security.causation_id) == ("acme", "req-7", "req-7")
    assert security.payload["context"] == {"message": "not an auditor"}


#: Every way in once, by name, for both tiers.
WAYS_IN: dict[str, Callable[[str, str, Path], None]] = {
    "opentelemetry-instrument with stdlib logging": lambda kafka, prefix, _: stdlib_logging(kafka, prefix),
    "opentelemetry-instrument with a web service": lambda kafka, prefix, _: web_service(kafka, prefix),
    "opentelemetry-instrument with the exporter's flags": lambda kafka, prefix, _: own_flags(kafka, prefix),
    "declarative file without arguments": declarative_without_arguments,
    "declarative file with arguments": declarative_with_arguments,
    "in code with the batch processor": lambda kafka, prefix, _: programmatic(kafka, prefix, "batch"),
    "in code with the simple processor": lambda kafka, prefix, _: programmatic(kafka, prefix, "simple"),
}
every_way_in = pytest.mark.parametrize("way_in", WAYS_IN)
