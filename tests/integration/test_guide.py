"""The code of the original publisher's guide, as it stands there, against a real Kafka: only the import is another.

A literal `(...)`, by which the guide leaves arguments out, stands for a whole set of them here.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import inspect
import logging
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_kafka_exporter
from otel_kafka_exporter import LoggingEventPublisher, LoggingEventPublisherContext, OnexEnvelopeV1, decode
from otel_kafka_exporter.publisher import one_off
from tests.rig.kafka import KafkaCluster
from tests.ways_in.running import read

pytestmark = pytest.mark.integration

GUIDE = Path(__file__).parents[1] / "guide" / "logging_event_publisher.md"
CATEGORIES = ("application", "audit", "security")
BLOCKS = re.findall(r"^( *)```python\n(.*?)^ *```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
LEFT_OUT = (
    'service_name="omniclaude", instance_id="omniclaude-1", level="INFO", logger_name="guide", message="left out",'
    ' code="LEFT_OUT"'
)


class UnauthorizedError(Exception):
    """What the guide's own application raises."""


async def execute_agent(*_: object) -> dict[str, str]:
    return {"summary": "done"}


async def execute_failing_agent(*_: object) -> dict[str, str]:
    raise RuntimeError("the agent failed")


async def execute_agent_task() -> str:
    return "done"


async def validate_api_key(key: str) -> bool:
    return key == "right"


def code_of(number: int) -> str:
    """A code block of the guide, by its place, with our import."""
    indent, code = BLOCKS[number]
    code = re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)
    *_, last = code.splitlines()
    if last.lstrip().startswith("#"):  # a body that is nothing but a comment
        code += last[: len(last) - len(last.lstrip())] + "pass\n"
    return code.replace("agents.lib.logging_event_publisher", "otel_kafka_exporter").replace("(...)", f"({LEFT_OUT})")


class Guide:
    """Runs blocks of the guide, and reads what they have published."""

    def __init__(self, kafka: KafkaCluster, prefix: str) -> None:
        self.servers = kafka.bootstrap_servers
        self._prefix = prefix
        self.names: dict[str, Any] = {
            **{name: getattr(otel_kafka_exporter, name) for name in otel_kafka_exporter.__all__ if name[0] != "_"},
            "__name__": "guide",
            "hashlib": hashlib,
            "logger": logging.getLogger("guide"),
            "execute_agent": execute_agent,
            "execute_agent_task": execute_agent_task,
            "validate_api_key": validate_api_key,
            "UnauthorizedError": UnauthorizedError,
        }

    async def run(self, number: int) -> dict[str, Any]:
        code = code_of(number).replace("localhost:9092", self.servers)
        made = eval(compile(code, str(GUIDE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), self.names)
        if inspect.isawaitable(made):
            await made
        return self.names

    def published(self, category: str, number: int) -> list[OnexEnvelopeV1]:
        messages = read(self.servers, f"{self._prefix}omninode.logging.{category}.v1", number)
        return [decode(message.value(), message.headers()) for message in messages]


@pytest.fixture
def guide(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guide]:
    prefix = f"t{uuid.uuid4().hex[:12]}."
    kafka.create_topics(*(f"{prefix}omninode.logging.{category}.v1" for category in CATEGORIES), partitions=1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("OTEL_EXPORTER_KAFKA_TOPIC_PREFIX", prefix)
    one_off._publisher.cache_clear()
    yield Guide(kafka, prefix)
    if one_off._publisher.cache_info().currsize:
        one_off._publisher().close()
    one_off._publisher.cache_clear()


def test_every_block_of_the_guide_is_run() -> None:
    """No code block of the guide is left out of this file."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert {int(number) for number in re.findall(r"guide\.run\((\d+)\)", source)} == set(range(len(BLOCKS)))


def test_one_off_publishing(guide: Guide) -> None:
    """Basic usage: the three module functions."""
    asyncio.run(guide.run(0))
    [application] = guide.published("application", 1)
    [audit] = guide.published("audit", 1)
    [security] = guide.published("security", 1)
    assert application.payload["context"] == {"agent_name": "agent-api-architect", "duration_ms": 1234}
    assert {each.correlation_id for each in (application, audit, security)} == {"abc-123-def-456"}
    assert (audit.payload["outcome"], security.payload["decision"]) == ("success", "allow")


def test_a_persistent_publisher(guide: Guide) -> None:
    """Advanced usage: a hundred logs by one publisher, in their order."""
    asyncio.run(guide.run(1))
    found = guide.published("application", 100)
    assert [each.payload["context"] for each in found] == [{"batch_id": n, "items": 50} for n in range(100)]


def test_the_context_manager(guide: Guide) -> None:
    """The recommended usage."""
    asyncio.run(guide.run(2))
    [found] = guide.published("application", 1)
    assert found.payload["code"] == "AGENT_EXECUTION_STARTED"


def test_the_three_event_types(guide: Guide) -> None:
    """The example of each event type, by one publisher."""

    async def main() -> None:
        publisher = guide.names["publisher"] = LoggingEventPublisher()
        await publisher.start()
        await guide.run(3)
        await guide.run(4)
        await guide.run(5)
        await publisher.stop()

    asyncio.run(main())
    [application] = guide.published("application", 1)
    assert application.payload["context"]["confidence_score"] == 0.95
    [audit] = guide.published("audit", 1)
    assert audit.payload["context"]["quality_score"] == 0.92
    [security] = guide.published("security", 1)
    assert security.payload["context"]["api_key_hash"] == "sha256:abc123..."


def test_logging_to_two_places(guide: Guide) -> None:
    """Publishing beside a standard logger, the guide's DualLogger, and its migration from files."""

    async def main() -> None:
        await guide.run(7)
        names = await guide.run(8)
        dual = names["DualLogger"]("guide", "omniclaude", "omniclaude-1")
        await dual.start()
        await dual.info("both", "BOTH", context={"n": 1}, correlation_id="abc")
        await dual.stop()
        await guide.run(14)
        await guide.run(15)

    asyncio.run(main())
    messages = [each.payload["message"] for each in guide.published("application", 3)]
    assert messages == ["Agent completed: done", "both", "Agent execution completed"]


def test_the_audit_trail(guide: Guide) -> None:
    """The audit trail of an agent that works, and of one that fails."""

    async def main() -> None:
        names = await guide.run(9)
        arguments = ("tenant-1", "user-1", "agent-1", "please", "abc")
        assert await names["execute_agent_with_audit"](*arguments) == {"summary": "done"}
        names["execute_agent"] = execute_failing_agent
        with pytest.raises(RuntimeError):
            await names["execute_agent_with_audit"](*arguments)

    asyncio.run(main())
    assert [(each.payload["action"], each.payload["outcome"]) for each in guide.published("audit", 4)] == [
        ("agent.execution.started", "success"),
        ("agent.execution.completed", "success"),
        ("agent.execution.started", "success"),
        ("agent.execution.failed", "failure"),
    ]


def test_security_monitoring(guide: Guide) -> None:
    """A key that is right, and one that is wrong; only its hash is in the event."""

    async def main() -> None:
        names = await guide.run(10)
        check = names["check_api_key_and_log"]
        await check("tenant-1", "user-1", "right", "gemini-api", "abc")
        with pytest.raises(UnauthorizedError):
            await check("tenant-1", "user-1", "wrong", "gemini-api", "abc")

    asyncio.run(main())
    found = guide.published("security", 2)
    assert [each.payload["decision"] for each in found] == ["allow", "deny"]
    assert found[0].payload["context"]["api_key_hash"] == hashlib.sha256(b"right").hexdigest()


def test_configuration_and_problems(guide: Guide) -> None:
    """The snippets on configuration, failures, the feature flag, and troubleshooting."""

    async def main() -> None:
        names = await guide.run(6)
        assert names["publisher"].enable_events
        await guide.run(17)
        names = await guide.run(11)
        assert names["success"]
        await guide.run(18)
        assert not await names["publisher"].publish_audit_log("t", "a", "b", "r", "success")
        names = await guide.run(12)
        assert not names["publisher"].enable_events
        names["publisher"] = LoggingEventPublisher("127.0.0.1:9", start_timeout=0.3)
        await guide.run(13)
        assert not names["publisher"].enable_events
        names = await guide.run(16)
        assert names["publisher"].enable_events
        await guide.run(19)

    asyncio.run(main())
    assert len(guide.published("application", 1)) == 1


def test_the_environment_variables_of_the_guide(guide: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's variables are read: where the cluster is, whether events go there, and whose they are."""
    bash = re.findall(r"^```bash\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    [variables] = [block for block in bash if "TENANT_ID" in block]
    for name, value in re.findall(r"^([A-Z_]+)=(\S+)", variables, re.MULTILINE):
        monkeypatch.setenv(name, value if name != "KAFKA_BOOTSTRAP_SERVERS" else guide.servers)
    asyncio.run(guide.run(2))
    [found] = guide.published("application", 1)
    assert found.tenant_id == "default"


def test_a_topic_that_does_not_exist_is_false_and_said(kafka: KafkaCluster, capfd: pytest.CaptureFixture[str]) -> None:
    """Without its topic an event is False within the timeout, with a line that names the topic and the reason."""
    prefix = f"t{uuid.uuid4().hex[:12]}."

    async def main() -> None:
        async with LoggingEventPublisherContext(kafka.bootstrap_servers, topic_prefix=prefix) as publisher:
            assert not await asyncio.wait_for(
                publisher.publish_audit_log("tenant-1", "user.login", "bob", "console", "success"), 6
            )
            assert publisher.stats().dropped == {"unknown_topic": 1}

    asyncio.run(main())
    topic = f"{prefix}omninode.logging.audit.v1"
    assert f"audit records are dropped, because of unknown_topic at the topic {topic}" in capfd.readouterr().err


def test_the_guides_envelope_is_one() -> None:
    """The envelope that the guide shows is read by `decode`."""
    [example] = re.findall(r"^```json\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert decode(example.encode()).payload["code"] == "AGENT_EXECUTION_COMPLETED"
