"""The examples do what they say."""

from __future__ import annotations

import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import uvicorn

from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.functional.pipelines import TOPIC
from tests.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """A web server for an application, and its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, what="the server's start")
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(15)


def post(address: str, key: str) -> tuple[int, str]:
    """The status and text of an answer to a request that a user of that key makes."""
    request = Request(address, urlencode({"request": "a plan"}).encode(), {"X-API-Key": key})
    try:
        with urlopen(request, timeout=15) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, ""


def test_the_agent_service_leaves_an_audit_trail(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run of an agent is an audit event, each use of a key a security event, and no key is in it."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "agents")
    app = runpy.run_path(str(EXAMPLES / "agent_service.py"))["app"]
    with serving(app) as address:
        assert post(f"{address}/agents/api-architect", "right") == (200, '{"summary":"api-architect did: a plan"}')
        assert post(f"{address}/agents/unknown", "right")[0] == 400
        assert post(f"{address}/agents/x", "hunter2")[0] == 401
    audit = [decode(message.value()) for message in embedded_kafka.messages("omninode.logging.audit.v1")]
    assert [(each.source, each.payload["actor"], each.payload["outcome"]) for each in audit] == [
        ("agents", "user-456", "success"),
        ("agents", "user-456", "failure"),
    ]
    security = [message.value() or b"" for message in embedded_kafka.messages("omninode.logging.security.v1")]
    assert [decode(value).payload["decision"] for value in security] == ["allow", "allow", "deny"]
    assert not any(b"hunter2" in value for value in security)


def test_dual_logging_writes_to_both_places(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The guide's logger and standard logging both reach Kafka, and the file has what went through logging."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "dual_logging.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "the agent is done" in (tmp_path / "service.log").read_text(encoding="utf-8")
    payloads = [decode(message.value()).payload for message in embedded_kafka.consume(TOPIC, 2, 10)]
    assert [each["code"] for each in payloads] == ["AGENT_EXECUTION_COMPLETED"] * 2
